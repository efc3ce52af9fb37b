"""An alert's life: episodes, acknowledgement, flaps; taken twice it is the same."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.alerting.alert_state import (
    ACKNOWLEDGED,
    FIRING,
    RESOLVED,
    Lifecycle,
    acknowledge,
    advance,
)
from clinical_lakehouse.errors import UsageError

from .situations import after, seen

NAME = seen().fingerprint
LIFECYCLE = Lifecycle(resolve_after=timedelta(minutes=60))


def alert(minutes: float, *sightings, known=None):
    return advance(known or {}, sightings, after(minutes), LIFECYCLE)[NAME]


def test_alert_fires_and_resolves_when_seen_good():
    assert alert(1, seen(0)).state == FIRING
    over = alert(6, seen(0), seen(5, firing=False))
    assert (over.state, over.starts_at, over.ends_at) == (RESOLVED, after(0), after(5))


def test_alert_that_is_not_seen_any_more_resolves_after_its_timeout():
    assert alert(60, seen(0)).state == FIRING
    over = alert(61, seen(0))
    assert (over.state, over.ends_at) == (RESOLVED, after(60))


def test_of_two_sightings_at_one_moment_the_bad_one_is_believed():
    assert alert(6, seen(0), seen(5, firing=False), seen(5)).state == FIRING
    assert alert(6, seen(0), seen(5), seen(5, firing=False)).state == FIRING


def test_timeout_of_a_kind_goes_before_the_general_one():
    slow = replace(LIFECYCLE, resolve_after_kind={"job_failed": timedelta(hours=26)})
    assert advance({}, [seen(0)], after(600), slow)[NAME].state == FIRING


def test_alert_that_comes_back_is_a_new_episode_nobody_has_acknowledged():
    first = {NAME: alert(1, seen(0))}
    taken = acknowledge(first, [NAME], "ada", after(1))
    over = advance(taken, [seen(5, firing=False)], after(5), LIFECYCLE)
    back = alert(9, seen(8), known=over)
    assert (back.state, back.starts_at, back.acknowledged) == (FIRING, after(8), None)
    assert back.first_seen_at == after(0)


def test_acknowledged_alert_stays_so_unless_it_gets_worse():
    taken = acknowledge({NAME: alert(1, seen(0))}, [NAME], "ada", after(1))
    same = alert(3, seen(2), known=taken)
    assert (same.state, same.acknowledged.by) == (ACKNOWLEDGED, "ada")
    better = alert(3, seen(2, severity="info"), known=taken)
    assert better.state == ACKNOWLEDGED
    worse = alert(3, seen(2, severity="critical"), known=taken)
    assert (worse.state, worse.acknowledged) == (FIRING, None)


def test_acknowledging_needs_a_name_and_an_open_alert():
    over = {NAME: alert(6, seen(0), seen(5, firing=False))}
    with pytest.raises(UsageError, match="is not open"):
        acknowledge(over, [NAME], "ada", after(7))
    with pytest.raises(UsageError, match="needs a name"):
        acknowledge({NAME: alert(1, seen(0))}, [NAME], " ", after(1))


def episodes(lifecycle: Lifecycle) -> int:
    """A day of an alert that fires every 20 minutes and goes good after 10 (issue 3048)."""
    known, starts = {}, set()
    for minutes in range(0, 24 * 60, 10):
        sighting = seen(minutes, firing=minutes % 20 == 0)
        known = advance(known, [sighting], after(minutes), lifecycle)
        starts.add(known[NAME].starts_at)
    return len(starts)


def test_noisy_alert_is_held_open():
    assert episodes(replace(LIFECYCLE, flaps=1000)) == 72
    assert episodes(LIFECYCLE) == 3


def test_noisy_alert_resolves_once_it_has_been_good_for_the_hold():
    flapping = [seen(minute, firing=minute % 10 == 0) for minute in range(0, 30, 5)]
    known = {NAME: alert(26, *flapping)}
    assert known[NAME].state == FIRING
    assert alert(54, known=known).state == FIRING
    over = alert(55, known=known)
    assert (over.state, over.ends_at) == (RESOLVED, after(55))


@pytest.mark.parametrize("seed", range(20))
def test_sightings_taken_again_or_in_another_order_leave_the_same_alerts(seed):
    rng = random.Random(seed)
    labels = [{"job": name} for name in "abc"]
    given = [
        seen(minute, rng.random() < 0.6, labels=rng.choice(labels), severity=severity)
        for minute in range(40)
        for severity in [rng.choice(("info", "warning", "critical"))]
    ]
    once = advance({}, given, after(45), LIFECYCLE)
    assert advance(once, given, after(45), LIFECYCLE) == once
    assert advance({}, rng.sample(given, len(given)), after(45), LIFECYCLE) == once
    halves = advance({}, given[:20], after(19), LIFECYCLE)
    assert advance(halves, given, after(45), LIFECYCLE) == once
