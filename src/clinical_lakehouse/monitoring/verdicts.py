"""What each window says of a model, in rows: who fares how, and whether it is the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring import intervention
from clinical_lakehouse.monitoring.group_performance import GROUP
from clinical_lakehouse.monitoring.intervention import Figures, Limits
from clinical_lakehouse.monitoring.performance import (
    ESTIMATED,
    LABELS,
    MATURED,
    NO_POPULATIONS,
    UPDATES,
    WATCHED,
    AccuracyLimit,
    judged,
)
from clinical_lakehouse.monitoring.windows import WINDOW_DAYS

Row = Mapping[str, Any]
OPEN = "open"
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


def estimate_coverage(figures: Iterable[Row]) -> float | None:
    """Share of windows whose AUROC, once known, lay within the limits of its estimate, 0-1; None
    before any is known. Far below the confidence, the estimates are not to be trusted: risks have
    stopped being true."""
    found: dict[Any, dict[str, Row]] = {}
    for row in figures:
        if row["metric"] == "auroc" and row["value"] is not None:
            found.setdefault(row["index_date"], {})[row["population"]] = row
    pairs = [
        (by[ESTIMATED], by[WATCHED]) for by in found.values() if {ESTIMATED, WATCHED} <= set(by)
    ]
    if not pairs:
        return None
    inside = sum(one["low"] <= seen["value"] <= one["high"] for one, seen in pairs)
    return inside / len(pairs)


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
        if row["population"] not in (*NO_POPULATIONS, MATURED, ESTIMATED):
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
