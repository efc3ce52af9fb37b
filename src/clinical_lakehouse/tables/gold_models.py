"""Gold models: versions trained, how good they were, what they predicted, how they fared since."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, key

_OWNER = "ml-engineering"
_MODEL = Column("model_name", "STRING", "Registered model name.", False)
_VERSION = Column("model_version", "INT", "Registered model version.", False)

MODEL_VERSION = Table(
    name="gold.model_version",
    comment="One row per registered model version: what it was trained on and with.",
    owner=_OWNER,
    key=("model_name", "model_version"),
    columns=(
        _MODEL,
        _VERSION,
        Column("tracking_run_id", "STRING", "MLflow run.", False),
        Column("algorithm", "STRING", "Model family chosen by the search.", False),
        Column("parameters", "STRING", "Chosen hyper-parameters as JSON.", False),
        Column("feature_version", "STRING", "gold.subject_feature.feature_version.", False),
        Column("feature_names", "STRING", "Columns used, in order, as JSON.", False),
        Column("feature_table_version", "BIGINT", "Delta version of gold.subject_feature.", False),
        Column("training_until", "TIMESTAMP", "No outcome after this moment was used.", False),
        Column("train_from_date", "DATE", "First index date trained on."),
        Column("train_to_date", "DATE", "Last index date trained on."),
        Column("test_from_date", "DATE", "First index date held out (later in time)."),
        Column("test_to_date", "DATE", "Last index date held out."),
        Column("train_row_count", "BIGINT", "Rows trained on.", False),
        Column("test_row_count", "BIGINT", "Rows held out.", False),
        Column("horizon_days", "INT", "Outcome within this many days.", False, unit="d"),
        Column("trained_at", "TIMESTAMP", "as_of of the run.", False),
    ),
)

MODEL_EVALUATION = Table(
    name="gold.model_evaluation",
    comment="One row per model version, metric and group, on the held-out rows.",
    owner=_OWNER,
    key=("model_name", "model_version", "metric", "group_name", "group_value"),
    columns=(
        _MODEL,
        _VERSION,
        Column("metric", "STRING", "auroc, auprc, brier, calibration_slope, ...", False),
        Column("group_name", "STRING", "all, sex, age_band, race.", False),
        Column("group_value", "STRING", "all, or the group.", False),
        Column("value", "DOUBLE", "The figure; null where it cannot be computed."),
        Column("low", "DOUBLE", "Lower 95% limit, where there is one."),
        Column("high", "DOUBLE", "Upper 95% limit, where there is one."),
        Column("baseline", "DOUBLE", "The same figure of the baseline model."),
        Column("row_count", "BIGINT", "Rows judged.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        Column("person_count", "BIGINT", "People judged; under 11 a group has no figures.", False),
        Column("evaluated_at", "TIMESTAMP", "as_of of the run.", False),
    ),
)

MODEL_CURVE = Table(
    name="gold.model_curve",
    comment="One row per point of a model version's curve: roc, calibration, net_benefit, score.",
    owner=_OWNER,
    key=("model_name", "model_version", "curve", "series", "point"),
    columns=(
        _MODEL,
        _VERSION,
        Column("curve", "STRING", "roc, calibration, net_benefit or score.", False),
        Column("series", "STRING", "model, baseline, treat_all, treat_none, ...", False),
        Column("point", "INT", "Order along the curve.", False),
        Column("x", "DOUBLE", "Abscissa.", False),
        Column("y", "DOUBLE", "Ordinate."),
        Column("row_count", "BIGINT", "Rows behind the point."),
    ),
)

MODEL_GATE = Table(
    name="gold.model_gate",
    comment="One row per model version: did it pass the gate, and why (not).",
    owner=_OWNER,
    key=("model_name", "model_version"),
    columns=(
        _MODEL,
        _VERSION,
        Column("is_passed", "BOOLEAN", "May it become champion?", False),
        Column("reason", "STRING", "One sentence per rule, passed or failed.", False),
        Column("decided_at", "TIMESTAMP", "as_of of the run.", False),
    ),
)

PREDICTION = Table(
    name="gold.prediction",
    comment="One row per participation, index date and model version: the risk predicted.",
    owner=_OWNER,
    key=("model_name", "model_version", "research_subject_key", "index_date"),
    columns=(
        _MODEL,
        _VERSION,
        key("research_subject_key", "silver.subject."),
        Column("index_date", "DATE", "The date the prediction speaks from.", False, Phi.PSEUDONYM),
        Column(
            "score", "DOUBLE", "Predicted probability of the outcome in the horizon, 0-1.", False
        ),
        Column("feature_version", "STRING", "Feature definitions used.", False),
        key("organization_key", "Site.", nullable=True),
        Column("scored_at", "TIMESTAMP", "as_of of the run that scored first.", False),
    ),
    checks=(between("score", 0, 1),),
    retention_days=2555,
)

MODEL_METRIC = Table(
    name="gold.model_metric",
    comment="One row per model version, metric and window of time.",
    owner=_OWNER,
    key=("model_name", "model_version", "metric", "window_end_date"),
    columns=(
        _MODEL,
        _VERSION,
        Column(
            "metric",
            "STRING",
            "auroc, brier, observed_expected, prediction_psi, input_distance, ...",
            False,
        ),
        Column("window_start_date", "DATE", "First day of the window.", False),
        Column("window_end_date", "DATE", "Day after the last.", False),
        Column("value", "DOUBLE", "The figure; null where it cannot be computed."),
        Column("low", "DOUBLE", "Lower confidence limit."),
        Column("high", "DOUBLE", "Upper confidence limit."),
        Column("reference", "DOUBLE", "The figure it is held against."),
        Column("is_over_limit", "BOOLEAN", "Crossed its limit beyond chance.", False),
        Column("is_changed", "BOOLEAN", "Off beyond chance in two windows without a common day."),
        Column("row_count", "BIGINT", "Rows in the window.", False),
        Column("event_count", "BIGINT", "Outcomes in the window.", False),
        Column("computed_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    retention_days=2555,
)
