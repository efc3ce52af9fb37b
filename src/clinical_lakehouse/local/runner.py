"""Runs a job of the bundle here as Databricks would there: one loop decides, threads work.

Only the loop, in the caller's thread, changes states, writes the ledger and tells the listener.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol

from clinical_lakehouse.errors import BundleError, LakeError, LakehouseError, UsageError
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.check import entry_point_faults
from clinical_lakehouse.local.events import (
    Event,
    JobFinished,
    JobStarted,
    TaskFinished,
    TaskStarted,
)
from clinical_lakehouse.local.execution import (
    Attempt,
    Call,
    JobResult,
    JobRun,
    Outcome,
    TaskResult,
)
from clinical_lakehouse.local.graph import State, in_order, job_state, verdict
from clinical_lakehouse.local.interrupts import stop_requests
from clinical_lakehouse.local.job import Job, TaskSpec
from clinical_lakehouse.local.record import Recorder, job_row, task_row
from clinical_lakehouse.local.references import Moment
from clinical_lakehouse.runtime.arguments import COMMON, own_parameters, parse_arguments
from clinical_lakehouse.runtime.clock import new_run_id, parse_as_of, wall_clock
from clinical_lakehouse.runtime.failures import one_line
from clinical_lakehouse.tables import ops

_PATIENCE_SECONDS = 5.0  # how long stopped tasks may take to let go
_LONG_SECONDS = 3600.0


class Executable(Protocol):
    """A task, as far as the runner goes."""

    @property
    def params(self) -> Mapping[str, str]:
        """Its own parameters and their defaults."""

    def perform(self, run: Any) -> Any:
        """Run it; the result has `metrics` and `written`."""


class Engine(Protocol):
    """What tasks run on: a lake and its Spark session, or a test's stand-in."""

    def make_run(
        self, as_of: datetime, run_id: str, params: Mapping[str, str], is_stopped: Any
    ) -> Any:
        """The Run handed to a task; its lake refuses to write once `is_stopped()`."""

    def tagged(self, tag: str) -> AbstractContextManager[None]:
        """Marks the calling thread's Spark work."""

    def interrupt(self, tag: str | None) -> None:
        """Cancels the Spark work so marked, without a tag all of it."""


@dataclass(frozen=True)
class Context:
    """Where a run takes place, who records it and who watches."""

    engine: Engine
    tasks: Mapping[str, Executable]
    recorder: Recorder
    listen: Callable[[Event], None] = lambda event: None
    parallel: int = 2
    cause: str = "manual"
    new_run_id: Callable[[], str] = new_run_id
    # Who asks the run to stop, and whether it has the session for itself: beside other runs, only
    # work with its own marks is cancelled.
    stops: Callable[[Callable[[], None]], AbstractContextManager[None]] = stop_requests
    is_alone: bool = True


@dataclass(frozen=True)
class Request:
    """What to run: a job, its parameters, and `task` to run only that one of it."""

    job: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    run_id: str = ""


def run_job(bundle: Bundle, request: Request, context: Context) -> JobResult:
    """Run a job and everything it calls until nothing is left to do.

    Raises UsageError for an unknown job, task or parameter and BundleError for an entry point that
    does not exist, before anything runs. Ctrl-C cancels what runs; the state is then CANCELLED.
    """
    job = check_request(bundle, request, context.tasks)
    return _Runner(bundle, context).run(job, request)


def check_request(bundle: Bundle, request: Request, tasks: Mapping[str, Executable]) -> Job:
    """The job asked for, or the reason why it cannot be run; needs no Spark."""
    job = bundle.job(request.job)
    _require_parameters(job, request.parameters)
    if request.parameters.get("as_of"):
        parse_as_of(request.parameters["as_of"])
    if request.task:
        job = only_task(job, request.task)
    known = {name: task.params for name, task in tasks.items()}
    faults = entry_point_faults(called_jobs(job, bundle), known, COMMON)
    if faults:
        raise BundleError(faults[0])
    return job


