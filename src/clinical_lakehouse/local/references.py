"""`${...}` is known when the bundle is read, `{{...}}` when a job runs."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.definition import texts_in

_STATIC = re.compile(r"\$\{([^}]*)\}")
_DYNAMIC = re.compile(r"\{\{\s*([^}]*?)\s*\}\}")

_MOMENT: Mapping[str, Callable[[datetime], str]] = {
    "iso_datetime": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}Z",
    "iso_date": lambda t: f"{t:%Y-%m-%d}",
    "iso_weekday": lambda t: str(t.isoweekday()),
    "is_weekday": lambda t: str(t.isoweekday() <= 5).lower(),
    "timestamp_ms": lambda t: str(int(t.timestamp() * 1000)),
    **{part: lambda t, part=part: str(getattr(t, part))  # type: ignore[misc]
       for part in ("year", "month", "day", "hour", "minute", "second")},
}  # fmt: skip
_CLOCKS = ("job.start_time", "job.trigger.time", "backfill")
_TRIGGERED = ("file_arrival.location", "table_update.updated_tables")
_KNOWN = frozenset(
    {"job.id", "job.name", "job.run_id", "job.repair_count", "job.trigger.type"}
    | {"task.name", "task.run_id", "task.execution_count"}
    | {f"job.trigger.{name}" for name in _TRIGGERED}
    | {f"{clock}.{part}" for clock in _CLOCKS for part in _MOMENT}
)
_OF_TASK = ("result_state", "run_id", "execution_count")
# How Databricks calls what started a run.
_TRIGGER_TYPES = {
    "schedule": "periodic",
    "file_arrival": "file_arrival",
    "table_update": "table",
    "continuous": "continuous",
    "run_job_task": "run_job_task",
}


@dataclass(frozen=True)
class Cause:
    """Why a run takes place: what started it, when that was due, which day a backfill is for."""

    kind: str = "manual"
    due_at: datetime | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    backfill_at: datetime | None = None
    repair_count: int = 0


@dataclass(frozen=True)
class Seen:
    """What references see of another task of the run."""

    state: str
    attempts: int


@dataclass(frozen=True)
class Moment:
    """What dynamic references see: the job run and, inside a task, the task's attempt."""

    job: str
    run_id: str
    started: datetime
    cause: Cause = Cause()
    parameters: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    attempt: int = 1
    tasks: Mapping[str, Seen] = field(default_factory=dict)
    element: Any = None

    def fill(self, text: str) -> str:
        """The text with every `{{...}}` replaced."""
        return _DYNAMIC.sub(lambda found: self._value(found[1]), text)

    def _value(self, name: str) -> str:
        if name == "input" or name.startswith("input."):
            return _element(self.element, name)
        if name.startswith("job.parameters."):
            return self.parameters[name.removeprefix("job.parameters.")]
        if name.startswith("tasks."):
            return self._of_task(*name.removeprefix("tasks.").rsplit(".", 1))
        clock, _, part = name.rpartition(".")
        if clock in _CLOCKS:
            due = self.cause.due_at or self.started
            at = {"job.start_time": self.started, "backfill": self.cause.backfill_at}
            return _MOMENT[part](at.get(clock) or due)
        if name.startswith("job.trigger.") and name != "job.trigger.type":
            return self.cause.details.get(name.removeprefix("job.trigger."), "")
        return {
            "job.id": self.job,
            "job.name": self.job,
            "job.run_id": self.run_id,
            "job.repair_count": str(self.cause.repair_count),
            "job.trigger.type": _TRIGGER_TYPES.get(self.cause.kind, "manual"),
            "task.name": self.task,
            "task.run_id": f"{self.run_id}.{self.task}",
            "task.execution_count": str(self.attempt),
        }[name]

    def _of_task(self, task: str, what: str) -> str:
        seen = self.tasks.get(task, Seen("", 0))
        told = {"result_state": seen.state, "execution_count": str(seen.attempts)}
        return told.get(what, f"{self.run_id}.{task}")


def dynamic_names(value: Any) -> Iterator[str]:
    """Every name between `{{` and `}}` anywhere in the value."""
    for _, text in texts_in(value):
        yield from (found[1] for found in _DYNAMIC.finditer(text))


def dynamic_fault(
    name: str, parameters: Mapping[str, str], tasks: Mapping[str, Any], *, in_loop: bool = False
) -> str | None:
    """Why a dynamic reference leads nowhere, None if it leads somewhere."""
    if name == "input" or name.startswith("input."):
        return None if in_loop else f"{{{{{name}}}}} stands only in what a for_each_task repeats"
    if name.startswith("tasks.") and ".values." in name:
        return f"{{{{{name}}}}}: a wheel task sets no task values; gate by failing, or by a table"
    head, _, last = name.rpartition(".")
    if head == "job.parameters":
        known = ", ".join(parameters) or "none"
        return None if last in parameters else f"job parameter {last!r} is not declared ({known})"
    if head.startswith("tasks.") and last in _OF_TASK:
        task = head.removeprefix("tasks.")
        return None if task in tasks else f"{{{{{name}}}}} names no task of this job"
    return None if name in _KNOWN else f"{{{{{name}}}}} is not a reference known here"


def fill_static(text: str, lookup: Callable[[str], Any]) -> Any:
    """The text with every `${...}` replaced; a text that is one reference keeps the value's type.

    `lookup` raises BundleError for a name that leads nowhere.
    """
    whole = _STATIC.fullmatch(text)
    if whole:
        return lookup(whole[1])
    return _STATIC.sub(lambda found: as_text(lookup(found[1])), text)


def as_text(value: Any) -> str:
    """A YAML scalar as Databricks hands it to a task."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _element(element: Any, name: str) -> str:
    """The element of a loop, or a field of it: texts as they are, anything else as JSON."""
    for step in name.split(".")[1:]:
        if not isinstance(element, Mapping) or step not in element:
            raise BundleError(f"{{{{{name}}}}}: an element of the loop's inputs has no {step!r}")
        element = element[step]
    return element if isinstance(element, str) else json.dumps(element)
