"""Is a group harmed by a score, or does it only have another base rate: figures with verdicts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import special

from clinical_lakehouse.methods import calibration
from clinical_lakehouse.methods.decisions import row_benefit
from clinical_lakehouse.methods.fairness import GroupRates, rates_by_group
from clinical_lakehouse.methods.intervals import (
    Floats,
    Interval,
    clustered_mean,
    design_effect,
    simultaneous,
    wilson,
)

ALIKE, OTHER_BASE_RATE, HARM, TOO_FEW = "alike", "other base rate", "harm", "too few"
RATES = {
    "selection_rate": "selection",  # demographic parity
    "true_positive_rate": "true_positive",  # equal opportunity
    "false_positive_rate": "false_positive",  # with it: equalised odds
    "positive_predictive_value": "precision",  # predictive parity
}
_COMPARED_PEOPLE = 10  # with the outcome, below which a group is not judged
_HARM_TESTS = 3  # a group is judged by calibration, by the rate of those found, by net benefit


@dataclass(frozen=True)
class Judged:
    """Held-out rows as arrays: outcome, risk, person, and the threshold to act at."""

    outcomes: np.ndarray
    scores: Floats
    people: np.ndarray
    threshold: float


@dataclass(frozen=True)
class GroupFigure:
    """One figure of one group: limits that hold for all groups of the attribute together, what the
    risks themselves lead to expect, and the verdict."""

    attribute: str
    group: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    expected: float | None
    verdict: str
    row_count: int
    event_count: int
    person_count: int


def with_intersections(groups: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The attributes and their pairs, e.g. `sex x age_band`."""
    found = dict(groups)
    for one, other in combinations(groups, 2):
        pairs = zip(groups[one].tolist(), groups[other].tolist(), strict=True)
        found[f"{one} x {other}"] = np.array([f"{a}, {b}" for a, b in pairs], dtype=str)
    return found


def judge_groups(
    judged: Judged, attribute: str, labels: np.ndarray, confidence: float = 0.95
) -> list[GroupFigure]:
    """Parity, odds, opportunity, predictive parity, calibration and net benefit of each group.

    Where base rates differ, rates differ too although nobody is treated unfairly (Chouldechova
    2017): such a gap is "other base rate". "harm" is what the risks do not explain, by limits that
    hold over all groups and tests of the attribute: risks recalibrated on everybody mean something
    else in the group (Obermeyer et al. 2019), its people with the outcome are found less often than
    its risks say, or acting on the model is worse there than acting on all or on none. An outcome
    that is itself recorded with bias cannot be seen from these rows. Groups below 11 people have
    counts only. None judged where one class is missing.
    """
    if not judged.outcomes.size or judged.outcomes.all() or not judged.outcomes.any():
        return []
    rates = rates_by_group(labels, judged.outcomes, judged.scores, judged.threshold, judged.people)
    shown = [group for group, one in rates.items() if not one.is_small]
    level = simultaneous(confidence, len(shown))
    strict = simultaneous(confidence, len(shown) * _HARM_TESTS)
    risks = _recalibrated(judged)
    found: list[GroupFigure] = []
    for group, one in rates.items():
        mine = labels == group
        part = Judged(
            judged.outcomes[mine], judged.scores[mine], judged.people[mine], judged.threshold
        )
        figures = _nothing(one) if one.is_small else _figures(part, risks[mine], level, strict)
        for metric, figure in figures.items():
            found.append(_figure(attribute, group, metric, one, figure))
    whole = np.full(judged.outcomes.size, "all")
    everybody = rates_by_group(whole, judged.outcomes, judged.scores, judged.threshold)["all"]
    return [_against_all(figure, everybody) for figure in found]


_Found = tuple[Interval | None, float | None, bool | None]  # figure, expectation, is it harm?


def _nothing(rates: GroupRates) -> dict[str, _Found]:
    return {metric: (None, None, None) for metric in (*RATES, "observed_expected", "net_benefit")}


