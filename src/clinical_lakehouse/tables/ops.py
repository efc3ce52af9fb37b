"""Ops: what ran, what it read and wrote, what the checks found, what is alerting."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of

_OWNER = "platform"
_STATES = ("running", "success", "failed", "skipped", "cancelled", "timed_out", "killed")

JOB_RUN = Table(
    name="ops.job_run",
    comment="One row per state change of a job run; the latest recorded_at is its present state.",
    owner=_OWNER,
    key=("run_id", "state"),
    columns=(
        Column("run_id", "STRING", "The job run.", False),
        Column("parent_run_id", "STRING", "The run whose run_job_task started it."),
        Column("job", "STRING", "Job name in jobs/*.job.yml.", False),
        Column("state", "STRING", f"One of {', '.join(_STATES)}.", False),
        Column(
            "cause",
            "STRING",
            "manual, demo, repair, backfill, run_job_task, schedule or the trigger.",
        ),
        Column("parameters", "STRING", "Job parameters as JSON."),
        Column("as_of", "TIMESTAMP", "The run's clock."),
        Column("recorded_at", "TIMESTAMP", "Wall clock of the state change.", False),
        Column("duration_seconds", "DOUBLE", "From start to this state.", unit="s"),
        Column("message", "STRING", "Why, in one line; no data value."),
        Column("settings_hash", "STRING", "SHA-256 of the settings used."),
        Column("code_version", "STRING", "Version of this package."),
    ),
    checks=(is_one_of("state", *_STATES),),
    retention_days=730,
)

TASK_RUN = Table(
    name="ops.task_run",
    comment="One row per state change of a task attempt; the latest recorded_at is its state.",
    owner=_OWNER,
    key=("run_id", "task", "attempt", "state"),
    columns=(
        Column("run_id", "STRING", "The job run it belongs to.", False),
        Column("job", "STRING", "Job name.", False),
        Column("task", "STRING", "task_key in the job.", False),
        Column("entry_point", "STRING", "Entry point, e.g. patient-ingestion-land."),
        Column("attempt", "INT", "1 for the first try, 0 if it was never tried.", False),
        Column("state", "STRING", f"One of {', '.join(_STATES)}.", False),
        Column("as_of", "TIMESTAMP", "The run's clock."),
        Column("recorded_at", "TIMESTAMP", "Wall clock of the state change.", False),
        Column("duration_seconds", "DOUBLE", "From start to this state.", unit="s"),
        Column("metrics", "STRING", "What the task returned, as JSON."),
        Column("versions", "STRING", "JSON: Delta versions by table written; `read`: those read."),
        Column("message", "STRING", "Why it failed, in one line; no data value."),
        Column("settings_hash", "STRING", "SHA-256 of the settings used."),
        Column("code_version", "STRING", "Version of this package."),
    ),
    checks=(is_one_of("state", *_STATES),),
    retention_days=730,
)

LANDING_FILE = Table(
    name="ops.landing_file",
    comment="One row per landing file and resource type: every row received is accounted for.",
    owner=_OWNER,
    key=("file_id", "resource_type"),
    columns=(
        Column("file_id", "STRING", "SHA-256 of the file's name and bytes.", False),
        Column("file_name", "STRING", "The file's name below the landing folder.", False),
        Column("resource_type", "STRING", "resourceType, or 'unreadable'.", False),
        Column("received_count", "BIGINT", "Resources and unreadable lines in the file.", False),
        Column("loaded_count", "BIGINT", "Valid and new.", False),
        Column("deleted_count", "BIGINT", "Of these, deletions the source tells of.", False),
        Column("quarantined_count", "BIGINT", "Refused, see bronze.quarantine.", False),
        Column("duplicate_count", "BIGINT", "Same type, id and bytes as an earlier row.", False),
        Column("received_at", "TIMESTAMP", "as_of of the run that took the file.", False),
    ),
)

UNREAD_ELEMENT = Table(
    name="ops.unread_element",
    comment="One row per publication, resource type and element that no view of silver reads.",
    owner=_OWNER,
    key=("bronze_version", "resource_type", "element_path"),
    columns=(
        Column("bronze_version", "BIGINT", "Version of bronze.fhir_resource published.", False),
        Column("resource_type", "STRING", "Type of the resources.", False),
        Column("element_path", "STRING", "e.g. note.text; * where no view reads the type.", False),
        Column("found_count", "BIGINT", "Values among the resources new since then.", False),
    ),
)

LANDING_MANIFEST = Table(
    name="ops.landing_manifest",
    comment="One row per file that an export's manifest announces, and per type it was asked for.",
    owner=_OWNER,
    key=("folder", "kind", "resource_type", "file_name"),
    columns=(
        Column("folder", "STRING", "Where manifest.json lies in the landing folder.", False),
        Column("kind", "STRING", "output, deleted; asked for a type that was asked for.", False),
        Column("resource_type", "STRING", "Type of the file, or unknown.", False),
        Column("file_name", "STRING", "Below the landing folder, without endings.", False),
        Column("announced_count", "BIGINT", "Resources by the manifest, where it counts."),
        Column("transaction_at", "TIMESTAMP", "transactionTime: up to when it exports.", False),
        Column("received_at", "TIMESTAMP", "as_of of the run that read it.", False),
    ),
    checks=(is_one_of("kind", "output", "deleted", "asked"),),
)

UNRESOLVED_REFERENCE = Table(
    name="ops.unresolved_reference",
    comment="One row per landing file, element and target type: references to what has not come.",
    owner=_OWNER,
    key=("file_id", "resource_type", "path", "target_type"),
    columns=(
        Column("file_id", "STRING", "Landing file, as in ops.landing_file.", False),
        Column("file_name", "STRING", "The file's name below the landing folder.", False),
        Column("resource_type", "STRING", "Type of the resources that refer.", False),
        Column("path", "STRING", "The element, e.g. Encounter.participant.individual.", False),
        Column(
            "target_type", "STRING", "Type referred to; urn:uuid or other where not said.", False
        ),
        Column("unresolved_count", "BIGINT", "References; 0 once all have come.", False),
        Column("lines", "ARRAY<BIGINT>", "Up to three lines where such a reference stands."),
        Column("first_seen_at", "TIMESTAMP", "as_of of the first run that missed one.", False),
        Column("last_seen_at", "TIMESTAMP", "as_of of the latest run that did.", False),
    ),
    retention_days=2555,
)

QUARANTINE_DECISION = Table(
    name="ops.quarantine_decision",
    comment="One row per decision on quarantined rows of one reason: who, why, how many.",
    owner=_OWNER,
    key=("run_id", "decision", "reason"),
    columns=(
        Column("run_id", "STRING", "The run that carried it out.", False),
        Column("decision", "STRING", "released or discarded.", False),
        Column("reason", "STRING", "Reason code of the rows.", False),
        Column("row_count", "BIGINT", "Rows decided on.", False),
        Column("file_name", "STRING", "The one file it was limited to, null for all."),
        Column("decided_by", "STRING", "Who decided.", False),
        Column("why", "STRING", "Why, in the person's words.", False),
        Column("decided_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    checks=(is_one_of("decision", "released", "discarded"),),
    retention_days=2555,
)

BOOKMARK = Table(
    name="ops.bookmark",
    comment="One row per reader and table: the last table version the reader has dealt with.",
    owner=_OWNER,
    key=("reader", "table_name"),
    columns=(
        Column("reader", "STRING", "Task, e.g. patient-ingestion-publish.", False),
        Column("table_name", "STRING", "The table read.", False),
        Column("table_version", "BIGINT", "Delta version dealt with.", False),
    ),
)

_EXPORT_STATES = ("complete", "partial", "failed")

BULK_EXPORT = Table(
    name="ops.bulk_export",
    comment="One row per FHIR Bulk Data export: what was asked, promised, received and reported.",
    owner="data-engineering",
    key=("export_id",),
    columns=(
        Column("export_id", "STRING", "Names its folder: landing/bulk-export-<id>.", False),
        Column(
            "scope_id", "STRING", "SHA-256 (16 digits) of server, level, types, filters.", False
        ),
        Column("level", "STRING", "system, group or patient.", False),
        Column("parameters", "STRING", "Kick-off parameters as a JSON array of pairs.", False),
        Column("since_at", "TIMESTAMP", "_since; null for everything."),
        Column("transaction_at", "TIMESTAMP", "The manifest's transactionTime: the next _since."),
        Column("state", "STRING", f"One of {', '.join(_EXPORT_STATES)}.", False),
        Column("file_count", "INT", "Files of the manifest's output.", False),
        Column("deleted_file_count", "INT", "Files of its deleted array.", False),
        Column("uncounted_file_count", "INT", "Output files without a count to check.", False),
        Column("expected_count", "BIGINT", "Resources by the manifest's counts.", False),
        Column("received_count", "BIGINT", "Resources received in output files.", False),
        Column("deleted_count", "BIGINT", "Bundles of deletions received.", False),
        Column("reexport_count", "INT", "Times the export was asked for anew.", False),
        Column("poll_count", "INT", "Status requests of the last of them.", False),
        Column("issue_count", "INT", "Messages in the manifest's error files.", False),
        Column("issues", "STRING", "These by severity/code; or why it failed. No data value."),
        Column("as_of", "TIMESTAMP", "as_of of the run that recorded it.", False),
        Column("run_id", "STRING", "That run.", False),
    ),
    checks=(is_one_of("state", *_EXPORT_STATES),),
)

DATABASE_EXTRACT = Table(
    name="ops.database_extract",
    comment="One row per source of a database and run: which rows were read, up to which change.",
    owner="data-engineering",
    key=("connection", "source", "as_of"),
    columns=(
        Column("connection", "STRING", "Connection in conf, e.g. clinical_db.", False),
        Column("source", "STRING", "Source in its mapping.", False),
        Column("as_of", "TIMESTAMP", "as_of of the run that read it.", False),
        Column("since_at", "TIMESTAMP", "Rows changed later were read; null for all rows."),
        Column("until_at", "TIMESTAMP", "Latest change that was read; the next run starts here."),
        Column("row_count", "BIGINT", "Rows written to the landing folder.", False),
        Column("file_count", "INT", "Files they stand in.", False),
        Column("run_id", "STRING", "The run.", False),
    ),
    retention_days=2555,
)

QUALITY_RESULT = Table(
    name="ops.quality_result",
    comment="One row per check, table and run: how many rows were judged and how many failed.",
    owner="data-quality",
    key=("run_id", "table_name", "check_name"),
    columns=(
        Column("run_id", "STRING", "The run that judged.", False),
        Column("table_name", "STRING", "The table judged.", False),
        Column("check_name", "STRING", "The check's name in the contract.", False),
        Column("severity", "STRING", "fatal, error or warn.", False),
        Column("row_count", "BIGINT", "Rows judged.", False),
        Column("failed_count", "BIGINT", "Rows that failed.", False),
        Column("passed_ratio", "DOUBLE", "Passed rows over rows judged, 0-1.", False),
        Column("checked_at", "TIMESTAMP", "as_of of the run.", False),
        Column("kind", "STRING", "completeness, validity, uniqueness, temporal, ..."),
        Column("category", "STRING", "completeness, conformance or plausibility (Kahn 2016)."),
        Column("state", "STRING", "passed, failed, not_applicable (no row) or not_judged."),
        Column("max_failed_ratio", "DOUBLE", "The share of rows that may fail, 0-1."),
        Column("rule_version", "STRING", "Hash of what the check meant in this run."),
        Column("owner", "STRING", "Who mends what fails."),
        Column(
            "sample_keys",
            "ARRAY<STRING>",
            "Keys of up to five failing rows, no values.",
            phi=Phi.PSEUDONYM,
        ),
    ),
    retention_days=730,
)

PRIVACY_FINDING = Table(
    name="ops.privacy_finding",
    comment="One row per run, column and kind of identifier found where none belongs; no value.",
    owner="compliance",
    key=("run_id", "table_name", "column_name", "kind"),
    columns=(
        Column("run_id", "STRING", "The run that looked.", False),
        Column("table_name", "STRING", "The table looked at.", False),
        Column("column_name", "STRING", "The column.", False),
        Column("kind", "STRING", "One of the 18 of 164.514(b)(2)(i), zip3, age, ...", False),
        Column("severity", "STRING", "fatal, error or warn.", False),
        Column("found_count", "BIGINT", "Rows that hold it; 1 for a column as such.", False),
        Column("found_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    checks=(is_one_of("severity", "fatal", "error", "warn"),),
    retention_days=2555,
)

ALERT_EVENT = Table(
    name="ops.alert_event",
    comment="One row per thing a detector saw: written by runtime.alerts.emit and nothing else.",
    owner=_OWNER,
    key=("event_id",),
    columns=(
        Column("event_id", "STRING", "SHA-256 of source, kind, labels and window.", False),
        Column("fingerprint", "STRING", "SHA-256 of source, kind and labels: the alert.", False),
        Column("source", "STRING", "The task that saw it.", False),
        Column("kind", "STRING", "e.g. accuracy_drop, prediction_drift.", False),
        Column("severity", "STRING", "critical, warning or info.", False),
        Column("labels", "STRING", "JSON object without patient data.", False),
        Column("value", "DOUBLE", "What was measured."),
        Column("threshold", "DOUBLE", "The limit it crossed."),
        Column("message", "STRING", "One sentence.", False),
        Column("window_at", "TIMESTAMP", "The window or moment it is about.", False),
        Column("seen_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    retention_days=730,
    change_feed=True,
)

ALERT = Table(
    name="ops.alert",
    comment="One row per alert (fingerprint): its state, and why who was told or not.",
    owner=_OWNER,
    key=("fingerprint",),
    columns=(
        Column("fingerprint", "STRING", "SHA-256 of source, kind and labels.", False),
        Column("source", "STRING", "The task or rule that saw it.", False),
        Column("kind", "STRING", "e.g. accuracy_drop, prediction_drift.", False),
        Column("severity", "STRING", "critical, warning or info.", False),
        Column("labels", "STRING", "JSON object without patient data.", False),
        Column("state", "STRING", "firing, acknowledged or resolved.", False),
        Column("message", "STRING", "The latest event's sentence.", False),
        Column("value", "DOUBLE", "The latest event's value."),
        Column("threshold", "DOUBLE", "The limit it crossed."),
        Column("first_seen_at", "TIMESTAMP", "Window of its first event.", False),
        Column("last_seen_at", "TIMESTAMP", "Window of its latest event.", False),
        Column("starts_at", "TIMESTAMP", "When its present episode began.", False),
        Column("judged_at", "TIMESTAMP", "The newest sighting that counted.", False),
        Column("good_since", "TIMESTAMP", "Since when it is good again."),
        Column("ends_at", "TIMESTAMP", "When it was resolved."),
        Column("dips", "STRING", "JSON: the moments it went good, the latest ones.", False),
        Column("acknowledged_by", "STRING", "Who took it."),
        Column("acknowledged_at", "TIMESTAMP", "When it was taken."),
        Column("acknowledged_severity", "STRING", "How bad it was when it was taken."),
        Column("runbook", "STRING", "What to do: a file of conf/alerting/rules.", False),
        Column("explanation", "STRING", "What made it fire, who was told, or why not; lines."),
    ),
    checks=(is_one_of("state", "firing", "acknowledged", "resolved"),),
)

VOCABULARY_LOAD = Table(
    name="ops.vocabulary_load",
    comment="One row per vocabulary file loaded: its hash and how many rows it brought.",
    owner="data-engineering",
    key=("table_name",),
    columns=(
        Column("table_name", "STRING", "omop.concept, ..., or a list of codes' file.", False),
        Column("file_hash", "STRING", "SHA-256 of the file.", False),
        Column("row_count", "BIGINT", "Rows loaded.", False),
        Column("loaded_at", "TIMESTAMP", "as_of of the load.", False),
    ),
)
