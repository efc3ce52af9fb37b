"""A month of schedules on a made-up clock: nothing lost, doubled or overlapping, killed or not."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.due import Sight
from clinical_lakehouse.local.schedule_plan import make_plan
from clinical_lakehouse.local.schedule_store import Firing, ScheduleStore
from clinical_lakehouse.local.scheduler import Plan
from clinical_lakehouse.local.timetable import World, timetable
from tests.local.stand_ins import call, job, make_bundle, wheel

START = datetime(2024, 3, 5, tzinfo=UTC)  # clocks change in New York on the 10th, in Berlin on 31st
MONTH = timedelta(days=30)
QUEUE = {"queue": {"enabled": True}}


def quartz(hour: int, minute: int, zone: str = "UTC", **more: object) -> dict:
    expression = f"0 {minute} {hour} * * ?"
    return job(wheel("a"), schedule={"quartz_cron_expression": expression, "timezone_id": zone},
               **{**QUEUE, **more})  # fmt: skip


def periodic(hours: int, *tasks: dict, **more: object) -> dict:
    trigger = {"periodic": {"interval": hours, "unit": "HOURS"}}
    return job(*(tasks or (wheel("a"),)), trigger=trigger, **{**QUEUE, **more})


ZONES = ("UTC", "America/New_York", "Europe/Berlin")
DAILY = {
    f"daily_{zone.split('/')[-1].lower()}_{hour}_{minute}": (hour, minute, zone)
    for zone in ZONES
    for hour, minute in ((0, 5), (1, 30), (2, 30), (3, 0), (12, 15))
}
EVENTS = {
    "arrival": job(wheel("a"), trigger={"file_arrival": {"url": "in"}}, **QUEUE),
    "update": job(wheel("a"), trigger={"table_update": {"table_names": ["s.t"]}}, **QUEUE),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Plan:
    """Daily jobs in three zones, periodic ones, one that calls others, two that wait for events."""
    jobs = {name: quartz(*when) for name, when in DAILY.items()}
    jobs |= {f"each_{hours}_h": periodic(hours) for hours in (1, 2, 5, 6, 24)}
    jobs["composed"] = periodic(3, call("x", "each_2_h"), call("y", "each_5_h", "x"), parameters=())
    bundle = make_bundle(tmp_path_factory.mktemp("many"), **jobs, **EVENTS)
    return make_plan(bundle, parallel=4, poll=timedelta(minutes=10))


def lasting(firing: Firing) -> timedelta:
    """Half an hour on average, the same for the same firing; some outlast their interval."""
    draw = random.Random(f"{firing.job}{firing.due_at}")
    return timedelta(minutes=draw.choice((0, 5, 10, 20, 30, 130)))


def arriving(world: "Recorded") -> Sight:
    """A new file every 7 hours and a new version every 11, as far as the clock has come."""
    hours = (world.now - START) // timedelta(hours=1)
    files = frozenset(map(str, range(hours // 7)))
    return Sight(files, listing=str(len(files)), versions={"s.t": hours // 11})


class Killed(BaseException):
    """The process is gone."""


class Recorded(World):
    """A world that writes down which runs began, and may be killed at a given step.

    A step is any side of any write of the store and of the run ledger.
    """

    def __init__(self, plan: Plan, folder: Path | None, ledger: list[Firing]) -> None:
        store = ScheduleStore(folder / "state.sqlite" if folder else None)
        super().__init__(plan, store, lasting, lambda trigger, memory: arriving(self))
        self.store, self.ledger, self.steps, self.last = store, ledger, 0, -1
        self.spans: list[tuple[str, datetime, datetime]] = []
        for name in ("remember", "fire", "forget", "set_state"):
            setattr(store, name, self._between(getattr(store, name)))

    def _between(self, write):
        def stepped(*args):
            self.step()
            made = write(*args)
            self.step()
            return made

        return stepped

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.last:
            raise Killed

    def start(self, firing: Firing) -> None:
        self.step()
        self.ledger.append(firing)
        self.step()
        for name in self.scheduler.plan.calls[firing.job]:
            self.spans.append((name, self.now, self.now + lasting(firing)))
        super().start(firing)

    def has_begun(self, run_id: str) -> bool:
        return run_id in {firing.run_id for firing in self.ledger}

    def new_run_id(self) -> str:
        return f"run-{len(self.ledger)}-{self.steps}-{self.last}"


def fired(ledger: list[Firing]) -> Counter:
    """How often each firing's run began; of event triggers only how many there were."""
    return Counter(
        firing.job if firing.job in EVENTS else (firing.job, firing.due_at) for firing in ledger
    )


