"""What each window says of a model, in rows: who fares how, and whether it is the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from clinical_lakehouse.methods.intervals import Interval, wilson
from clinical_lakehouse.monitoring import intervention
from clinical_lakehouse.monitoring.group_performance import GROUP
from clinical_lakehouse.monitoring.intervention import Figures, Limits
from clinical_lakehouse.monitoring.performance import (
    ESTIMATED,
    LABELS,
    MATURED,
    NO_POPULATIONS,
    SHIFTED,
    UPDATES,
    WATCHED,
    AccuracyLimit,
    judged,
)
from clinical_lakehouse.monitoring.windows import STEP_DAYS, WINDOW_DAYS

Row = Mapping[str, Any]
OPEN, COVERAGE = "open", "coverage"
_SHARING = WINDOW_DAYS // STEP_DAYS  # windows in a row that have days in common
_COUNTS = ("treated", "due", "arrived", "overdue", "censored")


def performance_rows(figures: Iterable[Row]) -> list[dict[str, Any]]:
    """gold.model_performance rows of performance.per_window's figures, without model and clock."""
    kept = ("population", "metric", "value", "low", "high", "row_count", "event_count")
    return [
        {**{name: row[name] for name in kept}, **_window(row)}
        for row in figures
        if row["population"] not in NO_POPULATIONS
    ]


def judged_groups(figures: Iterable[Row], limit: AccuracyLimit) -> list[dict[str, Any]]:
    """gold.group_performance rows of performance.per_window's figures, without model and clock,
    judged as performance.judged does; a group's AUROC has nothing to be held against."""
    mine = [row for row in figures if row["population"] == GROUP]
    whose = ("attribute", "group_value")
    return [
        {**row, **{name: figure[name] for name in whose}}
        for figure, row in zip(mine, judged(mine, replace(limit, reference=None)), strict=True)
    ]


def coverage_rows(figures: Iterable[Row], confidence: float) -> list[dict[str, Any]]:
    """gold.model_performance rows of how the estimates of a model kept, without model and clock:
    metric `coverage` of a window is the share of AUROCs known up to it that lay within the limits
    that were estimated. Far below the confidence, risks have stopped being true and estimates are
    not to be trusted: nothing else tells them of concept drift.

    Limits of the share count windows with a day in common once.
    """
    found: dict[Any, dict[str, Row]] = {}
    for row in figures:
        if row["metric"] == "auroc" and row["value"] is not None:
            found.setdefault(row["index_date"], {})[row["population"]] = row
    rows = []
    for population in (ESTIMATED, SHIFTED):
        checked, inside = 0, 0
        for day in sorted(found):
            by = found[day]
            if not {population, WATCHED} <= set(by):
                continue
            checked += 1
            estimate, seen = by[population], by[WATCHED]["value"]
            inside += estimate["low"] <= seen <= estimate["high"]
            kept = wilson(inside, checked, confidence, float(min(checked, _SHARING)))
            rows.append({**_coverage(kept, population), "row_count": checked, "event_count": inside,
                         **_window({"index_date": day})})  # fmt: skip
    return rows


def coverage_now(rows: Iterable[Row]) -> float | None:
    """The last coverage of the plain estimate, 0-1; None before any AUROC is known."""
    mine = [row for row in rows if (row["population"], row["metric"]) == (ESTIMATED, COVERAGE)]
    return max(mine, key=lambda row: row["window_end_date"])["value"] if mine else None


def _coverage(kept: Interval | None, population: str) -> dict[str, Any]:
    value, low, high = (kept.value, kept.low, kept.high) if kept else (None, None, None)
    return {"population": population, "metric": COVERAGE, "value": value, "low": low, "high": high}


def verdict_rows(figures: Sequence[Row], limits: Limits) -> list[dict[str, Any]]:
    """gold.performance_verdict rows, one per window, without model and clock."""
    ordered = sorted(figures, key=lambda row: row["index_date"])
    return [
        _verdict(list(rows), limits) for _, rows in groupby(ordered, lambda row: row["index_date"])
    ]


def _verdict(rows: Sequence[Row], limits: Limits) -> dict[str, Any]:
    counted = {row["metric"]: row for row in rows if row["population"] == LABELS}
    count = {name: int(counted[name]["value"]) for name in _COUNTS}
    advice = counted.get("advice")
    populations = _populations(rows)
    said = OPEN
    if populations:
        said = intervention.verdict(populations, limits, count["treated"] > 0)
    return {
        **_window(rows[0]),
        "verdict": said,
        "advice": UPDATES[int(advice["value"])] if advice else None,
        "row_count": counted["due"]["row_count"],
        **{f"{name}_count": value for name, value in count.items()},
    }


def _populations(rows: Sequence[Row]) -> dict[str, Figures]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["population"] not in (*NO_POPULATIONS, MATURED, ESTIMATED, SHIFTED):
            found.setdefault(row["population"], {})[row["metric"]] = row
    return {
        name: Figures(
            _interval(metrics["auroc"]),
            _interval(metrics["observed_expected"]),
            metrics["auroc"]["row_count"],
            metrics["auroc"]["event_count"],
        )
        for name, metrics in found.items()
    }


def _interval(row: Row) -> Interval | None:
    if row["value"] is None or row["low"] is None:
        return None
    return Interval(row["value"], row["low"], row["high"])


def _window(row: Row) -> dict[str, Any]:
    day = row["index_date"]
    return {
        "window_start_date": day + timedelta(days=1),
        "window_end_date": day + timedelta(days=WINDOW_DAYS + 1),
    }
