"""Gold clinical scores and OHDSI covariates of each trial participation."""

from clinical_lakehouse.tables.contract import Check, Column, Phi, Table, key

CLINICAL_SCORE = Table(
    name="gold.clinical_score",
    comment="One row per trial participation, index date and score: its value, or why it is null.",
    owner="ml-engineering",
    key=("research_subject_key", "index_date", "score"),
    columns=(
        key("research_subject_key", "silver.subject."),
        key("subject_key", "The person."),
        Column("index_date", "DATE", "The score is of what was known then.", False, Phi.PSEUDONYM),
        Column("score", "STRING", "Name of the score, e.g. egfr_ckd_epi_2021.", False),
        Column("value", "DOUBLE", "The score; null where it cannot be had."),
        Column("unit", "STRING", "UCUM unit of the value.", False),
        Column("reason", "STRING", "Why the value is null: inputs missing or out of range."),
        Column(
            "input_dates", "MAP<STRING, DATE>", "Day of each measured input.", phi=Phi.PSEUDONYM
        ),
    ),
    checks=(Check("value_or_reason", "(`value` IS NULL) = (`reason` IS NOT NULL)"),),
    cluster_by=("score", "index_date"),
    retention_days=2555,
)

COVARIATE = Table(
    name="gold.covariate",
    comment="One row per trial participation and OHDSI covariate known at enrolment; no row is 0.",
    owner="ml-engineering",
    key=("research_subject_key", "covariate_id"),
    columns=(
        key("research_subject_key", "silver.subject."),
        key("subject_key", "The person."),
        Column("index_date", "DATE", "Day of enrolment.", False, Phi.PSEUDONYM),
        Column("covariate_id", "BIGINT", "OHDSI: conceptId * 1000 + analysisId.", False),
        Column("analysis_id", "INT", "OHDSI's predefined analysis.", False),
        Column("covariate_value", "DOUBLE", "1 where present, else a count or value.", False),
    ),
    cluster_by=("analysis_id",),
    retention_days=2555,
)
