"""Runs a job of the bundle here as Databricks would there: one loop decides, threads work.

Only the loop, in the caller's thread, changes states, writes the ledger and tells the listener.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from clinical_lakehouse.errors import LakeError, LakehouseError, UsageError
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.context import Context
from clinical_lakehouse.local.control import holds, loop_job
from clinical_lakehouse.local.events import (
    JobFinished,
    JobStarted,
    Noticed,
    TaskFinished,
    TaskStarted,
    TooLong,
)
from clinical_lakehouse.local.execution import (
    QUEUE_LOOK_SECONDS,
    Attempt,
    Call,
    JobResult,
    JobRun,
    Outcome,
    TaskResult,
)
from clinical_lakehouse.local.graph import State, job_state, verdict
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.record import job_row, task_row
from clinical_lakehouse.local.references import Cause, Moment
from clinical_lakehouse.local.request import Kept, Request, check_request, require_parameters
from clinical_lakehouse.local.slots import Slot, refusal
from clinical_lakehouse.local.task_spec import TaskSpec
from clinical_lakehouse.runtime.arguments import own_parameters, parse_arguments
from clinical_lakehouse.runtime.clock import parse_as_of, wall_clock
from clinical_lakehouse.runtime.failures import one_line
from clinical_lakehouse.runtime.order import Order
from clinical_lakehouse.tables import ops

_PATIENCE_SECONDS = 5.0  # how long stopped tasks may take to let go
_LONG_SECONDS = 3600.0


def run_job(bundle: Bundle, request: Request, context: Context) -> JobResult:
    """Run a job and everything it calls until nothing is left to do.

    Raises UsageError for an unknown job, task or parameter and BundleError for an entry point that
    does not exist, before anything runs. Ctrl-C cancels what runs; the state is then CANCELLED.
    """
    job = check_request(bundle, request, context.tasks)
    return _Runner(bundle, context).run(job, request)


class _Runner:
    """The loop: start what is ready, wait for an end or a deadline, decide again."""

    def __init__(self, bundle: Bundle, context: Context) -> None:
        self.bundle, self.context = bundle, context
        self.active: list[JobRun] = []
        self.ended: SimpleQueue[tuple[Attempt, Any, BaseException | None] | None] = SimpleQueue()

    def run(self, job: Job, request: Request) -> JobResult:
        """Run the job to its end."""
        run_id = request.run_id or self.context.new_run_id()
        with self.context.stops(lambda: self.ended.put(None)):
            began, slot = monotonic(), self._place(job)
            if slot is None:
                message = "stopped while it waited for another run of the job"
                return JobResult(job.key, run_id, State.CANCELLED, monotonic() - began, {}, message)
            given = request.parameters
            top = self._open(job, run_id, given, cause=request.cause, kept=request.kept)
            top.slot = slot
            while top in self.active:
                if self._advance():
                    continue
                if not self._wait():
                    self._abandon(top, State.CANCELLED, "stopped by Ctrl-C")
        assert top.result is not None  # it left `active` by being closed
        return top.result

    def _place(self, job: Job) -> Slot | None:
        """A place among the job's runs, waited for where its queue is enabled; None if stopped."""
        slot = self._free_place(job)
        if slot is None:
            self.context.listen(Noticed(f"{job.key} waits: another run of it is under way"))
        while slot is None:
            with suppress(Empty):
                self.ended.get(timeout=QUEUE_LOOK_SECONDS)
                return None
            slot = self._free_place(job)
        return slot

    def _free_place(self, job: Job) -> Slot | None:
        """A place for a run of the job; None if it has to wait, UsageError if it may not."""
        slot = self.context.slots.take(job)
        if slot is None and not job.is_queued:
            raise UsageError(refusal(job))
        return slot

    # Deciding

    def _advance(self) -> bool:
        """One look at every run, innermost first; True if anything changed."""
        changed = False
        for run in reversed(list(self.active)):
            self._warn(run)
            changed |= self._expire(run)
            for call in [call for call in run.calls.values() if call.is_queued]:
                changed |= self._call(run, call)
            for key in run.order:
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
        if run.kept and key in run.kept.tasks:
            return self._skip(run, key, State.SUCCESS, f"kept from run {run.kept.run_id}")
        unmet = [f"{d} is not {wanted}" for d, wanted in (spec.outcomes or {}).items()
                 if run.outcomes.get(d, wanted) != wanted]  # fmt: skip
        if unmet:
            return self._skip(run, key, State.EXCLUDED, f"not needed: {unmet[0]}")
        if spec.is_disabled and state is State.RUNNING:
            return self._skip(run, key, State.EXCLUDED, "disabled")
        if state is State.UPSTREAM_FAILED:
            lost = [d for d in spec.depends_on if not run.states[d].is_well]
            return self._skip(run, key, state, f"not run: {', '.join(lost)} did not succeed")
        if state is State.EXCLUDED:
            return self._skip(run, key, state, f"not needed: {spec.run_if} does not hold")
        busy = sum(len(one.attempts) for one in self.active)
        if spec.entry_point and busy >= self._slots or 0 < run.limit <= len(run.live):
            return False
        run.due.pop(key, None)
        self._start(run, spec)
        return True

    @property
    def _slots(self) -> int:
        return max(1, self.context.parallel)

    def _warn(self, run: JobRun) -> None:
        """Tell, once each, what runs longer than its health rule expects."""
        late = [item for item in run.unwarned if item.seconds > item.spec.warn_after_seconds]
        told = [(item.spec.key, item.spec.warn_after_seconds) for item in late]
        limit = 0 if run.is_loop or "" in run.warned else run.job.warn_after_seconds
        for key, seconds in [*told, *([("", limit)] if 0 < limit < run.seconds else [])]:
            run.warned.add(key)
            self.context.listen(TooLong(run.id, run.label, key, seconds))

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
            else:  # it never got a place among the runs of its job
                self._finish(run, item, Outcome(State.TIMED_OUT, message))
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
            tables = dict(done.written), dict(done.read)
            outcome = Outcome(State.SUCCESS, "", dict(done.metrics or {}), *tables)
        else:
            outcome = Outcome(State.FAILED, one_line(error), error=error)
        self._finish(attempt.run, attempt, outcome)
        return True

    # Acting

    def _open(
        self,
        job: Job,
        run_id: str,
        given: Mapping[str, str],
        caller: Call | None = None,
        *,
        cause: Cause,
        kept: Kept | None,
    ) -> JobRun:
        require_parameters(job, given)
        moment = Moment(job.key, run_id, wall_clock(), cause)
        defaults = {name: moment.fill(text) for name, text in job.parameters.items()}
        moment = replace(moment, parameters={**defaults, **given})
        as_of = moment.parameters.get("as_of")
        run = JobRun(job, moment, parse_as_of(as_of) if as_of else moment.started, caller)
        run.kept = kept
        self.context.recorder.record(ops.JOB_RUN, job_row(run, State.RUNNING))
        return self._begin(run)

    def _begin(self, run: JobRun) -> JobRun:
        self.active.append(run)
        parent = (run.parent.caller.id, run.parent.spec.key) if run.parent else ("", "")
        self.context.listen(JobStarted(run.id, run.label, tuple(run.job.tasks), *parent))
        return run

    def _start(self, run: JobRun, spec: TaskSpec) -> None:
        run.states[spec.key] = State.RUNNING
        run.tries[spec.key] += 1
        number = run.tries[spec.key]
        item = (Attempt if spec.entry_point else Call)(run, spec, number, wall_clock())
        self.context.recorder.record(ops.TASK_RUN, task_row(run, item, Outcome(State.RUNNING)))
        self.context.listen(TaskStarted(run.id, run.label, spec.key, number, spec.job))
        if isinstance(item, Attempt):
            run.attempts[spec.key] = item
            item.start(self._work, self.ended)
            return
        run.calls[spec.key] = item
        try:
            self._steer(run, item, run.seen(spec, number))
        except LakehouseError as error:
            self._finish(run, item, Outcome(State.FAILED, one_line(error), error=error))

    def _steer(self, run: JobRun, item: Call, seen: Moment) -> None:
        """Decide a condition, or open the run that a loop or a run_job_task stands for."""
        spec = item.spec
        if spec.condition:
            outcome = str(holds(spec.condition, seen)).lower()
            run.outcomes[spec.key] = outcome
            self._finish(run, item, Outcome(State.SUCCESS, metrics={"outcome": outcome}))
        elif spec.loop:
            item.run = JobRun(loop_job(run.job, spec, seen), seen, run.as_of, item)
            item.run.kept = run.kept
            self._begin(item.run)
        else:
            self._call(run, item)

    def _call(self, run: JobRun, item: Call) -> bool:
        """Open the run that a run_job_task stands for, or leave it in the job's queue."""
        spec, job = item.spec, self.bundle.job(item.spec.job)
        slot = self._free_place(job)
        item.is_queued = slot is None
        if slot is None:
            return False
        seen = run.seen(spec, item.number)
        given = {name: seen.fill(text) for name, text in (spec.job_parameters or {}).items()}
        kept = run.kept.called.get(spec.key) if run.kept else None
        item.run = self._open(
            *(job, self.context.new_run_id(), given, item), cause=Cause("run_job_task"), kept=kept
        )
        item.run.slot = slot
        return True

    def _work(self, attempt: Attempt) -> Any:
        """What an attempt's thread does."""
        run, spec = attempt.run, attempt.spec
        task = self.context.tasks[spec.entry_point]
        seen = run.seen(spec, attempt.number)
        given = parse_arguments([seen.fill(text) for text in spec.arguments])
        params = own_parameters(spec.entry_point, task.params, given)
        as_of = parse_as_of(given["as-of"]) if given.get("as-of") else run.as_of
        order = Order(
            *(as_of, run.run_id, params, attempt.number, attempt.tag), attempt.stopped.is_set
        )
        return self.context.engine.perform(task, order)

    def _finish(self, run: JobRun, item: Attempt | Call, outcome: Outcome) -> None:
        """An attempt has ended: record it, then keep the result or arrange another try."""
        key, seconds = item.spec.key, item.seconds
        run.attempts.pop(key, None)
        call = run.calls.pop(key, None)
        wait = self._retry_in(item, outcome)
        self.context.recorder.record(ops.TASK_RUN, task_row(run, item, outcome))
        self.context.listen(
            TaskFinished(
                *(run.id, run.label, key, item.number, outcome.state.recorded, seconds),
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
        child = call.run.result if call and call.run else None
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
            TaskFinished(run.id, run.label, key, 0, state.recorded, 0.0, {}, message)
        )
        return True

    def _close(self, run: JobRun, state: State | None = None, message: str = "") -> None:
        """A job run has ended; the task that called it ends with it."""
        state = state or job_state(run.states, run.job.edges)
        bad = [r for r in run.results.values() if not r.state.is_well and r.attempts]
        message = message or "; ".join(f"{one.key}: {one.message}" for one in bad[:2])
        self.active.remove(run)
        run.slot.give_back()
        run.result = JobResult(run.job.key, run.run_id, state, run.seconds, run.results, message)
        if not run.is_loop:
            self.context.recorder.record(ops.JOB_RUN, job_row(run, state, message))
        self.context.listen(JobFinished(run.id, run.label, state.recorded, run.seconds, message))
        if run.parent:
            metrics = {"rounds": len(run.results)} if run.is_loop else {}
            self._finish(run.parent.caller, run.parent, Outcome(state, message, metrics))

    # Stopping

    def _abandon(self, run: JobRun, state: State, message: str) -> None:
        """End a run and everything below it now: what runs is stopped, what waits will not run."""
        for call in list(run.calls.values()):
            if call.run:
                self._abandon(call.run, state, message)
            else:
                self._finish(run, call, Outcome(state, message))
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
