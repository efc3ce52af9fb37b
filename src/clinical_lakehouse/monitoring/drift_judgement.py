"""Which features have moved at which sites, and whether that is drift or another mix of cases."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_lakehouse.methods.drift_verdict import Profile, Verdict, judge, psi_between
from clinical_lakehouse.methods.false_discovery import benjamini_hochberg
from clinical_lakehouse.monitoring.feature_profiles import CURRENT, Described, Key, Stratum
from clinical_lakehouse.monitoring.sampling import SUFFIX

ALL = "all"
DRIFT, CASE_MIX, STABLE, TOO_FEW = "drift", "case_mix", "stable", "too_few"
FEWEST = 10  # subjects on either side; below, a site is not judged
_FEW_DRAWS, _MOST_DRAWS = 500, 100_000
_MISSING_CHANGE = 0.2
_UNKNOWN_CODES = 0.1
# Between units of one measurement: powers of ten, glucose, creatinine, cholesterol, pound, inch,
# HbA1c by its slope, haemoglobin, urea, bilirubin.
UNIT_FACTORS = (10, 100, 1000, 18.016, 88.42, 38.67, 2.2046, 2.54, 10.93, 0.6206, 2.8, 17.1, 6.0)
_NOT_COMPARABLE = (
    "Differs, but most are at sites or times on study that the reference has not: it cannot tell."
)
_SAME = 0.12  # how near to a factor medians and spreads must lie

ByFeature = Mapping[str, Described]
ByStratum = Mapping[Stratum, ByFeature]


@dataclass(frozen=True)
class Question:
    """The limit on PSI beyond chance, the share of calls that may be wrong, and the model's inputs
    (a feature's harm comes first from being one)."""

    psi_max: float
    false_discovery_rate: float
    inputs: Collection[str]


def drift_rows(
    found: Mapping[Key, Described], reference: str, question: Question
) -> list[dict[str, Any]]:
    """gold.data_drift rows of one reference, by feature and site and for all sites together, the
    false discovery rate held over all of them. Without model, window and clock.

    What has moved is `case_mix` where the reference, its sites and times on study weighted as now
    (those that it has not, as they are), does not differ; over all sites, where no site has moved.
    """
    current, before = _by_stratum(found, CURRENT), _by_stratum(found, reference)
    pairs: dict[str, tuple[ByStratum, ByStratum]] = {}
    for site in (ALL, *sorted({site for site, _ in current})):
        sides = _of_site(before, site), _of_site(current, site)
        if all(_rows(_together(side)) >= FEWEST for side in sides):
            pairs[site] = sides
    tests = sum(len(_together(now)) for _, now in pairs.values())
    verdicts = {
        site: _judged(_together(was), _together(now), question.psi_max, tests)
        for site, (was, now) in pairs.items()
    }
    proven = _proven(verdicts, question.false_discovery_rate)
    states = {
        (site, name): _state((site, name), verdict, proven, pairs[site], question)
        for site, by_feature in verdicts.items() for name, verdict in by_feature.items()
    }  # fmt: skip
    at_sites = {name for (site, name), state in states.items() if state == DRIFT and site != ALL}
    rows = []
    for (site, name), state in states.items():
        old, new = (_together(side)[name] for side in pairs[site])
        if state == CASE_MIX and site == ALL and name in at_sites:
            state = DRIFT
        said = (state, verdicts[site][name])
        row = _row((site, name), (old, new), said, question)
        if state == CASE_MIX and _known_share(pairs[site]) < 0.5:
            row["explanation"] = _NOT_COMPARABLE
        rows.append({**row, "reference": reference})
    return rows


def _known_share(sides: tuple[ByStratum, ByStratum]) -> float:
    """Share of the rows now that stand in strata which the reference has, 0-1."""
    was, now = sides
    known = sum(_rows(by) for key, by in now.items() if key in was)
    return known / max(sum(_rows(by) for by in now.values()), 1)


def _by_stratum(found: Mapping[Key, Described], period: str) -> dict[Stratum, ByFeature]:
    made: dict[Stratum, dict[str, Described]] = defaultdict(dict)
    for (stratum, when, name), one in found.items():
        if when == period:
            made[stratum][name] = one
    return dict(made)


def _of_site(strata: ByStratum, site: str) -> ByStratum:
    return {key: by for key, by in strata.items() if site in (ALL, key[0])}


def _rows(by_feature: ByFeature) -> int:
    return max((one.profile.rows for one in by_feature.values()), default=0)


def _together(strata: ByStratum) -> dict[str, Described]:
    """The strata as one; profiles add up exactly, medians are weighted means of the strata's."""
    made: dict[str, list[Described]] = defaultdict(list)
    for by_feature in strata.values():
        for name, one in by_feature.items():
            made[name].append(one)
    return {name: _summed(ones) for name, ones in made.items()}


def _proven(verdicts: Mapping[str, Mapping[str, Verdict]], rate: float) -> set[tuple[str, str]]:
    p_values = {
        (site, name): one.p_value
        for site, by in verdicts.items() for name, one in by.items() if one.p_value is not None
    }  # fmt: skip
    tests = sum(len(by) for by in verdicts.values())
    return benjamini_hochberg(p_values, tests, rate)


def _summed(ones: list[Described]) -> Described:
    profile = ones[0].profile
    for one in ones[1:]:
        profile = profile + one.profile
    known = [(one.profile.rows, one.median, one.spread) for one in ones if one.median is not None]
    if not known:
        return Described(profile, None, None, sum(one.unknown_count for one in ones))
    weights, medians, spreads = zip(*known, strict=True)
    median, spread = (float(np.average(v, weights=weights)) for v in (medians, spreads))
    return Described(profile, median, spread, sum(one.unknown_count for one in ones))


def _judged(was: ByFeature, now: ByFeature, limit: float, tests: int) -> dict[str, Verdict]:
    """Verdicts whose p values are fine enough for a family of so many tests, where it matters."""
    before = {name: one.profile for name, one in was.items()}
    after = {name: one.profile for name, one in now.items()}

    def judged(names: Collection[str], draws: int) -> dict[str, Verdict]:
        chosen = {name: before[name] for name in names}
        return judge(chosen, after, limit, alpha=5 * len(chosen) / draws)

    found = judged([name for name in before if name in after], _FEW_DRAWS)
    close = [name for name, one in found.items() if one.p_value is not None and one.p_value < 0.02]
    return {**found, **judged(close, min(40 * tests, _MOST_DRAWS))} if close else found


def _state(
    key: tuple[str, str],
    verdict: Verdict,
    proven: set[tuple[str, str]],
    sides: tuple[ByStratum, ByStratum],
    question: Question,
) -> str:
    if key in proven:
        return CASE_MIX if _is_mix(key[1], sides, question.psi_max) else DRIFT
    return STABLE if verdict.p_value is None else TOO_FEW


def _is_mix(name: str, sides: tuple[ByStratum, ByStratum], psi_max: float) -> bool:
    """Does the reference, its strata weighted as now, differ no more than the limit allows?"""
    was, now = ({key: by[name].profile for key, by in side.items() if name in by}
                for side in sides)  # fmt: skip
    edges = next(iter(now.values())).edges
    current, expected = np.zeros(len(edges) + 2), np.zeros(len(edges) + 2)
    for key, one in now.items():
        old = was.get(key, one)
        current = current + np.asarray(one.counts)
        expected = expected + np.asarray(old.counts) / max(old.rows, 1) * one.rows
    mixed, seen = (Profile(edges, tuple(np.rint(c).astype(int).tolist()))
                   for c in (expected, current))  # fmt: skip
    return psi_between(mixed, seen) <= psi_max


def _row(
    key: tuple[str, str],
    sides: tuple[Described, Described],
    said: tuple[str, Verdict],
    question: Question,
) -> dict[str, Any]:
    (was, now), (state, verdict) = sides, said
    kind, change = named_change(was, now, key[1].endswith(SUFFIX))
    return {
        "feature_name": key[1],
        "site": key[0],
        "state": state,
        "kind": kind,
        "psi": verdict.psi,
        "p_value": verdict.p_value,
        "is_model_input": key[1] in question.inputs,
        "missing_before_ratio": was.profile.missing_ratio,
        "missing_ratio": now.profile.missing_ratio,
        "median_before": was.median,
        "median": now.median,
        "reference_count": was.profile.rows,
        "row_count": now.profile.rows,
        "explanation": _explained(state, change),
    }


def named_change(was: Described, now: Described, is_frequency: bool = False) -> tuple[str, str]:
    """The kind of a change and its words: how often is measured (a feature of `sampling`), values
    gone missing or come back, codes that were not
    known, another unit (median and spread both times a factor between units), else distribution."""
    before, after = was.profile.missing_ratio or 0.0, now.profile.missing_ratio or 0.0
    if is_frequency:
        times = f"measured on {was.median or 0:g} days of 28 in the middle, now on"
        return "sampling_frequency", f"{times} {now.median or 0:g}"
    if abs(after - before) > _MISSING_CHANGE:
        return "missingness", f"{before:.0%} were missing, now {after:.0%}"
    share = now.unknown_count / max(now.profile.rows, 1)
    if share > _UNKNOWN_CODES:
        return "code", f"{share:.0%} of the codes were not known before"
    factor = _unit_factor(was, now)
    if factor is not None:
        return "unit", f"values and their spread are {factor:g} times what they were: another unit?"
    if was.median is None or now.median is None:
        return "distribution", "the shares of the codes have changed"
    return "distribution", f"the median was {was.median:.3g}, now {now.median:.3g}"


def _unit_factor(was: Described, now: Described) -> float | None:
    pairs = ((was.median, now.median), (was.spread, now.spread))
    if not all(old and new and old * new > 0 for old, new in pairs):
        return None
    ratios = [float(new or 0) / float(old or 1) for old, new in pairs]
    for factor in (one**sign for one in UNIT_FACTORS for sign in (1, -1)):
        is_spread = abs(np.log(ratios[1] / factor)) < 3 * _SAME
        if abs(np.log(ratios[0] / factor)) < _SAME and is_spread:
            return factor
    return None


def _explained(state: str, change: str) -> str:
    if state == DRIFT:
        return f"Moved beyond chance: {change}."
    if state == CASE_MIX:
        return f"Other sites or times on study than before, themselves unchanged: {change}."
    return "Beyond the limit, but not beyond chance." if state == TOO_FEW else "Within the limit."