def _figures(part: Judged, risks: Floats, level: float, strict: float) -> dict[str, _Found]:
    events, flags, people = part.outcomes, part.scores >= part.threshold, part.people
    enough = len(np.unique(people[events])) >= _COMPARED_PEOPLE
    everyone = np.ones_like(events)
    parts = {
        "selection_rate": (flags, everyone, None),
        "true_positive_rate": (flags, events, _share(flags, risks)),
        "false_positive_rate": (flags, ~events, _share(flags, 1 - risks)),
        "positive_predictive_value": (events, flags, _share(risks, flags.astype(float))),
    }
    found: dict[str, _Found] = {
        metric: (_rate(hits, among, people, level), expected, None)
        for metric, (hits, among, expected) in parts.items()
    }
    missed, wanted = _rate(flags, events, people, strict), parts["true_positive_rate"][2]
    is_missed = missed is not None and wanted is not None and enough and missed.high < wanted
    found["true_positive_rate"] = (*found["true_positive_rate"][:2], is_missed)
    found["observed_expected"] = _calibrated(part, risks, level, strict)
    found["net_benefit"] = _benefit(part, level, strict)
    return found


def _calibrated(part: Judged, risks: Floats, level: float, strict: float) -> _Found:
    shown, judged = (
        calibration.observed_expected(part.outcomes, risks, each, part.people)
        for each in (level, strict)
    )
    seen = len(np.unique(part.people[part.outcomes])) >= _COMPARED_PEOPLE or risks.sum() >= 10
    off = judged is not None and not judged.low <= 1 <= judged.high
    return shown, 1.0, bool(seen and off)


def _benefit(part: Judged, level: float, strict: float) -> _Found:
    """Net benefit, and whether acting alike on the whole group is surely better."""
    own = row_benefit(part.outcomes, part.scores, part.threshold)
    all_alike = row_benefit(part.outcomes, np.ones(own.size), part.threshold)
    gains = [clustered_mean(own - other, part.people, strict) for other in (all_alike, 0 * own)]
    worse = any(gain is not None and gain.high < 0 for gain in gains)
    return clustered_mean(own, part.people, level), max(float(all_alike.mean()), 0.0), worse


def _share(hits: np.ndarray, weights: Floats) -> float | None:
    total = float(weights.sum())
    return float((hits * weights).sum()) / total if total > 0 else None


def _rate(
    hits: np.ndarray, among: np.ndarray, people: np.ndarray, confidence: float
) -> Interval | None:
    effect = design_effect(hits, among, people)
    return wilson(int((hits & among).sum()), int(among.sum()), confidence, effect)


def _recalibrated(judged: Judged) -> Floats:
    """Risks set right for everybody together, so that only a difference between groups is left."""
    clipped = np.clip(judged.scores, 1e-6, 1 - 1e-6)
    fitted = calibration.recalibration(judged.outcomes, clipped)
    if fitted is None:
        return np.full(clipped.size, float(judged.outcomes.mean()))
    line = fitted.intercept.value + fitted.slope.value * special.logit(clipped)
    return np.asarray(special.expit(line), dtype=float)


def _figure(
    attribute: str, group: str, metric: str, rates: GroupRates, found: _Found
) -> GroupFigure:
    figure, expected, is_harm = found
    return GroupFigure(
        attribute=attribute,
        group=group,
        metric=metric,
        value=figure.value if figure else None,
        low=figure.low if figure else None,
        high=figure.high if figure else None,
        expected=expected,
        verdict=TOO_FEW if figure is None else HARM if is_harm else ALIKE,
        row_count=rates.row_count,
        event_count=rates.event_count,
        person_count=rates.person_count,
    )


def _against_all(figure: GroupFigure, everybody: GroupRates) -> GroupFigure:
    """A rate that is not everybody's, and is what the group's risks lead to."""
    if figure.metric not in RATES or figure.verdict != ALIKE or figure.low is None:
        return figure
    whole = getattr(everybody, RATES[figure.metric])
    if whole is None or figure.low <= whole.value <= (figure.high or 1.0):
        return figure
    return replace(figure, verdict=OTHER_BASE_RATE)


def harmed(found: list[GroupFigure]) -> Iterator[GroupFigure]:
    """The figures that show harm."""
    return (one for one in found if one.verdict == HARM)
