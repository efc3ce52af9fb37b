"""Schedules on a clock that only counts: when would what run? No lake, no Spark, no waiting."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from clinical_lakehouse.local.due import TIMED, Memory, Sight
from clinical_lakehouse.local.schedule_store import Firing, ScheduleStore
from clinical_lakehouse.local.scheduler import Plan, Ports, Scheduler
from clinical_lakehouse.local.trigger import Trigger


@dataclass(frozen=True)
class Line:
    """One line of a timetable: when, which job, what and why."""

    at: datetime
    job: str
    what: str


def timetable(plan: Plan, start: datetime, until: datetime) -> list[Line]:
    """Every firing of the timed triggers from `start` up to `until`, in order.

    Each run is taken to end at once, so nothing is skipped or late. Triggers on files, on tables
    and continuous ones are left out: nothing arrives on a made-up clock.
    """
    timed = {key: job for key, job in plan.jobs.items() if plan.trigger(key).kind in TIMED}
    made: list[Line] = []
    world = World(replace(plan, jobs=timed), ScheduleStore())
    world.told = lambda at, job, what: made.append(Line(at, job, what))
    world.run(start - timedelta(microseconds=1), until)
    return made


class World:
    """A scheduler's surroundings made up: runs last as long as `lasts` says, nothing arrives."""

    def __init__(
        self,
        plan: Plan,
        store: ScheduleStore,
        lasts: Callable[[Firing], timedelta] = lambda firing: timedelta(),
        look_at: Callable[[Trigger, Memory | None], Sight] = lambda trigger, memory: Sight(),
    ) -> None:
        self.now = datetime.min
        self.lasts = lasts
        self.told: Callable[[datetime, str, str], None] = lambda at, job, what: None
        self._ends: list[tuple[datetime, int, Firing]] = []
        self._ids = count(1)
        ports = Ports(look_at, self.start, self.has_begun, self.new_run_id, self._tell)
        self.scheduler = Scheduler(plan, store, ports)

    def run(self, start: datetime, until: datetime) -> None:
        """Let the clock go from one event to the next."""
        self.now = start
        self.scheduler.recover(start)
        while self.now <= until:
            following = self.scheduler.look(self.now)
            if self._ends:
                following = min(following, self._ends[0][0])
            self.now = max(following, self.now)
            while self._ends and self._ends[0][0] <= self.now:
                self.scheduler.ended(heappop(self._ends)[2], True)

    def start(self, firing: Firing) -> None:
        """A run begins; it ends when the clock has come so far."""
        heappush(self._ends, (self.now + self.lasts(firing), firing.id, firing))

    def has_begun(self, run_id: str) -> bool:
        """No run of an earlier life is known here."""
        return False

    def new_run_id(self) -> str:
        """Counted, so that the same world is the same again."""
        return f"run-{next(self._ids)}"

    def _tell(self, at: datetime, job: str, what: str) -> None:
        self.told(at, job, what)
