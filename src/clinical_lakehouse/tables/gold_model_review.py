"""Gold models under review: how versions compare, and what each rule of the gate said."""

from clinical_lakehouse.tables.contract import Column, Table, is_one_of

_OWNER = "ml-engineering"
_KEY = (
    Column("model_name", "STRING", "Registered model name.", False),
    Column("model_version", "INT", "Registered model version.", False),
)
_LIMITS = (
    Column("low", "DOUBLE", "Lower 95% limit, where there is one."),
    Column("high", "DOUBLE", "Upper 95% limit, where there is one."),
)

MODEL_COMPARISON = Table(
    name="gold.model_comparison",
    comment="One row per model version, what it is compared with, and metric, on the same rows.",
    owner=_OWNER,
    key=("model_name", "model_version", "compared_with", "metric"),
    columns=(
        *_KEY,
        Column("compared_with", "STRING", "baseline, champion, treat_all, simpler, ...", False),
        Column("metric", "STRING", "auroc, net_benefit, accuracy or brier.", False),
        Column("value", "DOUBLE", "The version's figure.", False),
        Column("other_value", "DOUBLE", "That of what it is compared with.", False),
        Column("difference", "DOUBLE", "The version's less the other's.", False),
        *_LIMITS,
        Column("p_value", "DOUBLE", "Two-sided, where the method gives one."),
        Column("method", "STRING", "How the interval or p value was made.", False),
        Column("row_count", "BIGINT", "Rows judged.", False),
        Column("person_count", "BIGINT", "People judged.", False),
        Column("compared_at", "TIMESTAMP", "as_of of the run.", False),
    ),
)

MODEL_GATE_CRITERION = Table(
    name="gold.model_gate_criterion",
    comment="One row per model version, criterion of the gate and group: value, limit, verdict.",
    owner=_OWNER,
    key=("model_name", "model_version", "criterion", "group_name"),
    columns=(
        *_KEY,
        Column("criterion", "STRING", "enough_people, auroc, calibration_slope, ...", False),
        Column("group_name", "STRING", "all, sex, age_band, race.", False),
        Column("value", "DOUBLE", "What was found; null where it cannot be computed."),
        Column("at_least", "DOUBLE", "The lowest value allowed."),
        Column("at_most", "DOUBLE", "The highest value allowed."),
        Column("verdict", "STRING", "passed, failed, indeterminate or not judged.", False),
        Column("sentence", "STRING", "The same in words.", False),
        Column("decided_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    checks=(is_one_of("verdict", "passed", "failed", "indeterminate", "not judged"),),
)

TRAINING_DECISION = Table(
    name="gold.training_decision",
    comment="One row per model and training asked for: was there enough to learn from, and if not, "
    "when.",
    owner=_OWNER,
    key=("model_name", "decided_at"),
    columns=(
        _KEY[0],
        Column("decided_at", "TIMESTAMP", "as_of of the run.", False),
        Column("outcome", "STRING", "trained, already trained or not enough yet.", False),
        Column("sentence", "STRING", "The same in words.", False),
        Column("model_version", "INT", "The version it led to."),
        Column("person_count", "BIGINT", "People with a known outcome.", False),
        Column("event_person_count", "BIGINT", "Of them with the outcome.", False),
        Column("parameter_count", "INT", "Candidate parameters of the simplest family.", False),
        Column("needed_person_count", "BIGINT", "People by Riley's criteria; null without events."),
        Column("events_per_parameter", "DOUBLE", "Events there are.", False),
        Column("needed_events_per_parameter", "DOUBLE", "Events by Riley's criteria."),
        Column("weeks_to_go", "INT", "Until there are enough; null where nobody is coming."),
    ),
)