@pytest.fixture(scope="module")
def undisturbed(many) -> Recorded:
    world = Recorded(many, None, [])
    world.run(START, START + MONTH)
    return world


def in_month(counted: Counter) -> Counter:
    """Without the last two days: what is due then may still wait."""
    end = START + MONTH - timedelta(days=2)
    return Counter({k: n for k, n in counted.items() if isinstance(k, tuple) and k[1] < end})


@pytest.mark.soak
def test_a_month_of_the_repositorys_bundle_is_whole():
    plan = make_plan(load_bundle("dev"), include_paused=True)
    lines = timetable(plan, START, START + MONTH)
    counted = Counter(line.job for line in lines)
    assert len({(line.job, line.at) for line in lines}) == len(lines)
    assert lines == sorted(lines, key=lambda line: line.at)
    # 30 days from midnight to midnight, both ends counted.
    assert counted["clinical_data_pipeline"] == 30 * 4 + 1
    assert counted["model_monitoring"] == 30 * 12 + 1
    assert counted["data_quality"] == counted["data_privacy"] == 30
    assert counted["scheduled_retraining"] == 4


def test_daily_jobs_fire_as_a_clock_on_the_wall_says(many, undisturbed):
    """Counted apart: every minute of the month, as each zone's clock shows it."""
    found = fired(undisturbed.ledger)
    end = START + MONTH - timedelta(days=2)
    for name, (hour, minute, zone) in DAILY.items():
        minutes = (START + timedelta(minutes=n) for n in range(1, 60 * 24 * 28))
        shown = ((moment, moment.astimezone(ZoneInfo(zone))) for moment in minutes)
        expected = [at for at, clock in shown if (clock.hour, clock.minute) == (hour, minute)]
        got = sorted(k[1] for k in found if isinstance(k, tuple) and k[0] == name and k[1] < end)
        assert got == expected, name
    # 02:30 does not exist in New York on 10 March, so 27 firings in 28 days.
    assert sum(k[0] == "daily_new_york_2_30" for k in in_month(found)) == 27


def test_a_month_loses_and_doubles_nothing(undisturbed):
    found = fired(undisturbed.ledger)
    assert {n for k, n in found.items() if isinstance(k, tuple)} == {1}
    each_hour = sorted(k[1] for k in in_month(found) if k[0] == "each_1_h")
    assert each_hour == [START + timedelta(hours=n) for n in range(1, 28 * 24)]
    assert found["arrival"] == 30 * 24 // 7
    assert found["update"] == 30 * 24 // 11


def overlaps(spans: list[tuple[str, datetime, datetime]]) -> list[str]:
    """Jobs of which two runs go on at once."""
    found, ends = [], {}
    for name, begin, end in sorted(spans, key=lambda span: span[1]):
        if begin < ends.get(name, begin):
            found.append(name)
        ends[name] = max(end, ends.get(name, end))
    return found


def test_runs_of_one_job_never_overlap_called_ones_included(undisturbed):
    assert overlaps(undisturbed.spans) == []
    busy = [end - begin for name, begin, end in undisturbed.spans if name == "each_1_h"]
    assert max(busy) > timedelta(hours=1)  # otherwise nothing had to wait


@pytest.mark.soak
def test_killed_at_a_hundred_points_the_same_runs_begin_once(many, undisturbed, tmp_path):
    """The scheduler and its state are made anew from disk after each kill, at the same time of the
    clock; the kill falls between any two writes."""
    draw, ledger, kills, now = random.Random(11), [], 0, START
    while True:
        world = Recorded(many, tmp_path, ledger)
        world.last = draw.randint(1, 80) if kills < 100 else -1
        try:
            world.run(now, START + MONTH)
            break
        except Killed:
            kills, now = kills + 1, world.now
            world.store.close()
    assert kills == 100
    assert in_month(fired(ledger)) == in_month(fired(undisturbed.ledger))
    counted, expected = fired(ledger), fired(undisturbed.ledger)
    assert {name: counted[name] for name in EVENTS} == {name: expected[name] for name in EVENTS}


