"""Bronze: resources as received, what was wrong with them, and who may be used. Restricted, PHI."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of

_OWNER = "data-engineering"
_DECIDING_WINDOW = (
    Column("consent_id", "STRING", "Logical id of the deciding Consent.", phi=Phi.DIRECT),
    Column("consent_version", "STRING", "Its meta.versionId, else its content's hash."),
    Column("starts_at", "TIMESTAMP", "Data dated from here on; null: all.", phi=Phi.DIRECT),
    Column("ends_at", "TIMESTAMP", "Data dated before; null: all.", phi=Phi.DIRECT),
)

FHIR_RESOURCE = Table(
    name="bronze.fhir_resource",
    comment="One row per resource or deletion as it stood in a landing file (line, bundle entry).",
    owner=_OWNER,
    key=("file_id", "line", "entry"),
    columns=(
        Column("file_id", "STRING", "SHA-256 of the landing file's name and bytes.", False),
        Column("file_name", "STRING", "Its name below the landing folder.", False, Phi.DIRECT),
        Column("line", "BIGINT", "1-based line in the file; 1 for a Bundle.", False),
        Column("entry", "INT", "0-based entry in a Bundle; 0 for NDJSON.", False),
        Column("byte_offset", "BIGINT", "Where the line begins in the unpacked file.", unit="By"),
        Column("resource_type", "STRING", "resourceType as sent, null if unreadable."),
        Column("resource_id", "STRING", "Logical id as sent.", phi=Phi.DIRECT),
        Column("version_id", "STRING", "meta.versionId as sent.", phi=Phi.DIRECT),
        Column("is_deleted", "BOOLEAN", "The source says it is deleted; no content.", False),
        Column(
            "last_updated_at",
            "TIMESTAMP",
            "meta.lastUpdated; of a deletion its time, else its export's, else received_at.",
            phi=Phi.DIRECT,
        ),
        Column("patient_id", "STRING", "Logical id of the person it is about.", phi=Phi.DIRECT),
        Column(
            "content", "STRING", "The resource's JSON, references made Type/id.", phi=Phi.DIRECT
        ),
        Column("content_hash", "STRING", "SHA-256 of the content as received.", False),
        Column("status", "STRING", "valid or invalid, judged when it was read.", False),
        Column("reason", "STRING", "Why it is invalid: a stable reason code."),
        Column("path", "STRING", "Where it is invalid: an element path, never a value."),
        Column(
            "reference_targets",
            "ARRAY<STRING>",
            "Element and target of each reference to another resource.",
            phi=Phi.DIRECT,
        ),
        Column("received_at", "TIMESTAMP", "as_of of the run that took the file.", False),
    ),
    checks=(is_one_of("status", "valid", "invalid"),),
    cluster_by=("resource_type",),
    retention_days=2555,
    change_feed=True,
)

DUPLICATE = Table(
    name="bronze.duplicate",
    comment="One row per valid resource whose type, id and bytes an earlier row already brought.",
    owner=_OWNER,
    key=("file_id", "line", "entry"),
    columns=(
        Column("file_id", "STRING", "Landing file, as in bronze.fhir_resource.", False),
        Column("file_name", "STRING", "Its name below the landing folder.", False, Phi.DIRECT),
        Column("line", "BIGINT", "1-based line in the file.", False),
        Column("entry", "INT", "0-based entry in a Bundle.", False),
        Column("resource_type", "STRING", "resourceType as sent."),
        Column("received_at", "TIMESTAMP", "as_of of the run that took the file.", False),
    ),
    retention_days=2555,
)

QUARANTINE = Table(
    name="bronze.quarantine",
    comment="One row per resource or line that was refused, with the reason and where it stands.",
    owner=_OWNER,
    key=("file_id", "line", "entry"),
    columns=(
        Column("file_id", "STRING", "Landing file, as in bronze.fhir_resource.", False),
        Column("file_name", "STRING", "The file's name below the landing folder.", False),
        Column("line", "BIGINT", "1-based line in the file.", False),
        Column("entry", "INT", "0-based entry in a Bundle.", False),
        Column("byte_offset", "BIGINT", "Where the line begins in the unpacked file.", unit="By"),
        Column("resource_type", "STRING", "resourceType as sent, null if unreadable."),
        Column("resource_id", "STRING", "Logical id as sent.", phi=Phi.DIRECT),
        Column("patient_id", "STRING", "Logical id of the person it is about.", phi=Phi.DIRECT),
        Column(
            "reason", "STRING", "Stable reason code, e.g. json-syntax, missing-required.", False
        ),
        Column("path", "STRING", "Element path, never a value, e.g. Observation.status."),
        Column("received_at", "TIMESTAMP", "as_of of the run that refused it.", False),
        Column("decision", "STRING", "A person's: discarded, released; null: open."),
    ),
    retention_days=2555,
)

CONSENT_DECISION = Table(
    name="bronze.consent_decision",
    comment="One row per person: whether research use is permitted, by which rule and document.",
    owner="compliance",
    key=("patient_id",),
    columns=(
        Column("patient_id", "STRING", "Logical id of the person.", False, Phi.DIRECT),
        Column("is_permitted", "BOOLEAN", "May the person's data go to silver?", False),
        Column("is_partial", "BOOLEAN", "Only some: bronze.consent_denial has the rest.", False),
        Column("rule", "STRING", "The rule that decided, e.g. permit, inactive, none.", False),
        *_DECIDING_WINDOW,
        Column("window_hash", "BIGINT", "Changes with any window of the person."),
        Column("decided_at", "TIMESTAMP", "as_of of the run that decided.", False),
    ),
    change_feed=True,
)

CONSENT_WINDOW = Table(
    name="bronze.consent_window",
    comment="One row per provision of a Consent: what it says at as_of, for which data and dates.",
    owner="compliance",
    key=("patient_id", "consent_id", "path"),
    columns=(
        Column("patient_id", "STRING", "Logical id of the person.", False, Phi.DIRECT),
        Column("consent_id", "STRING", "Logical id of the Consent.", False, Phi.DIRECT),
        Column("consent_version", "STRING", "meta.versionId, else the content's hash.", False),
        Column("path", "STRING", "Its place: 0 the root, 0.1 the second one below.", False),
        Column("consented_at", "TIMESTAMP", "Consent.dateTime.", phi=Phi.DIRECT),
        Column("effect", "STRING", "What it does at as_of: permit, deny or none.", False),
        Column("rule", "STRING", "Why, e.g. permit, expired, other-purpose.", False),
        Column("valid_from", "TIMESTAMP", "In force from; null: always.", phi=Phi.DIRECT),
        Column("valid_until", "TIMESTAMP", "In force before; null: no end.", phi=Phi.DIRECT),
        *_DECIDING_WINDOW[2:],
        Column("resource_types", "ARRAY<STRING>", "Only these types; null: all."),
        Column("labels", "ARRAY<STRING>", "Only what bears one of these; null: all."),
        Column("mentions", "ARRAY<ARRAY<STRING>>", "Only what holds one of each.", phi=Phi.DIRECT),
    ),
    checks=(is_one_of("effect", "permit", "deny", "none"),),
)

CONSENT_DENIAL = Table(
    name="bronze.consent_denial",
    comment="One row per resource that a partly permitted person's consent does not reach.",
    owner="compliance",
    key=("resource_type", "resource_id"),
    columns=(
        Column("resource_type", "STRING", "resourceType.", False),
        Column("resource_id", "STRING", "Logical id.", False, Phi.DIRECT),
        Column("patient_id", "STRING", "Logical id of the person.", False, Phi.DIRECT),
        Column("dated_at", "TIMESTAMP", "The date that decided.", phi=Phi.DIRECT),
        Column("rule", "STRING", "Why, e.g. deny, outside-window, undated.", False),
        *_DECIDING_WINDOW,
    ),
)

PUBLISH_SCOPE = Table(
    name="bronze.publish_scope",
    comment="One row per resource that the running publish looks at again; empty between runs.",
    owner=_OWNER,
    key=("resource_type", "resource_id"),
    columns=(
        Column("resource_type", "STRING", "resourceType.", False),
        Column("resource_id", "STRING", "Logical id.", False, Phi.DIRECT),
    ),
)

RESTATEMENT_SCOPE = Table(
    name="bronze.restatement_scope",
    comment="One row per resource that the running restatement makes anew; empty between runs.",
    owner=_OWNER,
    key=("resource_type", "resource_id"),
    columns=(
        Column("resource_type", "STRING", "resourceType.", False),
        Column("resource_id", "STRING", "Logical id.", False, Phi.DIRECT),
    ),
)
