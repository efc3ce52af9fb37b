"""How the champion fares as outcomes arrive: figures per window, and which are beyond chance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from clinical_lakehouse.methods import calibration, discrimination
from clinical_lakehouse.methods.calibration_update import INTERCEPT, NONE, REFIT, SLOPE, closed_test
from clinical_lakehouse.methods.intervals import Interval, difference
from clinical_lakehouse.methods.label_maturity import known_weights, maturity
from clinical_lakehouse.methods.performance_estimation import (
    Reference,
    estimated_auroc,
    estimated_auroc_shifted,
)
from clinical_lakehouse.methods.weighted_performance import weighted_observed_expected
from clinical_lakehouse.monitoring import intervention
from clinical_lakehouse.monitoring.concept_change import ERROR, EXCESS_LOSS
from clinical_lakehouse.monitoring.group_performance import GROUP, group_rows
from clinical_lakehouse.monitoring.windows import A_MONDAY, STEP_DAYS, WINDOW_DAYS

Row = dict[str, Any]

UPDATES = (NONE, INTERCEPT, SLOPE, REFIT)

# Observed over expected events: off by half is worth a person's time, less is not.
OBSERVED_EXPECTED_LIMITS = (0.67, 1.5)
FEWEST_EVENTS = 5  # of either class: below, an interval of the AUROC promises more than it knows
_SCHEMA = (
    "index_date DATE, population STRING, metric STRING, value DOUBLE, low DOUBLE, high DOUBLE, "
    "reference DOUBLE, row_count BIGINT, event_count BIGINT, losses ARRAY<DOUBLE>, "
    "attribute STRING, group_value STRING"
)
# What a window says besides its populations: the figures watched, and counts of its labels.
WATCHED, LABELS, MATURED, STREAM = "watched", "labels", "matured", "stream"
ESTIMATED, SHIFTED = "estimated", "estimated_weighted"
NO_POPULATIONS = (LABELS, WATCHED, STREAM, GROUP)


@dataclass(frozen=True)
class Reading:
    """How figures are made: the risks' horizon, the limits' confidence, the risk from which on a
    score counts as high (none: rates at it are left out), and rows whose outcome is known, for the
    estimate that is weighted for other people, of windows from `reference_until` on alone, for
    those before share outcomes with them."""

    horizon_days: int
    confidence: float
    threshold: float | None = None
    reference: Reference | None = None
    reference_until: date = date.max


@dataclass(frozen=True)
class AccuracyLimit:
    """The AUROC to hold (held-out, with its 95% limits) and the drop from it that is allowed."""

    reference: Interval | None
    drop_max: float


def per_window(rows: DataFrame, reading: Reading) -> DataFrame:
    """Figures of each window, one row per index date, population and metric, made on the workers.

    WATCHED: AUROC, Brier score, observed over expected and calibration slope of the risk within the
    window, AUROC and observed over expected of the untreated where scores were acted on. Others:
    populations of intervention.performance. LABELS: counts, and the closed test's advice. MATURED:
    observed over expected of windows whose outcomes are still coming. ESTIMATED: the AUROC that
    true risks would have, of every window; SHIFTED: the same of risks made true for the people
    there are now; neither can see concept drift. STREAM: what the detectors of concept drift are
    fed, of every fourth window, so that no day of a person counts twice.
    GROUP: who fares how, where rows say whose they are (group_performance.with_groups).
    """
    return rows.groupBy("index_date").applyInPandas(_measurer(reading), _SCHEMA)


def window_risk(scores: np.ndarray, horizon_days: int) -> np.ndarray:
    """The risk within a window from that within the horizon, at a constant hazard."""
    return np.asarray(1 - (1 - scores) ** (WINDOW_DAYS / horizon_days))


def window_figures(
    outcomes: np.ndarray, scores: np.ndarray, horizon_days: int, confidence: float
) -> list[Row]:
    """The figures of one window; None where one class only makes a figure impossible. Calibration
    is mean (in the large, slope held at 1) and weak (slope): van Calster et al. 2019."""
    risks = window_risk(scores, horizon_days)
    refitted = calibration.recalibration(outcomes, risks, confidence=confidence)
    prevalence = float(outcomes.mean()) if outcomes.size else 0.0
    return [
        _figure("auroc", discrimination.auroc(outcomes, scores, confidence=confidence)),
        # A model that knows only how many leave has the Brier score p (1 - p).
        _figure("brier", calibration.brier(outcomes, risks), prevalence * (1 - prevalence)),
        _figure(
            "observed_expected", calibration.observed_expected(outcomes, risks, confidence), 1.0
        ),
        _figure("calibration_in_the_large", refitted.in_the_large if refitted else None, 0.0),
        _figure("calibration_slope", refitted.slope if refitted else None, 1.0),
    ]


def judged(figures: Sequence[Mapping[str, Any]], limit: AccuracyLimit) -> list[Row]:
    """Figures as gold.model_metric rows; over the limit when this and the week before's are.

    AUROC: the drop from the held-out AUROC exceeds its limit beyond the errors of both (one lucky
    held-out set would else alert for ever). Observed over expected: its interval lies outside
    [0.67, 1.5]. Two weeks in a row, for there are many windows. Chosen by simulation: a reversed
    hazard is found in 95 of 100 trials of 300 subjects, 1 in 100 alerts a fortnight too early.

    Changed, which is less: the AUROC is lower at all beyond chance, or observed over expected off
    by the same limit, in this window and in the one that ends where it begins. Figures of a group
    are judged for themselves.
    """
    over = {_place(figure, 0) for figure in figures if _is_beyond(figure, limit)}
    off = {_place(figure, 0) for figure in figures if _is_off(figure, limit)}
    return [
        {
            **_judged(figure, limit),
            "is_over_limit": {_place(figure, 0), _place(figure, STEP_DAYS)} <= over,
            "is_changed": {_place(figure, 0), _place(figure, WINDOW_DAYS)} <= off,
        }
        for figure in figures
    ]


def _place(figure: Mapping[str, Any], days: int) -> tuple[Any, ...]:
    """Which figure it is, of a window so many days earlier."""
    whose = (figure.get("attribute"), figure.get("group_value"))
    return figure["metric"], *whose, figure["index_date"] - timedelta(days=days)


def _judged(figure: Mapping[str, Any], limit: AccuracyLimit) -> Row:
    metric, day = figure["metric"], figure["index_date"]
    held_out = limit.reference.value if limit.reference else None
    return {
        "metric": metric,
        "window_start_date": day + timedelta(days=1),
        "window_end_date": day + timedelta(days=WINDOW_DAYS + 1),
        **{name: figure[name] for name in ("value", "low", "high", "row_count", "event_count")},
        "reference": held_out if metric == "auroc" else figure["reference"],
    }


def _is_beyond(figure: Mapping[str, Any], limit: AccuracyLimit) -> bool:
    if figure["value"] is None or figure["low"] is None:
        return False
    found = Interval(figure["value"], figure["low"], figure["high"])
    if figure["metric"] == "observed_expected":
        low, high = OBSERVED_EXPECTED_LIMITS
        return found.low > high or found.high < low
    return _has_dropped(figure, found, limit, limit.drop_max)


def _is_off(figure: Mapping[str, Any], limit: AccuracyLimit) -> bool:
    if figure["value"] is None or figure["low"] is None:
        return False
    found = Interval(figure["value"], figure["low"], figure["high"])
    if figure["metric"] == "observed_expected":
        return found.low > 1 + limit.drop_max or found.high < 1 - limit.drop_max
    return _has_dropped(figure, found, limit, 0.0)


def _has_dropped(
    figure: Mapping[str, Any], found: Interval, limit: AccuracyLimit, by: float
) -> bool:
    if figure["metric"] != "auroc" or limit.reference is None:
        return False
    others = figure["row_count"] - figure["event_count"]
    if min(figure["event_count"], others) < FEWEST_EVENTS:
        return False
    return difference(limit.reference, found).low > by


def window_rows(rows: pd.DataFrame, reading: Reading) -> list[Row]:
    """Everything that one window says, for `per_window`."""
    horizon_days, confidence = reading.horizon_days, reading.confidence
    events, scores = rows["is_event"].to_numpy(bool), rows["score"].to_numpy(float)
    risks = window_risk(scores, horizon_days)
    found = [*_counted(rows), *_estimated(rows, risks, reading)]
    if not rows["is_complete"].all():
        return [*found, _still_coming(rows, risks, confidence)]
    acted = intervention.Acted(
        rows["is_treated"].to_numpy(bool),
        rows["propensity"].to_numpy(float),
        rows["is_held_out"].to_numpy(bool),
    )
    performed = intervention.performance(events, scores, risks, acted, confidence)
    found += [
        {**_figure(metric, getattr(figures, metric), 1.0 if metric != "auroc" else None),
         "population": name, "row_count": figures.row_count, "event_count": figures.event_count}
        for name, figures in performed.items()
        for metric in ("auroc", "observed_expected")
    ]  # fmt: skip
    untreated = ~acted.is_treated
    advised = closed_test(events[untreated], risks[untreated])
    if advised:
        found.append(_label("advice", float(UPDATES.index(advised.update)), rows))
    trusted = {row["metric"]: row for row in found if row["population"] == intervention.UNTREATED}
    counts = {"row_count": events.size, "event_count": int(events.sum())}
    watched = window_figures(events, scores, horizon_days, confidence)
    return [
        *found,
        *_streams(rows[untreated], risks[untreated]),
        *group_rows(rows, risks, acted, confidence, reading.threshold),
        *({**counts, **trusted.get(r["metric"], r), "population": WATCHED} for r in watched),
    ]


def _counted(rows: pd.DataFrame) -> list[Row]:
    is_known = rows["is_event"] | rows["is_complete"]
    counts = maturity(rows["is_due"], is_known, rows["followed_days"])
    named = {"treated": int(rows["is_treated"].sum()), **asdict(counts)}
    return [_label(name, float(count), rows) for name, count in named.items()]


def _estimated(rows: pd.DataFrame, risks: np.ndarray, reading: Reading) -> Iterator[Row]:
    counts = {"row_count": len(rows), "event_count": int(rows["is_event"].sum())}
    plain = estimated_auroc(rows["score"], risks, reading.confidence)
    yield {**_figure("auroc", plain), **counts, "population": ESTIMATED}
    is_later = rows["index_date"].iloc[0] >= reading.reference_until
    if reading.reference is not None and is_later:
        inputs = input_matrix(rows, reading.reference.inputs.shape[1])
        given = (rows["score"], risks, inputs, reading.reference)
        found = estimated_auroc_shifted(*given, reading.confidence)
        yield {**_figure("auroc", found), **counts, "population": SHIFTED}


def reference(people: pd.DataFrame, horizon_days: int, width: int) -> Reference | None:
    """Rows of whole windows as what estimates are weighted from; None without people or numbers."""
    if people.empty or not width:
        return None
    risks = window_risk(people["score"].to_numpy(float), horizon_days)
    return Reference(risks, people["is_event"].to_numpy(bool), input_matrix(people, width))


def input_matrix(rows: pd.DataFrame, width: int) -> np.ndarray:
    """The arrays of `windows.with_inputs` as rows of `width` numbers, NaN where one is missing."""
    blank = [np.nan] * width
    return np.array([blank if one is None else list(one) for one in rows["inputs"]], dtype=float)


def _streams(rows: pd.DataFrame, risks: np.ndarray) -> list[Row]:
    """In the order of keys, which says nothing of the rows."""
    weeks = (rows["index_date"].iloc[0] - A_MONDAY).days // STEP_DAYS if len(rows) else 1
    if weeks % (WINDOW_DAYS // STEP_DAYS):
        return []
    order = np.argsort(rows["research_subject_key"].to_numpy(), kind="stable")
    events, risk = rows["is_event"].to_numpy(float)[order], risks[order]
    excess = (events - risk) ** 2 - risk * (1 - risk)
    wrong = ((risk >= 0.5) != (events > 0)).astype(float)
    return [
        {**_label(metric, float(losses.mean()), rows), "population": STREAM, "losses": list(losses)}
        for metric, losses in ((EXCESS_LOSS, excess), (ERROR, wrong))
    ]


def _label(metric: str, value: float, rows: pd.DataFrame) -> Row:
    return {
        **_figure(metric, value),
        "population": LABELS,
        "row_count": len(rows),
        "event_count": int(rows["is_event"].sum()),
    }


def _still_coming(rows: pd.DataFrame, risks: np.ndarray, confidence: float) -> Row:
    """Events known so far, each for one over the chance of being known by then."""
    is_known = (rows["is_event"] | rows["is_complete"]).to_numpy(bool)
    events, weights = (
        rows["is_event"].to_numpy(bool),
        known_weights(rows["followed_days"], is_known),
    )
    reached = float(rows["followed_days"].max()) if len(rows) else 0.0
    # Nobody was followed longer, so the risk up to there is what can be held against.
    awaited = 1 - (1 - risks) ** (min(reached, WINDOW_DAYS) / WINDOW_DAYS)
    ratio = weighted_observed_expected(events, awaited, weights, np.ones(len(rows)), confidence)
    counts = {"row_count": len(rows), "event_count": int(events.sum()), "population": MATURED}
    return {**_figure("observed_expected", ratio, 1.0), **counts}


def _figure(metric: str, value: Interval | float | None, reference: float | None = None) -> Row:
    found = value if isinstance(value, Interval) else None
    return {
        "metric": metric,
        "value": found.value if found else value,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "reference": reference,
    }


def _measurer(reading: Reading) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def measured(rows: pd.DataFrame) -> pd.DataFrame:
        figures = window_rows(rows, reading)
        day = {"index_date": rows["index_date"].iloc[0]}
        day |= dict.fromkeys(("losses", "attribute", "group_value"))
        return pd.DataFrame([{**day, **figure} for figure in figures])

    return measured
