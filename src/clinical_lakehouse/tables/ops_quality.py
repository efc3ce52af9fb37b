"""Ops of data quality: results of whole tables, failing rows, results by site, steps and scores."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of

_OWNER = "data-quality"
_STATES = ("passed", "failed", "not_applicable", "not_judged")
_DIMENSIONS = ("table", "site", "study", "source")


def _run_and(*columns: Column) -> tuple[Column, ...]:
    return (
        Column("run_id", "STRING", "The run that judged.", False),
        *columns,
        Column("checked_at", "TIMESTAMP", "as_of of the run.", False),
    )


def _check() -> tuple[Column, ...]:
    return (
        Column("table_name", "STRING", "The table judged.", False),
        Column("check_name", "STRING", "The check in its contract or conf/quality.", False),
    )


QUALITY_TABLE_RESULT = Table(
    name="ops.quality_table_result",
    comment="One row per check of a whole table and run: what was measured and its limits.",
    owner=_OWNER,
    key=("run_id", "table_name", "check_name"),
    columns=_run_and(
        *_check(),
        Column("severity", "STRING", "fatal, error or warn.", False),
        Column("kind", "STRING", "schema, freshness, volume, distribution, reconciliation.", False),
        Column("category", "STRING", "completeness, conformance or plausibility.", False),
        Column("state", "STRING", f"One of {', '.join(_STATES)}.", False),
        Column("measured", "DOUBLE", "The figure; of schema: columns that differ."),
        Column("against", "DOUBLE", "Of a reconciliation: the other table's figure."),
        Column("low", "DOUBLE", "The least that is allowed."),
        Column("high", "DOUBLE", "The most; of a reconciliation: the gap allowed as a ratio."),
        Column("detail", "STRING", "Of schema: the columns that are new, dropped or retyped."),
        Column("rule_version", "STRING", "Hash of what the check meant in this run.", False),
        Column("owner", "STRING", "Who mends what fails.", False),
    ),
    checks=(is_one_of("state", *_STATES),),
    retention_days=730,
)

QUALITY_FAILURE = Table(
    name="ops.quality_failure",
    comment="One row per check, its version and key of a failing row: since when, and until when.",
    owner=_OWNER,
    key=("table_name", "check_name", "rule_version", "row_key"),
    columns=(
        *_check(),
        Column("rule_version", "STRING", "Hash of what the check meant.", False),
        Column("row_key", "STRING", "The row's key as JSON; hashed if it may identify.", False,
               phi=Phi.PSEUDONYM),
        Column("severity", "STRING", "fatal, error or warn.", False),
        Column("reason", "STRING", "What a good row would do; no value.", False),
        Column("owner", "STRING", "Who mends it.", False),
        Column("row_count", "BIGINT", "Rows of this key that fail.", False),
        Column("first_seen_at", "TIMESTAMP", "as_of of the run that saw it first.", False),
        Column("is_failing", "BOOLEAN", "Does it still fail?", False),
        Column("resolved_at", "TIMESTAMP", "as_of of the run that found it passing or gone."),
        Column("run_id", "STRING", "The run that changed this row last.", False),
    ),
    checks=(is_one_of("severity", "fatal", "error", "warn"),),
    cluster_by=("table_name", "check_name"),
    retention_days=730,
)  # fmt: skip

QUALITY_BLOCK = Table(
    name="ops.quality_block",
    comment="One row per table that a fatal check has blocked: since when, and until when.",
    owner=_OWNER,
    key=("table_name",),
    columns=(
        Column("table_name", "STRING", "Nothing is published from it while it is blocked.", False),
        Column("checks", "ARRAY<STRING>", "The fatal checks that failed.", False),
        Column("is_blocked", "BOOLEAN", "Do they still fail?", False),
        Column("blocked_at", "TIMESTAMP", "as_of of the run that blocked it.", False),
        Column("released_at", "TIMESTAMP", "as_of of the run that found it mended."),
        Column("run_id", "STRING", "The run that changed this row last.", False),
    ),
    retention_days=730,
)

QUALITY_SLICE = Table(
    name="ops.quality_slice",
    comment="One row per check, run and site, study or source with failing rows; others have none.",
    owner=_OWNER,
    key=("run_id", "table_name", "check_name", "dimension", "slice"),
    columns=_run_and(
        *_check(),
        Column("dimension", "STRING", "site, study or source.", False),
        Column("slice", "STRING", "Key of the site or study; folder of the landing file.", False),
        Column("row_count", "BIGINT", "Rows judged.", False),
        Column("failed_count", "BIGINT", "Rows that failed.", False),
        Column("rule_version", "STRING", "Hash of what the check meant in this run.", False),
    ),
    retention_days=730,
)

QUALITY_STEP = Table(
    name="ops.quality_step",
    comment="One row per figure and run that left its usual range: median and MAD of 12 weeks.",
    owner=_OWNER,
    key=("run_id", "table_name", "check_name", "dimension", "slice"),
    columns=_run_and(
        *_check(),
        Column("dimension", "STRING", "table, site, study or source.", False),
        Column("slice", "STRING", "The table, site, study or source.", False),
        Column("value", "DOUBLE", "Share of failing rows, or the measured figure.", False),
        Column("usual", "DOUBLE", "Median of earlier runs, of the same weekday.", False),
        Column("spread", "DOUBLE", "1.4826 x MAD of earlier runs, or what chance does.", False),
        Column("point_count", "INT", "Earlier runs compared with, at least 8.", False),
        Column("rule_version", "STRING", "Hash of what the check meant in this run.", False),
    ),
    retention_days=730,
)

QUALITY_SCORE = Table(
    name="ops.quality_score",
    comment="One row per table, site, study or source and run: its score.",
    owner=_OWNER,
    key=("run_id", "dimension", "slice"),
    columns=_run_and(
        Column("dimension", "STRING", "table, site, study or source.", False),
        Column("slice", "STRING", "The table, site, study or source.", False),
        Column("score", "DOUBLE", "Mean of passed ratios, weighted by severity, 0-1.", False),
        Column("check_count", "INT", "Checks that were judged.", False),
        Column("failed_check_count", "INT", "Of these, over what is tolerated.", False),
    ),
    checks=(is_one_of("dimension", *_DIMENSIONS),),
    retention_days=730,
)
