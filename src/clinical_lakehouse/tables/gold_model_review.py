"""Gold models under review: how versions compare, and what each rule of the gate said."""

from clinical_lakehouse.tables.contract import Check, Column, Table, is_one_of, key

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

LABEL_ATTRITION = Table(
    name="gold.label_attrition",
    comment="One row per labelling (a training, or an ACES task) and step that drops rows.",
    owner=_OWNER,
    key=("label_name", "made_at", "position"),
    columns=(
        Column("label_name", "STRING", "The model, or the ACES task.", False),
        Column("made_at", "TIMESTAMP", "as_of of the run.", False),
        Column("position", "INT", "Order of the steps.", False),
        Column("step", "STRING", "washout, prior outcome, outcome not known yet, ...", False),
        Column("before_count", "BIGINT", "Rows before the step.", False),
        Column("dropped_count", "BIGINT", "Rows it dropped.", False),
        Column("after_count", "BIGINT", "Rows left: what the next step begins with.", False),
    ),
    checks=(Check("adds_up", "`before_count` = `dropped_count` + `after_count`"),),
)

MODEL_SITE = Table(
    name="gold.model_site",
    comment="One row per model version, measure and site that the recipe was not fitted on, and of "
    "all sites pooled (organization_key null).",
    owner=_OWNER,
    key=("model_name", "model_version", "organization_key", "measure"),
    columns=(
        *_KEY,
        key("organization_key", "silver.organization; null: pooled (random effects).", True),
        Column("measure", "STRING", "auroc, observed_expected or calibration_slope.", False),
        Column("value", "DOUBLE", "The figure.", False),
        *_LIMITS,
        Column("new_site_low", "DOUBLE", "Pooled: lower 95% limit for a site not seen yet."),
        Column("new_site_high", "DOUBLE", "Pooled: upper limit of the same."),
        Column("heterogeneity_ratio", "DOUBLE", "Pooled: share of variation between sites, I2."),
        Column("p_value", "DOUBLE", "How odd the site is beside the others, two-sided."),
        Column("is_named", "BOOLEAN", "Odd beyond chance over all sites and measures.", False),
        Column("row_count", "BIGINT", "Rows judged.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        Column("person_count", "BIGINT", "People judged.", False),
        Column("event_person_count", "BIGINT", "Of them with the outcome.", False),
        Column("judged_at", "TIMESTAMP", "as_of of the run.", False),
    ),
)

LEAKAGE_FINDING = Table(
    name="gold.leakage_finding",
    comment="One row per model version, kind of leak and input that shows it.",
    owner=_OWNER,
    key=("model_name", "model_version", "kind", "feature"),
    columns=(
        *_KEY,
        Column("kind", "STRING", "future value, derived from the outcome, ordered id, ...", False),
        Column("feature", "STRING", "The input; * for all of them together.", False),
        Column("value", "DOUBLE", "What was measured: AUROC, correlation, share or count.", False),
        Column("limit_value", "DOUBLE", "From where it is a leak.", False),
        Column("found_at", "TIMESTAMP", "as_of of the run.", False),
    ),
)

MODEL_CARD = Table(
    name="gold.model_card",
    comment="One row per model version, document (TRIPOD+AI, HTI-1) and item: asked and answered.",
    owner=_OWNER,
    key=("model_name", "model_version", "document", "item"),
    columns=(
        *_KEY,
        Column("document", "STRING", "tripod_ai or hti1.", False),
        Column("position", "INT", "Order in the document.", False),
        Column("item", "STRING", "The document's own number.", False),
        Column("asked", "STRING", "What it asks, in short.", False),
        Column("answered_by", "STRING", "run, person, or: a person must say.", False),
        Column("answer", "STRING", "The answer; null where there is none yet."),
        Column("written_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    checks=(is_one_of("answered_by", "run", "person", "a person must say"),),
)
