"""How good a model is on held-out rows: figures overall and by group, and curves."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from clinical_lakehouse.methods import calibration, decision_curve, discrimination, fairness
from clinical_lakehouse.methods.decisions import (
    at_specificity,
    flagged_at,
    information,
    row_benefit,
)
from clinical_lakehouse.methods.fairness import GroupRates
from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.methods.intervals import Interval, design_effect, mean_interval, wilson
from clinical_lakehouse.methods.smooth_calibration import (
    integrated_calibration_index,
    smooth_curve,
)

Row = dict[str, Any]

# A group is compared where its rates mean something: 50 rows, 10 people with the outcome.
COMPARED_ROWS, COMPARED_PEOPLE = 50, 10
FIXED_SPECIFICITY = 0.9
_ROC_POINTS = 200
_THRESHOLDS = np.round(np.arange(0.01, 0.61, 0.01), 2)
_SCORE_BINS = 20
_RATES = {
    "selection_rate": "selection",
    "true_positive_rate": "true_positive",
    "false_positive_rate": "false_positive",
    "positive_predictive_value": "precision",
}


def figures(held: HeldOut) -> list[Row]:
    """One row per metric and group: value, 95% limits, the baseline's value, rows, events, people.

    Limits know that rows of one person are correlated. Groups of fewer than 11 people have no
    figures, only their counts.
    """
    rows = [*_counted(held), *_discrimination(held), *_calibration(held), *_use(held)]
    for name, labels in held.groups.items():
        rows += _by_group(held, name, labels)
    return rows


def curves(held: HeldOut) -> list[Row]:
    """Points of the ROC, calibration, net benefit and score curves."""
    calibrated = [*_calibration_curve(held), *_smooth(held)]
    return [*_roc(held), *calibrated, *_net_benefit(held), *_score(held)]


def _row(held: HeldOut, metric: str, value: Interval | float | None, baseline: Any = None) -> Row:
    found = value if isinstance(value, Interval) else None
    return {
        "metric": metric,
        "group_name": "all",
        "group_value": "all",
        "value": found.value if found else value,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "baseline": baseline.value if isinstance(baseline, Interval) else baseline,
        "row_count": int(held.outcomes.size),
        "event_count": int(held.outcomes.sum()),
        "person_count": len(np.unique(held.people)),
    }


def _counted(held: HeldOut) -> Iterator[Row]:
    """How much the figures rest on: people, not rows, with and without the event."""
    known = information(held.outcomes, held.people)
    yield _row(held, "people_with_event", float(known.with_event))
    yield _row(held, "people_without_event", float(known.without_event))


def _discrimination(held: HeldOut) -> Iterator[Row]:
    y, model, simple, people = held.outcomes, held.scores, held.baseline, held.people
    own = discrimination.auroc(y, model, people)
    yield _row(held, "auroc", own, discrimination.auroc(y, simple, people))
    gain = discrimination.delong_test(y, model, simple, people)
    yield _row(held, "auroc_gain", gain.difference if gain else None)
    precision = discrimination.average_precision(y, model)
    yield _row(held, "auprc", precision, discrimination.average_precision(y, simple))


def _calibration(held: HeldOut) -> Iterator[Row]:
    y, model, simple, people = held.outcomes, held.scores, held.baseline, held.people
    yield _row(held, "brier", calibration.brier(y, model), calibration.brier(y, simple))
    scaled = calibration.scaled_brier
    yield _row(held, "scaled_brier", scaled(y, model), scaled(y, simple))
    ratios = [calibration.observed_expected(y, risk, clusters=people) for risk in (model, simple)]
    yield _row(held, "observed_expected", *ratios)
    index = integrated_calibration_index(y, model, people)
    other = integrated_calibration_index(y, simple, people, draws=0)
    yield _row(held, "integrated_calibration_index", index, other)
    lines = [calibration.recalibration(y, risk, people) for risk in (model, simple)]
    for metric, part in (
        ("calibration_slope", "slope"),
        ("calibration_intercept", "intercept"),
        ("calibration_in_the_large", "in_the_large"),
    ):
        values = [getattr(one, part) if one else None for one in lines]
        yield _row(held, metric, *values)


def _use(held: HeldOut) -> Iterator[Row]:
    """What acting at the threshold would do."""
    yield _row(held, "threshold", held.threshold)
    if not held.outcomes.size or not 0 < held.threshold < 1:
        return
    y, limit = held.outcomes, held.threshold
    own, other = (row_benefit(y, risk, limit) for risk in (held.scores, held.baseline))
    yield _row(held, "net_benefit", mean_interval(own, held.people), float(other.mean()))
    everyone = float(decision_curve.treat_all(y, [limit])[0])
    yield _row(held, "net_benefit_treat_all", everyone)
    right = [(risk >= limit) == y for risk in (held.scores, held.baseline)]
    yield _row(held, "accuracy", mean_interval(right[0], held.people), float(right[1].mean()))
    needed = [
        flagged_at(y, risk, limit).number_needed_to_evaluate
        for risk in (held.scores, held.baseline)
    ]
    yield _row(held, "number_needed_to_evaluate", *needed)
    yield from _at_specificity(held)
    yield from _by_group(held, "all", np.full(held.outcomes.size, "all"))


def _at_specificity(held: HeldOut) -> Iterator[Row]:
    """The best sensitivity that leaves at least nine of ten people without the event alone."""
    own, other = (
        at_specificity(held.outcomes, risk, FIXED_SPECIFICITY)
        for risk in (held.scores, held.baseline)
    )
    if own is None:
        yield _row(held, "sensitivity_at_specificity_90", None)
        return
    flags, events = held.scores >= own.threshold, held.outcomes
    effect = design_effect(flags, events, held.people)
    hits = int((flags & events).sum())
    found = wilson(hits, int(events.sum()), design_effect=effect)
    baseline = other.sensitivity if other else None
    yield _row(held, "sensitivity_at_specificity_90", found, baseline)


def _by_group(held: HeldOut, name: str, labels: np.ndarray) -> Iterator[Row]:
    """Rates of each group at the threshold, and the largest gap of true positive rates."""
    given = labels, held.outcomes
    own = fairness.rates_by_group(*given, held.scores, held.threshold, held.people)
    other = fairness.rates_by_group(*given, held.baseline, held.threshold, held.people)
    for group, rates in own.items():
        for metric, part in _RATES.items():
            values = [None if r.is_small else getattr(r, part) for r in (rates, other[group])]
            yield {**_row(held, metric, *values), **_counts(rates, name, group)}
    if name != "all":
        gaps = [_gap(found) for found in (own, other)]
        yield {**_row(held, "true_positive_rate_gap", *gaps), "group_name": name}


def _counts(rates: GroupRates, name: str, group: str) -> Row:
    return {
        "group_name": name,
        "group_value": group,
        "row_count": rates.row_count,
        "event_count": rates.event_count,
        "person_count": rates.person_count,
    }


def _gap(found: dict[str, GroupRates]) -> float | None:
    return fairness.gap(
        rates.true_positive.value
        for rates in found.values()
        if rates.true_positive
        and rates.row_count >= COMPARED_ROWS
        and rates.event_person_count >= COMPARED_PEOPLE
    )


def _roc(held: HeldOut) -> Iterator[Row]:
    if held.outcomes.all() or not held.outcomes.any():
        return
    for series, scores in (("model", held.scores), ("baseline", held.baseline)):
        x, y = discrimination.roc_points(held.outcomes, scores)
        kept = np.unique(np.linspace(0, x.size - 1, min(x.size, _ROC_POINTS)).round().astype(int))
        yield from _points("roc", series, x[kept], y[kept])


def _calibration_curve(held: HeldOut) -> Iterator[Row]:
    """Observed rate and its limits against predicted risk, ten bins (five under 100 events)."""
    bins = calibration.curve(held.outcomes, held.scores, 10 if held.outcomes.sum() >= 100 else 5)
    x = [one.predicted for one in bins]
    counts = [one.row_count for one in bins]
    for series, part in (("model", "value"), ("low", "low"), ("high", "high")):
        y = [getattr(one.observed, part) for one in bins]
        yield from _points("calibration", series, x, y, counts)


def _smooth(held: HeldOut) -> Iterator[Row]:
    found = smooth_curve(held.outcomes, held.scores) if held.outcomes.size else None
    if found is not None:
        yield from _points("calibration", "smooth", found.predicted, found.observed)


def _net_benefit(held: HeldOut) -> Iterator[Row]:
    if not held.outcomes.size:
        return
    benefit = decision_curve.net_benefit
    series = {
        "model": benefit(held.outcomes, held.scores, _THRESHOLDS),
        "baseline": benefit(held.outcomes, held.baseline, _THRESHOLDS),
        "treat_all": decision_curve.treat_all(held.outcomes, _THRESHOLDS),
        "treat_none": np.zeros(_THRESHOLDS.size),
    }
    for name, values in series.items():
        yield from _points("net_benefit", name, _THRESHOLDS, values)


def _score(held: HeldOut) -> Iterator[Row]:
    """Shares of risks by bin, apart for rows with and without the outcome."""
    edges = np.linspace(0, 1, _SCORE_BINS + 1)
    for series, mine in (("event", held.outcomes), ("no_event", ~held.outcomes)):
        if mine.any():
            counts, _ = np.histogram(held.scores[mine], edges)
            centres = (edges[:-1] + edges[1:]) / 2
            yield from _points("score", series, centres, counts / mine.sum(), counts)


def _points(curve: str, series: str, x: Any, y: Any, counts: Any = None) -> Iterator[Row]:
    for number, (across, up) in enumerate(zip(x, y, strict=True)):
        yield {
            "curve": curve,
            "series": series,
            "point": number,
            "x": float(across),
            "y": float(up),
            "row_count": None if counts is None else int(counts[number]),
        }
