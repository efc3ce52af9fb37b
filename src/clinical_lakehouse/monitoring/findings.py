"""Metrics over their limit in words: what an alert says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any


@dataclass(frozen=True)
class Drift:
    """A metric over its limit: kind and severity of the alert, its sentence and its last day."""

    kind: str
    severity: str
    metric: str
    value: float
    threshold: float
    message: str
    last_day: datetime


def drifts(rows: Iterable[Mapping[str, Any]], margin_days: int) -> list[Drift]:
    """One per metric over its limit, about its first window, for gold.model_metric rows."""
    firsts: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda one: (one["metric"], one["window_end_date"])):
        if row["is_over_limit"]:
            firsts.setdefault(row["metric"], row)
    return [_drift(row, margin_days) for row in firsts.values()]


def effects(rows: Iterable[Mapping[str, Any]]) -> list[Drift]:
    """One per kind of verdict that is no drift of the model, about its latest window, for
    gold.performance_verdict rows."""
    latest = {row["verdict"]: row for row in sorted(rows, key=lambda r: r["window_end_date"])}
    return [_effect(row) for row in latest.values()]


def _effect(row: Mapping[str, Any]) -> Drift:
    last_day = row["window_end_date"] - timedelta(days=1)
    share = row["treated_count"] / max(row["row_count"], 1)
    window = f"between {row['window_start_date']} and {last_day}, when {share:.0%} were acted on"
    if row["verdict"] == "intervention":
        kind, severity = "intervention_effect", "info"
        said = (
            f"The champion's figures fell {window}, but not among those nobody acted on: acting on "
            "its scores spoils them. Do not retrain on these outcomes as they are."
        )
    else:
        kind, severity = "performance_unidentified", "warning"
        said = (
            f"The champion's figures fell {window}, and every high score was acted on, so that "
            "nobody can tell why. Hold a share out by lot."
        )
    moment = datetime.combine(last_day, time(), UTC)
    return Drift(kind, severity, row["verdict"], share, 0.0, said, moment)


def changes(signal: tuple[date, Sequence[str]] | None) -> list[Drift]:
    """What detectors of concept drift signalled last, if anything."""
    if signal is None:
        return []
    day, names = signal
    by = ", ".join(name.replace("_", " ") for name in names)
    said = (
        f"What the champion's risks mean has changed by outcomes after {day} (signalled by {by}); "
        "compare observed over expected before and after."
    )
    moment = datetime.combine(day, time(), UTC)
    return [Drift("concept_change", "warning", "excess_loss", float(len(names)), 0.0, said, moment)]


def _drift(row: Mapping[str, Any], margin_days: int) -> Drift:
    kind, severity, what = _named(row["metric"])
    last_day = row["window_end_date"] - timedelta(days=1)
    between = f"between {row['window_start_date']} and {last_day}"
    limits = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
    blur = f" Dates are shifted by up to {margin_days} days." if margin_days else ""
    held = "held against" if row["low"] is not None else "limit"
    said = f"{what} was {row['value']:.2f}{limits} {between}, {held} {row['reference']:.2f}.{blur}"
    moment = datetime.combine(last_day, time(), UTC)
    return Drift(kind, severity, row["metric"], row["value"], row["reference"], said, moment)


def _named(metric: str) -> tuple[str, str, str]:
    """Kind, severity and name of a metric."""
    if metric == "auroc":
        return "accuracy_drop", "critical", "The champion's AUROC"
    if metric == "observed_expected":
        return "calibration_drift", "warning", "Observed over expected dropouts"
    if metric == "prediction_psi":
        return "prediction_drift", "warning", "The shift of new subjects' predicted risk (PSI)"
    if metric == "input_distance":
        return "input_drift", "warning", "The joint shift of new subjects' inputs"
    name = metric.removeprefix("input_psi_").replace("_", " ")
    return "input_drift", "warning", f"The shift of new subjects' {name} (PSI)"
