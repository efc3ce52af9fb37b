"""The trial report's sections about the work: what needs a person, alerts, run times, lineage."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.rendering import charts, figures, lineage
from clinical_lakehouse.rendering.charts import Axis, Span
from clinical_lakehouse.rendering.lineage import Step
from clinical_lakehouse.rendering.page import (
    Block,
    Chart,
    Column,
    Empty,
    Grid,
    Notice,
    Notices,
    Section,
)

_TONES = {"critical": "bad", "warning": "watch", "info": "plain"}
_FAILED = ("failed", "timed_out", "killed", "cancelled")
_NOTICES = 12


def needs_a_person(
    alerts: Answer, tasks: Answer, gates: Answer, received: Answer, quality: Answer
) -> Section:
    """What somebody has to look at, most urgent first."""
    title = "What needs a person"
    notices = [*_failures(tasks), *_lost(received), *_open(alerts), *_gate(gates), *_fatal(quality)]
    notices.sort(key=lambda notice: ("bad", "watch", "plain").index(notice.tone))
    if not notices:
        unknown = [a for a in (alerts, tasks) if a.missing]
        calm = Notice("good", "Nothing needs a person.", "No open alert, no failed task.")
        quiet = Notice("plain", "Nothing is known to need a person,", "but nothing watched yet.")
        notices = [quiet if unknown else calm]
    lead = "Open alerts, failed tasks, refused models and rows that do not add up."
    shown = notices[:_NOTICES]
    if len(notices) > len(shown):
        more = f"{len(notices) - len(shown)} more below and in ops.alert."
        shown.append(Notice("plain", "And more:", more))
    return Section(title, lead, (Notices(tuple(shown), alerts.source),))


def _open(alerts: Answer) -> list[Notice]:
    return [
        Notice(
            _TONES.get(row["severity"], "plain"),
            row["kind"].replace("_", " ").capitalize() + ".",
            _sentence(row["message"]),
            f"{row['severity']}, {row['state']}, from {row['source']}; first seen "
            f"{figures.day(row['first_seen_at'])}, last {figures.day(row['last_seen_at'])}",
        )
        for row in alerts.rows
        if row["state"] != "resolved"
    ]


def _failures(tasks: Answer) -> list[Notice]:
    return [
        Notice(
            "bad",
            f"{row['job']}.{row['task']} {row['state'].replace('_', ' ')}.",
            _sentence(row["message"] or ""),
            f"{figures.moment(row['recorded_at'])}, attempt {row['attempt']}",
        )
        for row in tasks.rows
        if row["state"] in _FAILED
    ]


def _lost(received: Answer) -> list[Notice]:
    parts = ("loaded_count", "duplicate_count", "quarantined_count")
    odd = [r for r in received.rows if r["received_count"] != sum(r[part] for part in parts)]
    return [
        Notice(
            "bad", f"{row['resource_type']} does not add up.", "Received rows are not accounted."
        )
        for row in odd
    ]


def _gate(gates: Answer) -> list[Notice]:
    newest = gates.rows[:1]
    return [
        Notice("watch", f"Model version {row['model_version']} was refused.", row["reason"])
        for row in newest
        if not row["is_passed"]
    ]


def _fatal(quality: Answer) -> list[Notice]:
    failed = [r for r in quality.rows if r["severity"] == "fatal" and r["failed_count"] > 0]
    return [
        Notice("bad", f"{row['table_name']} fails {row['check_name']}.", "A fatal check.")
        for row in failed
    ]


def _sentence(text: str) -> str:
    """The first letter made capital, a full stop at the end."""
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def alerts_table(answer: Answer) -> Section:
    """Every alert and its state."""
    title = "Alerts"
    lead = "What the detectors saw, open ones first."
    if answer.missing or not answer.rows:
        blocks: tuple[Block, ...] = (
            answer.empty(title) if answer.missing else Empty("No alert", "No limit was crossed."),
        )
        return Section(title, lead, blocks)
    rows = tuple(
        (
            row["state"],
            row["severity"],
            row["kind"].replace("_", " "),
            row["message"],
            f"{figures.number(row['value'], 3)} / {figures.number(row['threshold'], 3)}",
            figures.day(row["first_seen_at"]),
            figures.day(row["last_seen_at"]),
        )
        for row in answer.rows
    )
    columns = (
        Column("State", "state"),
        Column("Severity", "state"),
        Column("Kind"),
        Column("What was seen"),
        Column("Value / limit", "number"),
        Column("First", "number"),
        Column("Last", "number"),
    )
    return Section(title, lead, (Grid("", columns, rows, "", answer.source),))


_LAST_DAY = "The latest run of each task within a day of the newest one."


def run_times(answer: Answer, lead: str = _LAST_DAY) -> Section:
    """When each task ran, how long it took and what it did; `lead` says which tasks these are."""
    title = "Run times"
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    begun = [_begun(row) for row in answer.rows]
    zero = min(begun)
    order = sorted(zip(begun, answer.rows, strict=True), key=lambda pair: pair[0])
    unit, size = _unit(max(row["recorded_at"] for row in answer.rows) - zero)
    pieces = [
        Span(
            _lane(row),
            _since(zero, start, size),
            _since(zero, row["recorded_at"], size),
            _state(row),
        )
        for start, row in order
    ]
    svg = charts.spans(
        pieces, Axis(f"{unit} since {figures.moment(zero)}"),
        {"Success": "1", "Skipped": "muted", "Failed": "bad"},
    )  # fmt: skip
    caption = f"{len(answer.rows)} tasks, {figures.duration(_busy(answer.rows))} of work."
    chart = Chart("When each task ran", svg, _tasks(order), caption, answer.source)
    return Section(title, lead, (chart,))


def _begun(row: Row) -> datetime:
    return row["recorded_at"] - timedelta(seconds=row["duration_seconds"] or 0)


def _busy(rows: Sequence[Row]) -> float:
    return sum(row["duration_seconds"] or 0 for row in rows)


def _unit(span: timedelta) -> tuple[str, float]:
    seconds = span.total_seconds()
    choices = (("Seconds", 1.0, 300), ("Minutes", 60.0, 3 * 3600), ("Hours", 3600.0, None))
    return next((name, size) for name, size, upto in choices if upto is None or seconds <= upto)


def _since(zero: datetime, moment: datetime, size: float) -> float:
    return round((moment - zero).total_seconds() / size, 3)


def _lane(row: Row) -> str:
    return f"{row['job']}.{row['task']}"


def _state(row: Row) -> str:
    if row["state"] in _FAILED:
        return "Failed"
    return "Success" if row["state"] == "success" else "Skipped"


def _tasks(order: Sequence[tuple[datetime, Row]]) -> Grid:
    columns = (
        Column("Task", "code"),
        Column("State", "state"),
        Column("Began", "number"),
        Column("Took", "number"),
        Column("What it did"),
    )
    rows = tuple(
        (
            _lane(row),
            row["state"],
            f"{start:%H:%M:%S}",
            figures.duration(row["duration_seconds"]),
            _metrics(row["metrics"]),
        )
        for start, row in order
    )
    return Grid("", columns, rows)


def _metrics(text: str | None, shown: int = 5) -> str:
    """The first numbers a task returned; words are left out, they may be anything."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return ""
    numbers = [
        (name, value)
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return ", ".join(f"{name.replace('_', ' ')} {_short(v)}" for name, v in numbers[:shown])


def _short(value: float) -> str:
    return figures.count(value) if float(value).is_integer() else figures.number(value, 3)


def way_of_the_data(steps: Sequence[Step]) -> Section:
    """Which task makes which table from which, as declared in the code."""
    title = "Lineage"
    lead = "What each task declares to read and write; a task that touches more is stopped."
    if not steps:
        return Section(title, lead, (Empty("No lineage", "No tasks were given to this report."),))
    columns = (Column("Task", "code"), Column("Reads"), Column("Writes"))
    steps = lineage.in_order(steps)
    rows = tuple((s.task, ", ".join(s.reads), ", ".join(s.writes)) for s in steps)
    chart = Chart(
        "From what arrives to what is decided",
        lineage.picture(steps),
        Grid("", columns, rows),
        "A ring numbers the tables a task reads in a layer, a disc those it writes; names are "
        "in the figures.",
    )
    return Section(title, lead, (chart,))
