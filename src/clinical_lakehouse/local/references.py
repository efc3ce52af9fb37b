"""`${...}` is known when the bundle is read, `{{...}}` when a job runs."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
_KNOWN = frozenset(
    {"job.id", "job.name", "job.run_id", "job.repair_count", "job.trigger.type"}
    | {"task.name", "task.run_id", "task.execution_count"}
    | {f"job.{clock}.{part}" for clock in ("start_time", "trigger.time") for part in _MOMENT}
)


@dataclass(frozen=True)
class Moment:
    """What dynamic references see: the job run and, inside a task, the task's attempt."""

    job: str
    run_id: str
    started: datetime
    cause: str = "manual"
    parameters: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    attempt: int = 1
    states: Mapping[str, str] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        """The text with every `{{...}}` replaced."""
        return _DYNAMIC.sub(lambda found: self._value(found[1]), text)

    def _value(self, name: str) -> str:
        if name.startswith(("job.start_time.", "job.trigger.time.")):
            return _MOMENT[name.rsplit(".", 1)[1]](self.started)
        if name.startswith("job.parameters."):
            return self.parameters[name.removeprefix("job.parameters.")]
        if name.startswith("tasks."):
            return self.states.get(name.split(".")[1], "")
        return {
            "job.id": self.job,
            "job.name": self.job,
            "job.run_id": self.run_id,
            "job.repair_count": "0",
            "job.trigger.type": self.cause,
            "task.name": self.task,
            "task.run_id": f"{self.run_id}.{self.task}",
            "task.execution_count": str(self.attempt),
        }[name]


def dynamic_names(value: Any) -> Iterator[str]:
    """Every name between `{{` and `}}` anywhere in the value."""
    for text in _texts(value):
        yield from (found[1] for found in _DYNAMIC.finditer(text))


def dynamic_fault(name: str, parameters: Mapping[str, str], tasks: Mapping[str, Any]) -> str | None:
    """Why a dynamic reference leads nowhere, None if it leads somewhere."""
    head, _, last = name.rpartition(".")
    if head == "job.parameters":
        known = ", ".join(parameters) or "none"
        return None if last in parameters else f"job parameter {last!r} is not declared ({known})"
    if head.startswith("tasks.") and last == "result_state":
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


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
