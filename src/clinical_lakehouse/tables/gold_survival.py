"""Gold survival: how long people stay in a trial, and what tells of it."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, is_one_of

_OWNER = "biostatistics"
_ENDPOINT = Column("endpoint", "STRING", "time_to_discontinuation.", False)
_COMPUTED_AT = Column("computed_at", "TIMESTAMP", "as_of of the run.", False)

SURVIVAL_CURVE = Table(
    name="gold.survival_curve",
    comment="One row per endpoint, curve, group and day with an event, from 11 people at risk on.",
    owner=_OWNER,
    key=("endpoint", "curve", "group_value", "time_days"),
    columns=(
        _ENDPOINT,
        Column("curve", "STRING", "dropout (Aalen-Johansen), death (the same), "
               "dropout_kaplan_meier (death censored: overstates).", False),
        Column("group_value", "STRING", "all, or a sex.", False, Phi.QUASI),
        Column("time_days", "INT", "Days since the first index date.", False, unit="d"),
        Column("value", "DOUBLE", "Risk by then, 0-1.", False),
        Column("low", "DOUBLE", "Lower 95% limit."),
        Column("high", "DOUBLE", "Upper 95% limit."),
        Column("at_risk_count", "BIGINT", "People at risk just before.", False),
        _COMPUTED_AT,
    ),
    checks=(
        between("value", 0, 1),
        is_one_of("curve", "dropout", "death", "dropout_kaplan_meier"),
    ),
)  # fmt: skip

SURVIVAL_FIGURE = Table(
    name="gold.survival_figure",
    comment="One row per endpoint, metric and term.",
    owner=_OWNER,
    key=("endpoint", "metric", "term"),
    columns=(
        _ENDPOINT,
        Column("metric", "STRING", "hazard_ratio and death_hazard_ratio (cause-specific Cox), "
               "log_rank, harrell_c, uno_c, "
               "brier, brier_without_model, observed_expected, kaplan_meier_excess.", False),
        Column("term", "STRING", "The input, the group compared, or the horizon.", False),
        Column("value", "DOUBLE", "The figure; a hazard ratio is per standard deviation.", False),
        Column("low", "DOUBLE", "Lower 95% limit, where there is one."),
        Column("high", "DOUBLE", "Upper 95% limit, where there is one."),
        Column("p_value", "DOUBLE", "Two-sided, where there is one."),
        Column("person_count", "BIGINT", "People judged.", False),
        Column("event_count", "BIGINT", "Of them discontinued.", False),
        _COMPUTED_AT,
    ),
)  # fmt: skip
