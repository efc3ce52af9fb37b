"""Values of one index date beside those of the last good one: what moved, and is a group good."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import stats

from clinical_lakehouse.features.relation_change import Relation
from clinical_lakehouse.methods.drift import quantile_edges
from clinical_lakehouse.methods.drift_verdict import (
    DRIFT,
    Profile,
    Verdict,
    jensen_shannon_between,
    judge,
    ks_between,
    psi_between,
    wasserstein_between,
)
from clinical_lakehouse.methods.intervals import Floats

WHOLE = "*"  # feature_name of a row about the group
FIRST, PASSED, FAILED, TOO_FEW = "first", "passed", "failed", "too few rows"
RELATION_ALPHA = 0.01  # with the 3% of `judge`: of good days 4 in 100 fail, less than one in 20
KNOWN = "known"  # beside the reasons why there is no value
_BINS = 10
_NEW_REASON = 0.1  # share of people whose value is missing for a reason that was not there before
_MISSING_CHANGE = 0.2
_FEWEST_EDGES = 20  # values to cut bins by


@dataclass(frozen=True)
class DayProfile:
    """A feature on one index date, one value a person: counts by frozen edges (last: missing), its
    range, and how many have a value or which reason for none. Days add up to their month."""

    profile: Profile
    low: float | None
    high: float | None
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "DayProfile") -> "DayProfile":
        lows = [one for one in (self.low, other.low) if one is not None]
        highs = [one for one in (self.high, other.high) if one is not None]
        both = Counter(self.reasons) + Counter(other.reasons)
        total = self.profile + other.profile
        return DayProfile(
            total, min(lows, default=None), max(highs, default=None), dict(sorted(both.items()))
        )

    def outside_of(self, other: "DayProfile") -> bool:
        """Does a value lie outside the other's range?"""
        if None in (self.low, self.high, other.low, other.high):
            return False
        return bool(self.low < other.low or self.high > other.high)  # type: ignore[operator]


def edges_of(values: Floats) -> tuple[float, ...]:
    """Inner edges of ten equal shares, to be frozen; none while there are few values."""
    known = values[~np.isnan(values)]
    return tuple(quantile_edges(known, _BINS).tolist()) if known.size >= _FEWEST_EDGES else ()


def day_profile(
    values: Floats, reasons: Sequence[str | None], edges: Sequence[float]
) -> DayProfile:
    """Profile of one feature: a person's value (NaN: none) and the reason where there is none."""
    known = values[~np.isnan(values)]
    told = Counter(KNOWN if reason is None else reason for reason in reasons)
    low, high = (float(known.min()), float(known.max())) if known.size else (None, None)
    return DayProfile(Profile.of(values, edges), low, high, dict(sorted(told.items())))


def checked(
    before: Mapping[str, DayProfile], now: Mapping[str, DayProfile], psi_max: float
) -> list[dict[str, Any]]:
    """Rows of gold.feature_validation about each feature of both, without key and clock.

    A feature fails where its distribution has moved beyond `psi_max` and beyond chance, corrected
    over features (drift_verdict.judge; one row a person, so rows are independent), or where many
    lack a value for a reason that nobody had before.
    """
    shared = [n for n in before if n in now and before[n].profile.edges == now[n].profile.edges]
    was, then = ({name: side[name].profile for name in shared} for side in (before, now))
    verdicts = judge(was, then, psi_max)
    return [_row(name, before[name], now[name], verdicts[name]) for name in shared]


def group_row(
    rows: Sequence[Mapping[str, Any]], relations: Sequence[Relation], people: int
) -> dict[str, Any]:
    """The row about the whole group: passed unless a feature or a relation failed."""
    failed = [f"{row['feature_name']} ({row['kind']})" for row in rows if row["state"] == FAILED]
    failed += [f"{one.feature} with {one.other} (relation)" for one in changed(relations)]
    if not failed:
        said = "Nothing has moved beyond chance."
    else:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        said = f"Moved beyond chance: {', '.join(failed[:5])}{more}."
    state = FAILED if failed else PASSED
    return {"feature_name": WHOLE, "state": state, "row_count": people, "explanation": said}


def is_held(validations: DataFrame, group: str, version: str) -> bool:
    """Did the newest validation of the group fail, by gold.feature_validation?"""
    mine = (F.col("feature_group") == group) & (F.col("feature_version") == version)
    rows = validations.filter(mine & (F.col("feature_name") == WHOLE))
    last = rows.orderBy(F.desc("index_date")).limit(1).collect()
    return bool(last and last[0]["state"] == FAILED)


def changed(relations: Sequence[Relation]) -> list[Relation]:
    """Pairs whose relation changed beyond chance."""
    return [one for one in relations if one.p_value <= RELATION_ALPHA]


def _row(name: str, was: DayProfile, now: DayProfile, verdict: Verdict) -> dict[str, Any]:
    chi_square, chi_p = _chi_square(was.reasons, now.reasons)
    new = sum(count for reason, count in now.reasons.items() if reason not in was.reasons)
    is_new = new > _NEW_REASON * max(now.profile.rows, 1)
    kind, said = _kind(was, now, is_new)
    is_failed = verdict.state == DRIFT or is_new
    state = FAILED if is_failed else TOO_FEW if verdict.state == TOO_FEW else PASSED
    return {
        "feature_name": name,
        "state": state,
        "kind": kind,
        "psi": psi_between(was.profile, now.profile),
        "p_value": verdict.p_value,
        "ks": ks_between(was.profile, now.profile),
        "wasserstein": wasserstein_between(was.profile, now.profile),
        "jensen_shannon": jensen_shannon_between(was.profile, now.profile),
        "chi_square": chi_square,
        "chi_square_p_value": chi_p,
        "missing_before_ratio": was.profile.missing_ratio,
        "missing_ratio": now.profile.missing_ratio,
        "is_outside_range": now.outside_of(was),
        "new_category_count": new,
        "reference_count": was.profile.rows,
        "row_count": now.profile.rows,
        "explanation": f"Moved beyond chance: {said}." if is_failed else "Within limit or chance.",
    }


def _kind(was: DayProfile, now: DayProfile, is_new: bool) -> tuple[str, str]:
    before, after = was.profile.missing_ratio or 0.0, now.profile.missing_ratio or 0.0
    if is_new:
        return "category", "many have no value for a reason that was not there before"
    if abs(after - before) > _MISSING_CHANGE:
        return "missingness", f"{before:.0%} had no value, now {after:.0%}"
    return "distribution", "the shares of its values have changed"


def _chi_square(
    was: Mapping[str, int], now: Mapping[str, int]
) -> tuple[float | None, float | None]:
    """Pearson's test that having a value, or a reason for none, is shared out as before."""
    names = sorted({*was, *now})
    if len(names) < 2 or not sum(was.values()) or not sum(now.values()):
        return None, None
    table = np.array([[side.get(name, 0) for name in names] for side in (was, now)])
    found = stats.chi2_contingency(table, correction=False)
    return float(found.statistic), float(found.pvalue)