def only_task(job: Job, key: str) -> Job:
    """The job reduced to one task, which then depends on nothing."""
    if key not in job.tasks:
        raise UsageError(f"job {job.key} has no task {key!r}; known: {', '.join(job.tasks)}")
    return replace(job, tasks={key: replace(job.tasks[key], depends_on=())})


def called_jobs(job: Job, bundle: Bundle) -> dict[str, Job]:
    """The job and every job it calls, directly or not."""
    found: dict[str, Job] = {}
    waiting = [job]
    while waiting:
        one = waiting.pop()
        found[one.key] = one
        waiting += [bundle.jobs[t.job] for t in one.tasks.values() if t.job and t.job not in found]
    return found


def _require_parameters(job: Job, given: Mapping[str, str]) -> None:
    unknown = sorted(set(given) - set(job.parameters))
    if unknown:
        known = ", ".join(job.parameters) or "none"
        raise UsageError(f"job {job.key} has no parameter {unknown[0]!r}; it has: {known}")


class _Runner:
    """The loop: start what is ready, wait for an end or a deadline, decide again."""

    def __init__(self, bundle: Bundle, context: Context) -> None:
        self.bundle, self.context = bundle, context
        self.active: list[JobRun] = []
        self.ended: SimpleQueue[tuple[Attempt, Any, BaseException | None] | None] = SimpleQueue()
        self.results: dict[str, JobResult] = {}

    def run(self, job: Job, request: Request) -> JobResult:
        """Run the job to its end."""
        run_id = request.run_id or self.context.new_run_id()
        top = self._open(job, run_id, request.parameters, None)
        with self.context.stops(lambda: self.ended.put(None)):
            while top in self.active:
                if self._advance():
                    continue
                if not self._wait():
                    self._abandon(top, State.CANCELLED, "stopped by Ctrl-C")
        return self.results[top.run_id]

    # Deciding

    def _advance(self) -> bool:
        """One look at every run, innermost first; True if anything changed."""
        changed = False
        for run in reversed(list(self.active)):
            changed |= self._expire(run)
            for key in in_order(run.job.edges):
                changed |= run.states[key] is State.WAITING and self._consider(run, key)
            if run in self.active and run.is_done:
                self._close(run)
                changed = True
        return changed

    def _consider(self, run: JobRun, key: str) -> bool:
        """Start, skip or leave a waiting task."""
        spec = run.job.tasks[key]
        state = verdict(spec.run_if, [run.states[d] for d in spec.depends_on])
        if state is State.WAITING or run.due.get(key, 0.0) > monotonic():
            return False
        if spec.is_disabled and state is State.RUNNING:
            return self._skip(run, key, State.EXCLUDED, "disabled")
        if state is State.UPSTREAM_FAILED:
            lost = [d for d in spec.depends_on if not run.states[d].is_well]
            return self._skip(run, key, state, f"not run: {', '.join(lost)} did not succeed")
        if state is State.EXCLUDED:
            return self._skip(run, key, state, f"not needed: {spec.run_if} does not hold")
        if spec.entry_point and sum(len(one.attempts) for one in self.active) >= self._slots:
            return False
        run.due.pop(key, None)
        self._start(run, spec)
        return True

    @property
    def _slots(self) -> int:
        return max(1, self.context.parallel)

    def _expire(self, run: JobRun) -> bool:
        """Stop whatever has taken longer than its file allows."""
        limit = run.job.timeout_seconds
        if limit and run.seconds > limit:
            self._abandon(run, State.TIMED_OUT, f"took longer than {limit} s")
            return True
        late = [item for item in run.live if 0 < item.spec.timeout_seconds < item.seconds]
        for item in late:
            message = f"took longer than {item.spec.timeout_seconds} s"
            if isinstance(item, Attempt):
                self._stop([item])
                self._finish(run, item, Outcome(State.TIMED_OUT, message))
            elif item.run:
                self._abandon(item.run, State.TIMED_OUT, message)
        return bool(late)

    def _wait(self) -> bool:
        """Until an attempt ends or the next deadline; False if the run was asked to stop."""
        deadlines = [moment for run in self.active for moment in run.deadlines()]
        seconds = min(deadlines, default=monotonic() + _LONG_SECONDS) - monotonic()
        try:
            ended = self.ended.get(timeout=max(0.005, seconds))
        except Empty:
            return True
        if ended is None:
            return False
        attempt, done, error = ended
        if attempt.stopped.is_set():  # it was given up before
            return True
        if error is None:
            outcome = Outcome(State.SUCCESS, "", dict(done.metrics or {}), dict(done.written))
        else:
            outcome = Outcome(State.FAILED, one_line(error), error=error)
        self._finish(attempt.run, attempt, outcome)
        return True

    # Acting

    def _open(self, job: Job, run_id: str, given: Mapping[str, str], caller: Call | None) -> JobRun:
        _require_parameters(job, given)
        cause = "run_job_task" if caller else self.context.cause
        moment = Moment(job.key, run_id, wall_clock(), cause)
        defaults = {name: moment.fill(text) for name, text in job.parameters.items()}
        moment = replace(moment, parameters={**defaults, **given})
        as_of = moment.parameters.get("as_of")
        run = JobRun(job, moment, parse_as_of(as_of) if as_of else moment.started, caller)
        self.active.append(run)
        self.context.recorder.record(ops.JOB_RUN, job_row(run, State.RUNNING))
        parent = (caller.caller.run_id, caller.spec.key) if caller else ("", "")
        self.context.listen(JobStarted(run_id, job.key, tuple(job.tasks), *parent))
        return run

    def _start(self, run: JobRun, spec: TaskSpec) -> None:
        run.states[spec.key] = State.RUNNING
        run.tries[spec.key] += 1
        number = run.tries[spec.key]
        item = (Attempt if spec.entry_point else Call)(run, spec, number, wall_clock())
        self.context.recorder.record(ops.TASK_RUN, task_row(run, item, Outcome(State.RUNNING)))
        self.context.listen(TaskStarted(run.run_id, run.job.key, spec.key, number, spec.job))
        if isinstance(item, Attempt):
            run.attempts[spec.key] = item
            item.start(self._work, self.ended)
            return
        run.calls[spec.key] = item
        seen = self._seen(run, spec.key, number)
        given = {name: seen.fill(text) for name, text in (spec.job_parameters or {}).items()}
        try:
            called = self.bundle.job(spec.job)
            item.run = self._open(called, self.context.new_run_id(), given, item)
        except LakehouseError as error:
            self._finish(run, item, Outcome(State.FAILED, one_line(error), error=error))

    def _seen(self, run: JobRun, key: str, number: int) -> Moment:
        """What a task's references see."""
        states = {name: state.recorded for name, state in run.states.items()}
        return replace(run.moment, task=key, attempt=number, states=states)

    def _work(self, attempt: Attempt) -> Any:
        """What an attempt's thread does."""
        run, spec = attempt.run, attempt.spec
        task = self.context.tasks[spec.entry_point]
        seen = self._seen(run, spec.key, attempt.number)
        given = parse_arguments([seen.fill(text) for text in spec.arguments])
        params = own_parameters(spec.entry_point, task.params, given)
        as_of = parse_as_of(given["as-of"]) if given.get("as-of") else run.as_of
        made = self.context.engine.make_run(as_of, run.run_id, params, attempt.stopped.is_set)
        with self.context.engine.tagged(attempt.tag):
            return task.perform(made)

    def _finish(self, run: JobRun, item: Attempt | Call, outcome: Outcome) -> None:
        """An attempt has ended: record it, then keep the result or arrange another try."""
        key, seconds = item.spec.key, item.seconds
        run.attempts.pop(key, None)
        call = run.calls.pop(key, None)
        wait = self._retry_in(item, outcome)
        self.context.recorder.record(ops.TASK_RUN, task_row(run, item, outcome))
        self.context.listen(
            TaskFinished(
                *(run.run_id, run.job.key, key, item.number, outcome.state.recorded, seconds),
                metrics=outcome.metrics,
                message=outcome.message,
                retry_in=wait,
                error=outcome.error,
                calls=item.spec.job,
            )
        )
        if wait is not None:
            run.states[key], run.due[key] = State.WAITING, monotonic() + wait
            return
        child = self.results.get(call.run.run_id) if call and call.run else None
        run.states[key] = outcome.state
        run.results[key] = TaskResult(
            *(key, outcome.state, item.number, seconds, outcome.metrics, outcome.message, child)
        )

    def _retry_in(self, item: Attempt | Call, outcome: Outcome) -> float | None:
        """Seconds until the next try, None for no other; a refusal fails the same way again."""
        spec, state, error = item.spec, outcome.state, outcome.error
        again = state is State.FAILED or state is State.TIMED_OUT and spec.retry_on_timeout
        refused = isinstance(error, LakehouseError) and not isinstance(error, LakeError)
        if not again or refused or item.number > spec.max_retries:
            return None
        # The interval counts from the start of the failed try, as on Databricks.
        return max(0.0, spec.min_retry_interval_millis / 1000 - item.seconds)

    def _skip(self, run: JobRun, key: str, state: State, message: str) -> bool:
        run.states[key] = state
        run.results[key] = TaskResult(key, state, 0, message=message)
        item = Attempt(run, run.job.tasks[key], 0, wall_clock())
        self.context.recorder.record(ops.TASK_RUN, task_row(run, item, Outcome(state, message)))
        self.context.listen(
            TaskFinished(run.run_id, run.job.key, key, 0, state.recorded, 0.0, {}, message)
        )
        return True

    def _close(self, run: JobRun, state: State | None = None, message: str = "") -> None:
        """A job run has ended; the task that called it ends with it."""
        state = state or job_state(run.states, run.job.edges)
        bad = [r for r in run.results.values() if not r.state.is_well and r.attempts]
        message = message or "; ".join(f"{one.key}: {one.message}" for one in bad[:2])
        self.active.remove(run)
        result = JobResult(run.job.key, run.run_id, state, run.seconds, run.results, message)
        self.results[run.run_id] = result
        self.context.recorder.record(ops.JOB_RUN, job_row(run, state, message))
        self.context.listen(
            JobFinished(run.run_id, run.job.key, state.recorded, run.seconds, message)
        )
        if run.parent:
            self._finish(run.parent.caller, run.parent, Outcome(state, message))

    # Stopping

    def _abandon(self, run: JobRun, state: State, message: str) -> None:
        """End a run and everything below it now: what runs is stopped, what waits will not run."""
        for call in list(run.calls.values()):
            if call.run:
                self._abandon(call.run, state, message)
        attempts = list(run.attempts.values())
        self._stop(attempts)
        for attempt in attempts:
            self._finish(run, attempt, Outcome(state, message))
        for key, now in run.states.items():
            if now is State.WAITING:
                run.due.pop(key, None)
                self._skip(run, key, State.CANCELLED, message)
        self._close(run, state, message)

    def _stop(self, attempts: Sequence[Attempt]) -> None:
        """Tell attempts to stop, cancel their Spark work and give them a moment to let go.

        A task's own threads are not marked, so all work is cancelled where no other task runs.
        """
        for attempt in attempts:
            attempt.stopped.set()
        others = {a for run in self.active for a in run.attempts.values()} - set(attempts)
        is_shared = others or not self.context.is_alone
        tags = [attempt.tag for attempt in attempts] if is_shared else [None]
        until = monotonic() + _PATIENCE_SECONDS
        threads = [attempt.thread for attempt in attempts if attempt.thread]
        while attempts and monotonic() < until:
            for tag in tags:  # again and again: a task may start new work after each
                self.context.engine.interrupt(tag)
            for thread in threads:
                thread.join(_PATIENCE_SECONDS / 10)
            if not any(thread.is_alive() for thread in threads):
                break
