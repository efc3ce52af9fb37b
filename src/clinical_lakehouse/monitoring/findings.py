"""Metrics over their limit in words: what an alert says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
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
