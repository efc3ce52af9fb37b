"""What is due: both timers of files and tables, ANY and ALL, missed firings, continuous jobs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clinical_lakehouse.local.due import Memory, Sight, after_run, decide, moments
from clinical_lakehouse.local.trigger import Trigger

START = datetime(2024, 3, 1, tzinfo=UTC)


class Watch:
    """A trigger looked at every ten seconds, or when it asked to be."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.memory: Memory | None = None
        self.fired: list[float] = []

    def look(self, second: float, sight: Sight, is_busy: bool = False) -> None:
        now = START + timedelta(seconds=second)
        verdict = decide(self.trigger, self.memory, sight, now, is_busy)
        self.memory = verdict.memory
        if verdict.due:
            self.fired.append((verdict.due - START).total_seconds())

    def until(self, last: int, seen: "dict[int, Sight]") -> list[float]:
        """Look each 10 s; `seen` says from which second on there is what to see."""
        for second in range(0, last + 1, 10):
            latest = max((at for at in seen if at <= second), default=None)
            self.look(second, seen[latest] if latest is not None else Sight())
        return self.fired


def files(*names: str, mark: str = "") -> Sight:
    return Sight(frozenset(names), listing=f"{sorted(names)} {mark}")


def on_files(**timers: int) -> Trigger:
    names = {"wait": "wait_after_last_change_seconds", "apart": "min_time_between_triggers_seconds"}
    return Trigger("file_arrival", url="/in", **{names[k]: v for k, v in timers.items()})


def on_tables(condition: str, **timers: int) -> Trigger:
    of = on_files(**timers)
    return replace(of, kind="table_update", url="", table_names=("c.s.a", "s.b"),
                   condition=condition)  # fmt: skip


def tables(a: int, b: int) -> Sight:
    return Sight(versions={"c.s.a": a, "s.b": b})


def test_a_new_file_fires_at_the_next_look_without_timers():
    assert Watch(on_files()).until(100, {0: files(), 30: files("x")}) == [30]


def test_files_already_there_at_the_first_look_are_new():
    assert Watch(on_files()).until(100, {0: files("x")}) == [0]


def test_a_new_file_fires_when_nothing_changed_for_the_wait():
    assert Watch(on_files(wait=60)).until(300, {0: files(), 30: files("x")}) == [90]


def test_a_stream_of_files_waits_for_the_last_change_and_fires_once():
    stream = {second: files(*map(str, range(second))) for second in range(10, 200, 50)}
    assert Watch(on_files(wait=60)).until(600, {0: files(), **stream}) == [160 + 60]


def test_a_file_that_still_grows_is_waited_for():
    grows = {second: files("x", mark=str(second)) for second in range(10, 131, 10)}
    assert Watch(on_files(wait=60)).until(400, {0: files(), **grows}) == [130 + 60]


def test_a_file_written_over_is_no_new_file():
    seen = {0: files("x"), 50: files("x", mark="longer")}
    assert Watch(on_files()).until(200, seen) == [0]


def test_a_file_that_went_and_comes_again_is_new():
    seen = {0: files("x"), 50: files(), 100: files("x")}
    assert Watch(on_files()).until(200, seen) == [0, 100]


def test_firings_keep_the_least_time_between_them():
    stream = {second: files(*map(str, range(second))) for second in range(10, 1000, 10)}
    fired = Watch(on_files(apart=300)).until(1400, stream)
    assert fired == [10, 310, 610, 910, 1210]


def test_both_timers_hold_together():
    seen = {0: files("a"), 100: files("a", "b"), 500: files("a", "b", "c")}
    assert Watch(on_files(wait=60, apart=300)).until(900, seen) == [60, 360, 660]


def test_files_seen_while_busy_are_told_of_later():
    watch = Watch(on_files())
    watch.look(0, files())
    watch.look(10, files("x"), is_busy=True)
    watch.look(20, files("x"), is_busy=True)
    watch.look(30, files("x"))
    watch.look(40, files("x"))
    assert watch.fired == [30]


