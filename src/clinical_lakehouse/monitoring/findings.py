"""What an alert says: what changed, since when, for whom, the likely cause, the allowed action."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from clinical_lakehouse.methods.change_plan import ChangePlan
from clinical_lakehouse.monitoring.group_performance import named_group, standing_out, whom
from clinical_lakehouse.monitoring.windows import STEP_DAYS, WINDOW_DAYS

Row = Mapping[str, Any]
_MEASURED = ("auroc", "observed_expected")
_UPDATES = {
    "none": "leave the model as it is",
    "intercept": "set its intercept anew",
    "slope": "set its intercept and slope anew",
    "refit": "fit it anew",
}


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
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What else is known of the version: rows of gold.group_performance and
    gold.performance_verdict, what the plan allows, and by how many days dates are shifted."""

    groups: Sequence[Row]
    verdicts: Sequence[Row]
    allowed: str
    margin_days: int


def allowed_by(plan: ChangePlan, env: str) -> str:
    """What the change control plan lets happen next in an environment."""
    said = f"plan {plan.version} lets a retrained version within its clauses go on"
    if env in plan.alone:
        return f"{said} by itself in {env}"
    return f"{said} in {env} once a {' or '.join(plan.signing.roles).replace('_', ' ')} signs"


def drifts(rows: Iterable[Row], known: Known) -> list[Drift]:
    """One per metric that is over its limit or, if it never is, has changed at all; about its first
    window, for gold.model_metric rows."""
    ordered = sorted(rows, key=lambda one: (one["metric"], one["window_end_date"]))
    over, changed = _firsts(ordered, "is_over_limit"), _firsts(ordered, "is_changed")
    moved = [row for row in ordered if row["is_over_limit"] and row["metric"] not in _MEASURED]
    firsts = {**changed, **over}
    return [_drift(firsts[metric], metric in over, moved, known) for metric in sorted(firsts)]


def group_drifts(known: Known) -> list[Drift]:
    """One per site or group whose observed over expected is over its limit or has changed, and is
    not as the others' is, about its first such window."""
    firsts: dict[tuple[str, str], Row] = {}
    ordered = sorted(known.groups, key=lambda one: one["window_end_date"])
    for _, window in groupby(ordered, key=lambda one: one["window_end_date"]):
        for row in standing_out("observed_expected", window):
            if row["is_over_limit"] or row["is_changed"]:
                firsts.setdefault((row["attribute"], row["group_value"]), row)
    return [_group_drift(row, known) for row in firsts.values()]


def effects(rows: Iterable[Row]) -> list[Drift]:
    """One per kind of verdict that is no drift of the model, about its latest window, for
    gold.performance_verdict rows."""
    told = [row for row in rows if row["verdict"] in ("intervention", "unidentified")]
    latest = {row["verdict"]: row for row in sorted(told, key=lambda r: r["window_end_date"])}
    return [_effect(row) for row in latest.values()]


def _firsts(rows: Iterable[Row], flag: str) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if row[flag]:
            found.setdefault(row["metric"], row)
    return found


def _effect(row: Row) -> Drift:
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
            "nobody can tell why. Hold a share out by lot (model.hold_out_ratio)."
        )
    return Drift(kind, severity, row["verdict"], share, 0.0, said, _moment(last_day))


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
    value = float(len(names))
    return [Drift("concept_change", "warning", "excess_loss", value, 0.0, said, _moment(day))]


def _drift(row: Row, is_over: bool, moved: Sequence[Row], known: Known) -> Drift:
    kind, severity, what = _named(row["metric"], is_over)
    said = [_figure(what, row)]
    if row["metric"] in _MEASURED:
        said += [_since(row, is_over), *_about(row, moved, known)]
    if known.margin_days:
        said.append(f"Dates are shifted by up to {known.margin_days} days.")
    last_day = row["window_end_date"] - timedelta(days=1)
    at = (row["value"], row["reference"], " ".join(said), _moment(last_day))
    return Drift(kind, severity, row["metric"], *at)


def _group_drift(row: Row, known: Known) -> Drift:
    name = named_group(row)
    said = [_figure(f"Observed over expected dropouts of {name}", row)]
    said += [_since(row, row["is_over_limit"]), f"For whom: {name}.", _action(row, known)]
    last_day = row["window_end_date"] - timedelta(days=1)
    return Drift(
        kind="group_calibration_drift",
        severity="warning",
        metric=row["metric"],
        value=row["value"],
        threshold=row["reference"],
        message=" ".join(said),
        last_day=_moment(last_day),
        labels={row["attribute"]: row["group_value"]},
    )


def _figure(what: str, row: Row) -> str:
    last_day = row["window_end_date"] - timedelta(days=1)
    between = f"between {row['window_start_date']} and {last_day}"
    limits = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
    held = "held against" if row["low"] is not None else "limit"
    return f"{what} was {row['value']:.2f}{limits} {between}, {held} {row['reference']:.2f}."


def _since(row: Row, is_over: bool) -> str:
    """When it began: within the windows that both had to be off, the week before's or the one four
    weeks before."""
    first = row["window_start_date"] - timedelta(days=STEP_DAYS if is_over else WINDOW_DAYS)
    return f"It began between {first} and {row['window_end_date'] - timedelta(days=1)}."


def _about(row: Row, moved: Sequence[Row], known: Known) -> Iterator[str]:
    """For whom, the likely cause and the allowed action."""
    same = [one for one in known.groups if one["window_end_date"] == row["window_end_date"]]
    yield f"For whom: {whom(row['metric'], same)}."
    yield f"Likely cause: {_cause(row, moved)}."
    yield _action(row, known)


def _cause(row: Row, moved: Sequence[Row]) -> str:
    """Other people, where those enrolled up to then have moved; else what risks mean."""
    before = [one for one in moved if one["window_start_date"] < row["window_end_date"]]
    if not before:
        return "what risks mean has changed (concept drift), for new subjects are as before"
    months = sorted({f"{one['window_start_date']:%Y-%m}" for one in before})
    names = sorted({one["metric"].removeprefix("input_psi_").replace("_", " ") for one in before})
    return f"other people were enrolled in {', '.join(months)} ({', '.join(names)})"


def _action(row: Row, known: Known) -> str:
    """What a closed test advises of the last window whose outcomes are known, and the plan."""
    told = [one for one in known.verdicts if one["advice"]]
    last = max(told, key=lambda one: one["window_end_date"], default=None)
    advice = "no update is advised, for outcomes are too few"
    if last is not None:
        first, end = last["window_start_date"], last["window_end_date"] - timedelta(days=1)
        advice = f"a closed test on outcomes of {first} to {end} says: {_UPDATES[last['advice']]}"
    return f"Allowed: {advice}; {known.allowed}."


def _moment(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _named(metric: str, is_over: bool) -> tuple[str, str, str]:
    """Kind, severity and name of a metric."""
    if metric == "auroc":
        what = "The champion's AUROC"
        return ("accuracy_drop", "critical", what) if is_over else ("accuracy_change", "warning",
                                                                    what)  # fmt: skip
    if metric == "observed_expected":
        kind = "calibration_drift" if is_over else "calibration_change"
        return kind, "warning", "Observed over expected dropouts"
    if metric == "prediction_psi":
        return "prediction_drift", "warning", "The shift of new subjects' predicted risk (PSI)"
    if metric == "input_distance":
        return "input_drift", "warning", "The joint shift of new subjects' inputs"
    name = metric.removeprefix("input_psi_").replace("_", " ")
    return "input_drift", "warning", f"The shift of new subjects' {name} (PSI)"
