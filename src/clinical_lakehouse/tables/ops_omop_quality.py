"""Ops: what the checks of OHDSI's Data Quality Dashboard found in the CDM."""

from clinical_lakehouse.tables.contract import Column, Table, between, is_one_of

DQD_RESULT = Table(
    name="ops.dqd_result",
    comment="One row per moment and check of OHDSI's Data Quality Dashboard.",
    owner="data-quality",
    key=("checked_at", "check_id"),
    columns=(
        Column("checked_at", "TIMESTAMP", "as_of of the run.", False),
        Column("check_id", "STRING", "DQD's id: level, check, table, field, concepts.", False),
        Column("check_name", "STRING", "DQD's check type.", False),
        Column("check_level", "STRING", "TABLE, FIELD or CONCEPT.", False),
        Column("table_name", "STRING", "CDM table, e.g. omop.person.", False),
        Column("field_name", "STRING", "Field; null for a table's check."),
        Column("concept_id", "STRING", "Concept, or concepts with commas."),
        Column("category", "STRING", "Kahn 2016: Conformance, Completeness, Plausibility.", False),
        Column("subcategory", "STRING", "Kahn 2016: Relational, Value, Temporal, ..."),
        Column("context", "STRING", "Kahn 2016: Verification or Validation.", False),
        Column("severity", "STRING", "DQD's: fatal, convention or characterization."),
        Column("violated_count", "BIGINT", "Rows that violate it.", False),
        Column("counted_count", "BIGINT", "Its denominator: rows it applies to.", False),
        Column("violated_ratio", "DOUBLE", "Violated of counted; 0 where none is counted.", False),
        Column("threshold_percent", "DOUBLE", "Allowed; null: a single one fails.", unit="%"),
        Column("status", "STRING", "passed, failed, not_applicable or error.", False),
        Column("reason", "STRING", "Why it is not applicable or could not be counted."),
        Column("run_id", "STRING", "The run.", False),
    ),
    checks=(
        is_one_of("status", "passed", "failed", "not_applicable", "error"),
        between("violated_ratio", 0, 1),
    ),
    retention_days=730,
)
