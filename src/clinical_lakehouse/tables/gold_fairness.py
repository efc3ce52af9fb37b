"""Gold fairness: how groups fare under a model, and what making it fairer would cost."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of

_OWNER = "ml-engineering"
_KEY = (
    Column("model_name", "STRING", "Registered model name.", False),
    Column("model_version", "INT", "Registered model version.", False),
)
_GROUP = (
    Column("attribute", "STRING", "sex, age_band, race, or two of them: sex x race.", False),
    Column("group_value", "STRING", "The group.", False, Phi.QUASI),
)
_JUDGED_AT = Column("judged_at", "TIMESTAMP", "as_of of the run.", False)

FAIRNESS_FINDING = Table(
    name="gold.fairness_finding",
    comment="One row per model version, attribute, group and metric, on the held-out rows.",
    owner=_OWNER,
    key=("model_name", "model_version", "attribute", "group_value", "metric"),
    columns=(
        *_KEY,
        *_GROUP,
        Column("metric", "STRING", "selection_rate (parity), true_positive_rate (opportunity), "
               "false_positive_rate (odds), positive_predictive_value, observed_expected, "
               "net_benefit.", False),
        Column("value", "DOUBLE", "The figure; null for groups below 11 people."),
        Column("low", "DOUBLE", "Lower limit; 95% for all groups of the attribute together."),
        Column("high", "DOUBLE", "Upper limit of the same."),
        Column("expected", "DOUBLE", "What the group's risks lead to expect."),
        Column("verdict", "STRING", "alike, other base rate, harm or too few.", False),
        Column("row_count", "BIGINT", "Rows judged.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        Column("person_count", "BIGINT", "People judged.", False),
        _JUDGED_AT,
    ),
    checks=(is_one_of("verdict", "alike", "other base rate", "harm", "too few"),),
)  # fmt: skip

FAIRNESS_MITIGATION = Table(
    name="gold.fairness_mitigation",
    comment="One row per model version, mitigation, attribute and group: before and after it.",
    owner=_OWNER,
    key=("model_name", "model_version", "mitigation", "attribute", "group_value"),
    columns=(
        *_KEY,
        Column("mitigation", "STRING", "reweighing or group thresholds.", False),
        *_GROUP,
        Column("true_positive_rate", "DOUBLE", "Share of those with the outcome selected."),
        Column("true_positive_rate_after", "DOUBLE", "The same after the mitigation."),
        Column("net_benefit", "DOUBLE", "Per row, at the threshold.", False),
        Column("net_benefit_after", "DOUBLE", "The same after the mitigation.", False),
        Column("person_count", "BIGINT", "People judged; groups below 11 are left out.", False),
        Column("verdict", "STRING", "Of the mitigation: helps, no gain or refused.", False),
        _JUDGED_AT,
    ),
    checks=(is_one_of("verdict", "helps", "no gain", "refused"),),
)
