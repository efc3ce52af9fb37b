"""What a run tells whoever watches it: frozen events, in the order things happen."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Preparing:
    """Something slow before or after the tasks, e.g. starting Spark."""

    what: str


@dataclass(frozen=True)
class Noticed:
    """Something the reader should know, e.g. that an earlier run was killed."""

    what: str


@dataclass(frozen=True)
class JobStarted:
    """A job run began; `parent_run_id` and `parent_task` name the run_job_task that called it."""

    run_id: str
    job: str
    tasks: tuple[str, ...]
    parent_run_id: str = ""
    parent_task: str = ""


@dataclass(frozen=True)
class TaskStarted:
    """An attempt of a task began; `calls` names the job that a run_job_task runs."""

    run_id: str
    job: str
    task: str
    attempt: int
    calls: str = ""


@dataclass(frozen=True)
class TaskFinished:
    """An attempt ended, or a task was skipped; `retry_in` seconds it will be tried again."""

    run_id: str
    job: str
    task: str
    attempt: int
    state: str
    seconds: float
    metrics: Mapping[str, Any]
    message: str = ""
    retry_in: float | None = None
    error: BaseException | None = None
    calls: str = ""


@dataclass(frozen=True)
class JobFinished:
    """A job run ended."""

    run_id: str
    job: str
    state: str
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class TooLong:
    """A job run, or a task of it, runs longer than its health rule expects; it goes on."""

    run_id: str
    job: str
    task: str
    limit_seconds: int

    def __str__(self) -> str:
        who = f"{self.job}.{self.task}" if self.task else self.job
        return f"{who} runs longer than the {self.limit_seconds} s its health rule expects"


def as_line(event: "Event", at: datetime) -> str:
    """The event as one JSON object, for machines that watch."""
    content = {item.name: getattr(event, item.name) for item in fields(event)}
    content.pop("error", None)
    name = type(event).__name__
    return json.dumps({"event": name, "at": at.isoformat(), **content}, default=str)


Event = Preparing | Noticed | JobStarted | TaskStarted | TaskFinished | JobFinished | TooLong
Listener = Callable[[Event], None]
