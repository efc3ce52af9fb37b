"""Decides at each look which jobs fire, which of them start, and when to look again.

No clock, no threads, no Spark: the moment is given, and what happens goes through `Ports`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

from clinical_lakehouse.errors import LakehouseError
from clinical_lakehouse.local.due import TIMED, WATCHING, Memory, Sight, after_run, decide
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.schedule_store import Firing, ScheduleStore
from clinical_lakehouse.local.trigger import Trigger

POLL = timedelta(seconds=10)  # how often files and tables are looked at
_URGENT_POLL = timedelta(seconds=1)
_LATER = timedelta(days=1)


@dataclass(frozen=True)
class Plan:
    """The jobs with a trigger to run, and which jobs each of them calls (itself among them)."""

    jobs: Mapping[str, Job]
    calls: Mapping[str, frozenset[str]]
    limits: Mapping[str, int]  # max_concurrent_runs of every job of the bundle
    paused: Sequence[str] = ()
    parallel: int = 1
    poll: timedelta = POLL

    def is_urgent(self, job: str) -> bool:
        """Does its file ask for a start without delay?"""
        return self.jobs[job].is_urgent

    def trigger(self, job: str) -> Trigger:
        """The trigger of one of its jobs."""
        trigger = self.jobs[job].trigger
        assert trigger is not None
        return trigger


@dataclass(frozen=True)
class Ports:
    """What the scheduler touches: files and tables, runs, ids, and whoever listens.

    `start` begins a firing's run elsewhere and returns at once; whoever runs it tells
    `Scheduler.ended`. `has_begun` says whether the run ledger knows a run id.
    """

    look_at: Callable[[Trigger, Memory | None], Sight]
    start: Callable[[Firing], None]
    has_begun: Callable[[str], bool]
    new_run_id: Callable[[], str]
    tell: Callable[[datetime, str, str], None]  # when, which job, what


class Scheduler:
    """Turns triggers into firings and firings into runs.

    A job runs at most `max_concurrent_runs` times at once, runs that other jobs call among them.
    With `queue.enabled` each further firing waits for its turn, as on Databricks (which drops it
    after 48 hours; here it is kept, over restarts too); without, it is skipped and told. `parallel`
    limits the runs of this machine; for that limit every firing waits, but for urgent jobs'
    (`performance_target: PERFORMANCE_OPTIMIZED`): those start beside whatever runs, and what they
    call waits for its turn in the run.
    """

    def __init__(self, plan: Plan, store: ScheduleStore, ports: Ports) -> None:
        self.plan, self.ports = plan, ports
        self._store = store
        self._memories = store.memories()
        self._waiting: list[Firing] = []
        self._running: dict[int, Firing] = {}
        self._next: dict[str, datetime] = {}
        self._ends: SimpleQueue[tuple[Firing, bool | None]] = SimpleQueue()
        self._troubles: dict[str, str] = {}

    @property
    def is_idle(self) -> bool:
        """Does nothing run and nothing wait?"""
        return not self._running and not self._waiting and self._ends.empty()

    @property
    def running(self) -> list[Firing]:
        """The firings whose runs go on."""
        return list(self._running.values())

    def ended(self, firing: Firing, ok: bool | None) -> None:
        """Say, from any thread, how a run ended; None that it never began and shall wait again."""
        self._ends.put((firing, ok))

    def recover(self, now: datetime) -> None:
        """Take up what an earlier process left: what had not begun waits again."""
        for job in self.plan.paused:
            if job in self._memories and self._memories[job].trigger.startswith(TIMED):
                self._store.forget(job)  # a schedule does not catch up on its pause
                del self._memories[job]
        for firing in self._store.firings("waiting", "started"):
            if firing.state == "started" and self.ports.has_begun(firing.run_id):
                self._store.set_state(firing.id, "lost")
                note = f"run {firing.run_id} was cut off; it is not started again"
                self.ports.tell(now, firing.job, note)
            elif firing.job not in self.plan.jobs:
                self._store.set_state(firing.id, "skipped")
                self.ports.tell(now, firing.job, "was due; its trigger is gone or paused")
            else:
                self._store.set_state(firing.id, "waiting")
                self._waiting.append(replace(firing, state="waiting"))

    def look(self, now: datetime) -> datetime:
        """Fire what is due, start what may start, and say when to look again."""
        self.settle(now)
        for key in self.plan.jobs:
            if self._next.get(key, now) <= now:
                self._next[key] = self._consider(key, now)
        self._start_waiting()
        return min(self._next.values(), default=now + _LATER)

    def settle(self, now: datetime) -> None:
        """Keep how runs ended since the last look."""
        while True:
            try:
                firing, ok = self._ends.get_nowait()
            except Empty:
                return
            del self._running[firing.id]
            self._next[firing.job] = now  # it may have waited for this
            if ok is None:
                self._store.set_state(firing.id, "waiting")
                self._waiting.append(replace(firing, state="waiting"))
                continue
            self._store.set_state(firing.id, "ended")
            if self.plan.trigger(firing.job).kind == "continuous":
                self._remember(firing.job, after_run(self._memories[firing.job], now, ok))

    def _consider(self, key: str, now: datetime) -> datetime:
        """One trigger: fire it if it is due; when to look at it again."""
        trigger, memory, sight = self.plan.trigger(key), self._memories.get(key), Sight()
        if trigger.kind in WATCHING:
            try:
                sight = self.ports.look_at(trigger, memory)
            except LakehouseError as error:
                self._trouble(key, str(error), now)
                return now + self.plan.poll
            self._troubles.pop(key, None)
        verdict = decide(trigger, memory, sight, now, self._is_busy(key, trigger))
        if verdict.due is not None:
            self._fire(key, verdict.memory, verdict.due, verdict.why, now)
        elif verdict.memory != memory:
            self._remember(key, verdict.memory)
        if trigger.kind in WATCHING:
            poll = self.plan.poll
            following = now + (min(poll, _URGENT_POLL) if self.plan.is_urgent(key) else poll)
            return min(verdict.again or following, following)
        return verdict.again or now + _LATER

    def _fire(self, key: str, memory: Memory, due: datetime, why: str, now: datetime) -> None:
        job, note = self.plan.jobs[key], why
        limit = job.max_concurrent_runs
        is_skipped = limit == 0 or (not job.is_queued and self._load(key) >= limit)
        if is_skipped:
            note = f"skipped ({why}): max_concurrent_runs {limit} is reached and it has no queue"
        state = "skipped" if is_skipped else "waiting"
        firing = self._store.fire(key, memory, due, why, state)
        self._memories[key] = memory
        if not is_skipped:
            self._waiting.append(firing)
        self.ports.tell(now, key, note)

    def _start_waiting(self) -> None:
        self._waiting.sort(key=lambda firing: (firing.due_at, firing.id))
        for firing in list(self._waiting):
            if not (self._has_room(firing.job) and self._fits(firing.job)):
                continue
            begun = replace(firing, state="started", run_id=self.ports.new_run_id())
            self._store.set_state(firing.id, "started", begun.run_id)
            self._waiting.remove(firing)
            self._running[firing.id] = begun
            self.ports.start(begun)

    def _has_room(self, key: str) -> bool:
        """Has this machine room for it now?"""
        ordinary = sum(not self.plan.is_urgent(f.job) for f in self._running.values())
        return self.plan.is_urgent(key) or ordinary < self.plan.parallel

    def _fits(self, key: str) -> bool:
        """May it run beside what runs, with every job that it calls?"""
        busy = [self.plan.calls[firing.job] for firing in self._running.values()]
        asked = [key] if self.plan.is_urgent(key) else self.plan.calls[key]
        return all(
            sum(called in others for others in busy) < self.plan.limits[called] for called in asked
        )

    def _load(self, key: str) -> int:
        """Runs of a job that go on or wait."""
        called = sum(key in self.plan.calls[f.job] for f in self._running.values())
        return called + sum(firing.job == key for firing in self._waiting)

    def _is_busy(self, key: str, trigger: Trigger) -> bool:
        """Would a firing only wait? A run that waits will see what is there when it starts."""
        if trigger.kind == "continuous":
            return self._load(key) > 0
        job = self.plan.jobs[key]
        waits = any(firing.job == key for firing in self._waiting)
        return waits or (not job.is_queued and self._load(key) >= job.max_concurrent_runs)

    def _remember(self, key: str, memory: Memory) -> None:
        self._store.remember(key, memory)
        self._memories[key] = memory

    def _trouble(self, key: str, text: str, now: datetime) -> None:
        """Tell of a trouble once, not at every look."""
        if self._troubles.get(key) != text:
            self._troubles[key] = text
            self.ports.tell(now, key, text)
