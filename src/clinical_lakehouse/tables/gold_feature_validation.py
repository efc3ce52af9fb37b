"""Feature validation: frozen edges, a profile an index date, what moved, and whether it is good."""

from collections.abc import Sequence

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, is_one_of

_OWNER = "ml-engineering"
_KEY = (
    Column("feature_group", "STRING", "Group of conf/features.", False),
    Column("feature_version", "STRING", "Hash of what its values mean.", False),
    Column("feature_name", "STRING", "The feature; * for the group as a whole.", False),
)
_DATE = Column("index_date", "DATE", "The index date looked at.", False, Phi.PSEUDONYM)
_AT = Column("validated_at", "TIMESTAMP", "as_of of the run.", False)


def _keyed(*more: str) -> Sequence[str]:
    return ("feature_group", "feature_version", "feature_name", *more)


FEATURE_PROFILE = Table(
    name="gold.feature_profile",
    comment="One row per feature, its version, and index date: counts by edges that are frozen.",
    owner=_OWNER,
    key=tuple(_keyed("index_date")),
    columns=(
        *_KEY,
        _DATE,
        Column("edges", "ARRAY<DOUBLE>", "Inner edges, frozen at the version's first date.", False),
        Column("counts", "ARRAY<BIGINT>", "People by bin; the last bin has no value.", False),
        Column("low", "DOUBLE", "Smallest value."),
        Column("high", "DOUBLE", "Largest value."),
        Column("reasons", "MAP<STRING, BIGINT>", "People with a value, or by why there is none."),
        _AT,
    ),
    retention_days=2555,
)

FEATURE_VALIDATION = Table(
    name="gold.feature_validation",
    comment="One row per feature, its version, and index date: has it moved since the last good"
    " one. The row of * decides whether the group is published.",
    owner=_OWNER,
    key=tuple(_keyed("index_date")),
    columns=(
        *_KEY,
        _DATE,
        Column("reference_date", "DATE", "The last good one; null: none.", phi=Phi.PSEUDONYM),
        Column("state", "STRING", "passed, failed, too few rows, first or accepted.", False),
        Column("kind", "STRING", "distribution, missingness or category."),
        Column("psi", "DOUBLE", "Population stability index."),
        Column("p_value", "DOUBLE", "Chance of as much, where the limit is exceeded."),
        Column("ks", "DOUBLE", "Kolmogorov-Smirnov distance at the edges."),
        Column("wasserstein", "DOUBLE", "Earth mover's distance in the feature's unit."),
        Column("jensen_shannon", "DOUBLE", "Jensen-Shannon distance of the bins, 0-1."),
        Column("chi_square", "DOUBLE", "Of having a value, or a reason for none."),
        Column("chi_square_p_value", "DOUBLE", "Its p value."),
        Column("missing_before_ratio", "DOUBLE", "Share without a value before, 0-1."),
        Column("missing_ratio", "DOUBLE", "Share without a value now, 0-1."),
        Column("is_outside_range", "BOOLEAN", "A value outside the range there was before."),
        Column("new_category_count", "BIGINT", "People without a value for a reason that is new."),
        Column("reference_count", "BIGINT", "People on the last good date."),
        Column("row_count", "BIGINT", "People on this date.", False),
        Column("explanation", "STRING", "The same in words.", False),
        _AT,
    ),
    checks=(
        is_one_of("state", "passed", "failed", "too few rows", "first", "accepted"),
        between("missing_ratio", 0, 1),
    ),
    retention_days=2555,
)

FEATURE_RELATION = Table(
    name="gold.feature_relation",
    comment="One row per pair of features, their version, and index date whose relation changed.",
    owner=_OWNER,
    key=tuple(_keyed("other_name", "index_date")),
    columns=(
        *_KEY,
        Column("other_name", "STRING", "The other feature; dropout: how important it is.", False),
        _DATE,
        Column("before", "DOUBLE", "Spearman's correlation on the last good date.", False),
        Column("now", "DOUBLE", "The same on this date.", False),
        Column("p_value", "DOUBLE", "Chance that any pair changes as much.", False),
        _AT,
    ),
    checks=(between("p_value", 0, 1),),
    retention_days=2555,
)
