"""Wakes the scheduler and runs what it starts: APScheduler has the clock and the threads.

APScheduler keeps no firing of ours. Its job store forgets one that was handed to a thread and not
begun, so what is due stands in `ScheduleStore`; APScheduler is told when to look and what to run.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from clinical_lakehouse.local.interrupts import stop_requests
from clinical_lakehouse.local.schedule_store import Firing, ScheduleStore
from clinical_lakehouse.local.scheduler import Plan, Ports, Scheduler
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.failures import one_line

# A suspended machine's timers sleep with it: look now and then whatever is due.
_HEARTBEAT = timedelta(seconds=60)
_PILED_UP = 100  # looks and runs that may wait for their thread

Work = Callable[[Firing], bool]


class SchedulerLoop:
    """One process that schedules: looks in one thread, runs in others."""

    def __init__(
        self,
        plan: Plan,
        store: ScheduleStore,
        ports: Ports,
        work: Work,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        """`work` runs a firing's job to its end and says whether all is well; `ports.start` is
        replaced by the threads here."""
        self._tell, self._work, self._clock = ports.tell, work, clock
        self._scheduler = Scheduler(plan, store, replace(ports, start=self._begin))
        self._once = False
        self._stopping = threading.Event()
        self._stoppers: set[Callable[[], None]] = set()
        self._failure: BaseException | None = None
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # we say what happens
        at_once = plan.parallel + sum(job.is_urgent for job in plan.jobs.values())
        threads = {"looks": ThreadPoolExecutor(1), "runs": ThreadPoolExecutor(at_once)}
        defaults = {"misfire_grace_time": None, "max_instances": _PILED_UP}
        self._clockwork = BackgroundScheduler(
            executors=threads, job_defaults=defaults, timezone=UTC, daemon=True
        )

    def run(self, *, once: bool = False) -> None:
        """Schedule until SIGTERM or Ctrl-C; `once`: until what is due now has run.

        Asked to stop, it starts nothing more and cancels what runs; what waits is kept for the
        next start. Raises what the scheduler itself failed with.
        """
        self._once = once
        self._scheduler.recover(self._clock())
        with stop_requests(self._stopping.set):
            self._clockwork.start()
            self._look_now()
            self._stopping.wait()
            for stop in list(self._stoppers):
                stop()
            # Waits for the runs: they record that they were cancelled.
            self._clockwork.shutdown(wait=True)
        if self._failure:
            raise self._failure
        self._scheduler.settle(self._clock())

    @contextmanager
    def stops(self, ask: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a stop of the loop calls `ask`; for `Workspace.stops`."""
        self._stoppers.add(ask)
        try:
            if self._stopping.is_set():
                ask()
            yield
        finally:
            self._stoppers.discard(ask)

    def _look_now(self) -> None:
        self._book(self._look)

    def _book(self, function: Callable[..., None], executor: str = "looks", **more: Any) -> None:
        if not self._stopping.is_set():
            self._clockwork.add_job(function, "date", executor=executor, **more)

    def _look(self) -> None:
        """One look; it books the next. Extra looks do no harm."""
        try:
            if self._stopping.is_set():
                return
            now = self._clock()
            following = self._scheduler.look(now)
            if self._once and self._scheduler.is_idle:
                self._stopping.set()
                return
        except Exception as error:
            self._failure = error
            self._stopping.set()
            return
        run_date = min(following, now + _HEARTBEAT)
        self._book(self._look, run_date=run_date, id="look", replace_existing=True)

    def _begin(self, firing: Firing) -> None:
        self._clockwork.add_job(self._perform, "date", args=[firing], executor="runs")

    def _perform(self, firing: Firing) -> None:
        """Run a job in this thread; whatever happens, the scheduler hears how it ended."""
        ok: bool | None = None
        try:
            if not self._stopping.is_set():
                ok = False
                ok = self._work(firing)
        except Exception as error:
            self._tell(self._clock(), firing.job, one_line(error))
        finally:
            self._scheduler.ended(firing, ok)
            self._look_now()
