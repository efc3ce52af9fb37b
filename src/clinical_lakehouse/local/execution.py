"""How far one job run and its attempts have come; the runner's only changing state."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from queue import SimpleQueue
from typing import Any

from clinical_lakehouse.local.graph import State, in_order
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.references import Moment, Seen
from clinical_lakehouse.local.request import Kept
from clinical_lakehouse.local.slots import Slot
from clinical_lakehouse.local.task_spec import TaskSpec

QUEUE_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Outcome:
    """How one attempt stands: its state and, at its end, what it did or why it failed."""

    state: State
    message: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)
    read: Mapping[str, int] = field(default_factory=dict)
    error: BaseException | None = None


@dataclass(frozen=True)
class TaskResult:
    """How a task ended; `child` is the run that a run_job_task started."""

    key: str
    state: State
    attempts: int
    seconds: float = 0.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    child: "JobResult | None" = None


@dataclass(frozen=True)
class JobResult:
    """How a job run ended. `state` follows Databricks (leaf tasks decide); `ok` asks for more."""

    job: str
    run_id: str
    state: State
    seconds: float
    tasks: Mapping[str, TaskResult]
    message: str = ""

    @property
    def ok(self) -> bool:
        """Did every task, here and in the jobs called, succeed or was not needed?"""
        called = [task.child for task in self.tasks.values() if task.child]
        well = all(task.state.is_well for task in self.tasks.values())
        return self.state is State.SUCCESS and well and all(child.ok for child in called)


class Attempt:
    """One try of a wheel task, in a thread of its own that cannot keep the process alive."""

    def __init__(self, run: "JobRun", spec: TaskSpec, number: int, began_at: datetime) -> None:
        self.run, self.spec, self.number, self.began_at = run, spec, number, began_at
        self.began = time.monotonic()
        self.stopped = threading.Event()
        self.tag = f"{run.run_id}.{spec.key}.{number}"
        self.thread: threading.Thread | None = None

    def start(self, work: Callable[["Attempt"], Any], ended: SimpleQueue[Any]) -> None:
        """Run `work` beside the runner; (attempt, result, error) goes to `ended`."""

        def run() -> None:
            try:
                result, error = work(self), None
            except BaseException as raised:
                result, error = None, raised
            ended.put((self, result, error))

        self.thread = threading.Thread(target=run, name=self.tag, daemon=True)
        self.thread.start()

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began


class JobRun:
    """One run of a job: the state of its tasks, what is running, what waits for another try.

    The rounds of a loop are one too, within their job's run: `limit` of them run at a time.
    """

    def __init__(self, job: Job, moment: Moment, as_of: datetime, parent: "Call | None") -> None:
        self.job, self.moment, self.as_of, self.parent = job, moment, as_of, parent
        self.began = time.monotonic()
        self.result: JobResult | None = None
        self.outcomes: dict[str, str] = {}
        self.kept: Kept | None = None
        self.warned: set[str] = set()
        self.slot = Slot()
        self.order = in_order(job.edges)
        self.states = dict.fromkeys(job.tasks, State.WAITING)
        self.tries = dict.fromkeys(job.tasks, 0)
        self.results: dict[str, TaskResult] = {}
        self.attempts: dict[str, Attempt] = {}
        self.calls: dict[str, Call] = {}
        self.due: dict[str, float] = {}

    @property
    def run_id(self) -> str:
        """The run's id in the ledger."""
        return self.moment.run_id

    @property
    def is_loop(self) -> bool:
        """Are these the rounds of a loop?"""
        return self.parent is not None and self.parent.spec.loop is not None

    @property
    def id(self) -> str:
        """The run's id for those who watch: a loop's rounds are shown as a run of their own."""
        return self.parent.tag if self.parent and self.is_loop else self.run_id

    @property
    def label(self) -> str:
        """What those who watch call it."""
        return self.parent.spec.key if self.parent and self.is_loop else self.job.key

    @property
    def limit(self) -> int:
        """How many of its tasks may run at once, 0 for as many as there is room for."""
        loop = self.parent.spec.loop if self.parent else None
        return loop.concurrency if loop else 0

    def seen(self, spec: TaskSpec, number: int) -> Moment:
        """What the references of a task's attempt see."""
        mine = {
            key: Seen(state.told if state.is_done else "", self.tries[key])
            for key, state in self.states.items()
        }
        tasks = self.moment.tasks if self.is_loop else mine
        return replace(
            self.moment, task=spec.key, attempt=number, tasks=tasks, element=spec.element
        )

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began

    @property
    def is_done(self) -> bool:
        """Has every task ended?"""
        return all(state.is_done for state in self.states.values())

    @property
    def live(self) -> "list[Attempt | Call]":
        """What runs now."""
        return [*self.attempts.values(), *self.calls.values()]

    def deadlines(self) -> list[float]:
        """Moments (monotonic) at which something must be looked at."""
        limited = [item for item in self.live if item.spec.timeout_seconds]
        limits = [item.began + item.spec.timeout_seconds for item in limited]
        own = [self.began + self.job.timeout_seconds] if self.job.timeout_seconds else []
        warnings = [item.began + item.spec.warn_after_seconds for item in self.unwarned]
        if self.job.warn_after_seconds and "" not in self.warned and not self.is_loop:
            warnings.append(self.began + self.job.warn_after_seconds)
        queued = [call for call in self.calls.values() if call.is_queued]
        looks = [time.monotonic() + QUEUE_LOOK_SECONDS] if queued else []
        return [*limits, *own, *warnings, *looks, *self.due.values()]

    @property
    def unwarned(self) -> "list[Attempt | Call]":
        """What runs and may yet run longer than its health rule allows."""
        return [
            item
            for item in self.live
            if item.spec.warn_after_seconds and item.spec.key not in self.warned
        ]


class Call:
    """One try of a run_job_task: the job run that it started below another."""

    def __init__(self, caller: JobRun, spec: TaskSpec, number: int, began_at: datetime) -> None:
        self.caller, self.spec, self.number, self.began_at = caller, spec, number, began_at
        self.began = time.monotonic()
        self.tag = f"{caller.id}.{spec.key}.{number}"
        self.run: JobRun | None = None
        self.is_queued = False

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began


def exit_code(result: JobResult) -> int:
    """0 only if all is well, 130 after Ctrl-C, else 1."""
    if result.ok:
        return 0
    return 130 if result.state is State.CANCELLED else 1
