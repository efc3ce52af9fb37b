"""Gold monitoring: what followed predictions, how a model fares for whom, and what that means."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, is_one_of, key

_OWNER = "ml-engineering"
_MODEL = Column("model_name", "STRING", "Registered model name.", False)
_VERSION = Column("model_version", "INT", "Registered model version.", False)
_FROM = Column("window_start_date", "DATE", "First day of the window.", False)
_TO = Column("window_end_date", "DATE", "Day after the last.", False)
_COMPUTED = Column("computed_at", "TIMESTAMP", "as_of of the run.", False)

PREDICTION_ACTION = Table(
    name="gold.prediction_action",
    comment="One row per participation and index date whose prediction somebody acted on, or"
    " decided not to.",
    owner=_OWNER,
    key=("model_name", "research_subject_key", "index_date"),
    columns=(
        _MODEL,
        key("research_subject_key", "silver.subject."),
        Column("index_date", "DATE", "Date of the prediction.", False, Phi.PSEUDONYM),
        Column("action", "STRING", "What was done; none where nothing was.", False),
        Column("propensity_ratio", "DOUBLE", "Chance of an action by the rule in force, 0-1."),
        Column("is_held_out", "BOOLEAN", "Chosen by lot not to be acted on.", False),
        Column("recorded_at", "TIMESTAMP", "as_of of the run that read it.", False),
    ),
    checks=(between("propensity_ratio", 0, 1),),
    retention_days=2555,
)

MODEL_PERFORMANCE = Table(
    name="gold.model_performance",
    comment="One row per model version, window, population and metric.",
    owner=_OWNER,
    key=("model_name", "model_version", "window_end_date", "population", "metric"),
    columns=(
        _MODEL,
        _VERSION,
        _FROM,
        _TO,
        Column(
            "population",
            "STRING",
            "all; untreated (weighted by 1/(1 - propensity)); hold_out; matured (open windows,"
            " weighted by the chance of an outcome being known); estimated (from the scores alone)"
            " and estimated_weighted (for who is there now): they cannot see concept drift.",
            False,
        ),
        Column(
            "metric",
            "STRING",
            "auroc, observed_expected; of estimates coverage: the share of row_count windows whose"
            " AUROC, once known, lay within what was estimated (event_count of them).",
            False,
        ),
        Column("value", "DOUBLE", "The figure; null where it cannot be computed."),
        Column("low", "DOUBLE", "Lower confidence limit."),
        Column("high", "DOUBLE", "Upper confidence limit."),
        Column("row_count", "BIGINT", "Rows behind it.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        _COMPUTED,
    ),
    retention_days=2555,
)

PERFORMANCE_REVISION = Table(
    name="gold.performance_revision",
    comment="One row per figure of gold.model_performance each time it was said anew: late labels,"
    " corrections and withdrawn consent change windows long past.",
    owner=_OWNER,
    key=(
        *("model_name", "model_version", "window_end_date"),
        *("population", "metric", "known_at"),
    ),
    columns=(
        _MODEL,
        _VERSION,
        _FROM,
        _TO,
        Column("population", "STRING", "As in gold.model_performance.", False),
        Column("metric", "STRING", "As in gold.model_performance.", False),
        Column("value", "DOUBLE", "The figure as known then; null where it could not be computed."),
        Column("low", "DOUBLE", "Lower confidence limit."),
        Column("high", "DOUBLE", "Upper confidence limit."),
        Column("row_count", "BIGINT", "Rows behind it; 0 once there are none any more.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        Column("verdict", "STRING", "The window's verdict as known then.", False),
        Column("known_at", "TIMESTAMP", "as_of of the run from which on it is known.", False),
    ),
    retention_days=2555,
)

GROUP_PERFORMANCE = Table(
    name="gold.group_performance",
    comment="One row per model version, window, site or group, and metric: for whom it holds.",
    owner=_OWNER,
    key=(
        *("model_name", "model_version", "window_end_date"),
        *("attribute", "group_value", "metric"),
    ),
    columns=(
        _MODEL,
        _VERSION,
        _FROM,
        _TO,
        Column("attribute", "STRING", "site, sex, age_band or race, as first known.", False),
        Column("group_value", "STRING", "The group; unknown where nobody said.", False, Phi.QUASI),
        Column(
            "metric",
            "STRING",
            "observed_expected (of those nobody acted on), auroc, selection_rate,"
            " true_positive_rate, false_positive_rate (as if nobody had been acted on).",
            False,
        ),
        Column("value", "DOUBLE", "The figure; null for groups below 11 subjects."),
        Column("low", "DOUBLE", "Lower limit, for all groups of the attribute together."),
        Column("high", "DOUBLE", "Upper limit of the same."),
        Column("reference", "DOUBLE", "The figure it is held against."),
        Column("is_over_limit", "BOOLEAN", "Crossed its limit beyond chance.", False),
        Column("is_changed", "BOOLEAN", "Off beyond chance in two windows without a common day."),
        Column("row_count", "BIGINT", "Subjects in the window.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        _COMPUTED,
    ),
    retention_days=2555,
)

PERFORMANCE_VERDICT = Table(
    name="gold.performance_verdict",
    comment="One row per model version and window: is it the model, or what was done about it.",
    owner=_OWNER,
    key=("model_name", "model_version", "window_end_date"),
    columns=(
        _MODEL,
        _VERSION,
        _FROM,
        _TO,
        Column(
            "verdict",
            "STRING",
            "stable, unclear, drift, intervention, unidentified, too_few; open while outcomes"
            " come.",
            False,
        ),
        Column("advice", "STRING", "none, intercept, slope or refit, by a closed test."),
        Column("row_count", "BIGINT", "Predictions in the window.", False),
        Column("treated_count", "BIGINT", "Of them acted on.", False),
        Column("due_count", "BIGINT", "Outcomes that should be known by the calendar.", False),
        Column("arrived_count", "BIGINT", "Outcomes known.", False),
        Column("overdue_count", "BIGINT", "Due, but not certainly recorded yet.", False),
        Column("censored_count", "BIGINT", "Followed for a part of the window.", False),
        _COMPUTED,
    ),
    checks=(
        is_one_of(
            "verdict",
            "stable",
            "unclear",
            "drift",
            "intervention",
            "unidentified",
            "too_few",
            "open",
        ),
    ),
    retention_days=2555,
)

DATA_DRIFT = Table(
    name="gold.data_drift",
    comment="One row per feature, site, reference and window: has it moved, and how.",
    owner=_OWNER,
    key=("model_name", "model_version", "reference", "feature_name", "site", "window_end_date"),
    columns=(
        _MODEL,
        _VERSION,
        Column("reference", "STRING", "training, previous or last_year.", False),
        Column(
            "feature_name",
            "STRING",
            "Column of gold.subject_feature; <measure>_frequency, days"
            " of 28 on which it was taken; joint for all inputs.",
            False,
        ),
        Column("site", "STRING", "organization_key, or all.", False),
        _FROM,
        _TO,
        Column("state", "STRING", "drift, case_mix, stable or too_few.", False),
        Column(
            "kind",
            "STRING",
            "distribution, unit, missingness, code, sampling_frequency or joint.",
            False,
        ),
        Column("psi", "DOUBLE", "Population stability index; of joint, the AUROC."),
        Column("p_value", "DOUBLE", "Chance of as much without any change."),
        Column("is_model_input", "BOOLEAN", "Used by the model in use.", False),
        Column("missing_before_ratio", "DOUBLE", "Share without a value in the reference, 0-1."),
        Column("missing_ratio", "DOUBLE", "Share without a value now, 0-1."),
        Column("median_before", "DOUBLE", "Median in the reference."),
        Column("median", "DOUBLE", "Median now."),
        Column("reference_count", "BIGINT", "Subjects in the reference.", False),
        Column("row_count", "BIGINT", "Subjects in the window.", False),
        Column("explanation", "STRING", "What changed, in a sentence.", False),
        _COMPUTED,
    ),
    checks=(is_one_of("state", "drift", "case_mix", "stable", "too_few"),),
    retention_days=730,
)

CHANGE_DETECTOR = Table(
    name="gold.change_detector",
    comment="One row per model version and detector of concept drift: what it remembers, and its"
    " last signal.",
    owner=_OWNER,
    key=("model_name", "model_version", "detector"),
    columns=(
        _MODEL,
        _VERSION,
        Column("detector", "STRING", "adwin, page_hinkley, ddm, hddm_a.", False),
        Column("state", "STRING", "JSON: its state after the last window.", False),
        Column("last_index_date", "DATE", "Index date of the last window taken in.", False),
        Column("value_count", "BIGINT", "Outcomes taken in.", False),
        Column("signal_count", "BIGINT", "Changes signalled.", False),
        Column("signal_date", "DATE", "Index date of the window of the last signal."),
    ),
)