def test_what_was_due_while_away_runs_once(many, tmp_path):
    ledger: list[Firing] = []
    first = Recorded(many, tmp_path, ledger)
    first.run(START, START + timedelta(hours=1, minutes=30))
    first.store.close()
    before = len(ledger)
    away = START + timedelta(days=3, minutes=30)
    Recorded(many, tmp_path, ledger).run(away, away + timedelta(hours=9))
    late = [f for f in ledger[before:] if f.due_at < away and f.job not in EVENTS]
    assert Counter(f.job for f in late).most_common(1)[0][1] == 1
    hourly = next(f for f in ledger[before:] if f.job == "each_1_h")
    assert hourly.due_at == START + timedelta(days=3)
    assert hourly.why == "periodic every 1 h; 70 earlier missed"


def _limited(tmp_path, minutes: int, **more: object) -> tuple[list[datetime], list[str]]:
    """When runs of an hourly job begin that last so long, and what was told."""
    plan = make_plan(make_bundle(tmp_path, main=periodic(1, **more)), parallel=9)
    world, begun, told = World(plan, ScheduleStore()), [], []
    world.lasts = lambda firing: begun.append(world.now) or timedelta(minutes=minutes)
    world.told = lambda at, job, what: told.append(what)
    world.run(START, START + timedelta(hours=4, minutes=59))
    return [f"{at:%H:%M}" for at in begun], told


def test_with_a_queue_every_firing_waits_for_its_turn(tmp_path):
    assert _limited(tmp_path, 90)[0] == ["01:00", "02:30", "04:00"]


def test_without_a_queue_a_firing_is_skipped_and_told(tmp_path):
    begun, told = _limited(tmp_path, 90, queue={"enabled": False})
    assert begun == ["01:00", "03:00"]
    assert [what[:7] for what in told] == ["periodi", "skipped", "periodi", "skipped"]
    assert "max_concurrent_runs 1 is reached and it has no queue" in told[1]


def test_two_runs_go_on_at_once_where_the_job_allows_it(tmp_path):
    begun, _ = _limited(tmp_path, 150, queue={"enabled": False}, max_concurrent_runs=2)
    assert begun == ["01:00", "02:00", "04:00"]


def test_a_paused_schedule_does_not_catch_up(tmp_path):
    bundle = make_bundle(tmp_path, main=periodic(1), other=periodic(1))
    store = ScheduleStore(tmp_path / "s")
    World(make_plan(bundle), store).run(START, START + timedelta(hours=2))
    paused = make_plan(make_bundle(
        tmp_path, main=job(wheel("a"), trigger={
            "periodic": {"interval": 1, "unit": "HOURS"}, "pause_status": "PAUSED"}),
        other=periodic(1)))  # fmt: skip
    assert paused.paused == ["main"]
    World(paused, store).run(START + timedelta(hours=5), START + timedelta(hours=5))
    count = len(store.firings())
    World(make_plan(bundle), store).run(START + timedelta(hours=9), START + timedelta(hours=9))
    assert [f.job for f in store.firings()[count:]] == ["other"]


def test_an_urgent_job_starts_at_once_beside_whatever_runs(tmp_path):
    """`parallel` is 1, and a run of the other job goes on all the time."""
    urgent = periodic(1, performance_target="PERFORMANCE_OPTIMIZED")
    plan = make_plan(make_bundle(tmp_path, main=periodic(1), page=urgent), parallel=1)
    world, begun = World(plan, ScheduleStore()), []
    world.lasts = lambda firing: (
        begun.append((firing.job, f"{world.now:%H:%M}"))
        or timedelta(minutes=1 if firing.job == "page" else 150)
    )
    world.run(START, START + timedelta(hours=4, minutes=59))
    assert [at for job, at in begun if job == "page"] == ["01:00", "02:00", "03:00", "04:00"]
    assert [at for job, at in begun if job == "main"] == ["01:00", "03:30"]