def test_any_table_updated_fires():
    seen = {0: tables(3, 5), 20: tables(4, 5), 50: tables(4, 6)}
    assert Watch(on_tables("ANY_UPDATED")).until(100, seen) == [20, 50]


def test_all_tables_must_be_updated_since_the_last_firing():
    seen = {0: tables(3, 5), 20: tables(4, 5), 50: tables(5, 5), 80: tables(5, 6),
            110: tables(5, 7), 140: tables(6, 7)}  # fmt: skip
    assert Watch(on_tables("ALL_UPDATED")).until(300, seen) == [80, 140]


def test_tables_wait_for_their_last_update_and_keep_apart():
    seen = {0: tables(0, 0), 20: tables(1, 0), 60: tables(2, 0), 130: tables(2, 1)}
    assert Watch(on_tables("ANY_UPDATED", wait=60)).until(400, seen) == [120, 190]
    assert Watch(on_tables("ANY_UPDATED", apart=100)).until(400, seen) == [20, 120, 220]


def test_a_table_that_is_made_is_an_update_and_one_dropped_is_none():
    seen = {0: tables(-1, 0), 30: tables(0, 0), 60: tables(-1, 0), 90: tables(0, 0)}
    assert Watch(on_tables("ANY_UPDATED")).until(200, seen) == [30]
    assert Watch(on_tables("ALL_UPDATED")).until(200, seen) == []


def test_firings_missed_while_away_become_the_latest_one():
    trigger = Trigger("quartz", expression="0 0 4 * * ?")
    verdict = decide(trigger, None, Sight(), START, False)
    late = decide(trigger, verdict.memory, Sight(), START + timedelta(days=3, hours=9), False)
    assert late.due == START + timedelta(days=3, hours=4)
    assert late.why == "quartz 0 0 4 * * ?; 3 earlier missed"
    assert late.again == START + timedelta(days=4, hours=4)


@pytest.mark.parametrize("days", [0.01, 0.5, 40])
def test_a_busy_schedule_after_a_long_sleep_is_quick_and_right(days):
    trigger = Trigger("quartz", expression="0/7 * * * * ?")
    now = START + timedelta(days=days, seconds=3)
    verdict = decide(trigger, Memory("quartz 0/7 * * * * ? UTC", START), Sight(), now, False)
    second = (now.second // 7) * 7
    assert verdict.due == now.replace(second=second, microsecond=0)
    assert verdict.again > now


def test_another_expression_begins_anew():
    old = decide(Trigger("quartz", expression="0 0 4 * * ?"), None, Sight(), START, False).memory
    later = START + timedelta(days=2)
    verdict = decide(Trigger("quartz", expression="0 0 5 * * ?"), old, Sight(), later, False)
    assert verdict.due is None
    assert verdict.again == later.replace(hour=5)


@pytest.mark.parametrize(
    ("interval", "unit", "expected"),
    [(6, "HOURS", "2024-03-01 06:00"), (1, "DAYS", "2024-03-02 00:00"),
     (1, "WEEKS", "2024-03-04 00:00"), (5, "HOURS", "2024-03-01 04:00")],
)  # fmt: skip
def test_periodic_triggers_stand_on_a_grid(interval, unit, expected):
    trigger = Trigger("periodic", interval=interval, unit=unit)
    first = next(moments(trigger, START))
    assert f"{first:%Y-%m-%d %H:%M}" == expected
    step = timedelta(hours=interval * {"HOURS": 1, "DAYS": 24, "WEEKS": 168}[unit])
    assert next(moments(trigger, first)) == first + step
    assert next(moments(trigger, first - timedelta(microseconds=1))) == first


def test_a_continuous_job_pauses_after_success_and_longer_after_each_failure():
    trigger = Trigger("continuous")
    memory = decide(trigger, None, Sight(), START, False).memory
    waits = []
    for ok in (True, False, False, False, False, False, False, True):
        memory = after_run(memory, START, ok)
        waits.append((decide(trigger, memory, Sight(), START, False).again - START).seconds)
    assert waits == [10, 30, 60, 120, 240, 480, 600, 10]
    assert decide(trigger, None, Sight(), START, True).due is None
