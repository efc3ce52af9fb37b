"""Gold privacy: how easily people are found again in the de-identified tables."""

from clinical_lakehouse.tables.contract import Column, Table, between

_RATIO = "DOUBLE"

REIDENTIFICATION_RISK = Table(
    name="gold.reidentification_risk",
    comment="One row per run and assessed table: class sizes and risks by its quasi-identifiers.",
    owner="compliance",
    key=("assessed_at", "table_name", "quasi_identifiers"),
    columns=(
        Column("assessed_at", "TIMESTAMP", "as_of of the run.", False),
        Column("table_name", "STRING", "The table; one row per person.", False),
        Column("quasi_identifiers", "STRING", "Its columns taken together, as JSON.", False),
        Column("sensitive", "STRING", "The column that l and t are about."),
        Column("record_count", "BIGINT", "People.", False),
        Column("class_count", "BIGINT", "Classes of people who look the same.", False),
        Column("smallest_class", "BIGINT", "k: people in the smallest class (Sweeney 2002)."),
        Column("prosecutor_max_risk_ratio", _RATIO, "1/k: a known member, at worst."),
        Column("prosecutor_mean_risk_ratio", _RATIO, "The same, on average over people."),
        Column("marketer_risk_ratio", _RATIO, "Expected share of all people found again."),
        Column("small_class_records_ratio", _RATIO, "Share of people in classes under 11."),
        Column("is_below_smallest_class", "BOOLEAN", "k is under 11 (CMS cell size)."),
        Column("distinct_l", "BIGINT", "Least different sensitive values in a class."),
        Column("entropy_l", _RATIO, "Least exp(entropy) of them in a class."),
        Column("closeness_t", _RATIO, "Largest distance of a class from the whole table."),
    ),
    checks=(
        between("prosecutor_max_risk_ratio", 0, 1),
        between("marketer_risk_ratio", 0, 1),
        between("closeness_t", 0, 1),
    ),
)
