"""Each alert is told once, again only for news; what hurt Alertmanager's users does not here."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.alerting.alert_state import Lifecycle, acknowledge
from clinical_lakehouse.alerting.dispatch import plan
from clinical_lakehouse.alerting.routing.matchers import parse_matchers
from clinical_lakehouse.alerting.routing.suppression import InhibitRule, Silence, Suppressions

from .situations import Desk, after, routing, seen

B = {"labels": {"job": "b"}}


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(routing(tmp_path))


def names(notification) -> list[str]:
    return sorted(alert.labels["job"] for alert in notification.firing)


def take(desk: Desk, minutes: float, by: str = "ada") -> None:
    open_ones = [name for name, alert in desk.alerts.items() if alert.is_open]
    desk.alerts = acknowledge(desk.alerts, open_ones, by, after(minutes))


def test_group_waits_then_tells_all_its_alerts_once(desk):
    assert desk.reasons(0, seen(0)) == []
    (told,) = desk.step(1, seen(0.5, **B))
    assert (told.reason, names(told), told.receiver) == ("new", ["a", "b"], "ops")
    assert told.group_key == '{}:{alertname="job_failed"}'
    assert [desk.reasons(minute, seen(minute), seen(minute, **B)) for minute in (2, 6, 11)] == [
        [],
        [],
        [],
    ]


def test_alert_that_is_older_than_the_wait_is_told_at_once(desk):
    assert desk.reasons(1, seen(0)) == ["new"]


def test_new_member_is_told_at_the_next_interval_with_the_others(desk):
    desk.step(1, seen(0))
    assert desk.reasons(2, seen(2, **B)) == []
    (told,) = desk.step(6, seen(6), seen(6, **B))
    assert (told.reason, names(told)) == ("new", ["a", "b"])


def test_end_is_told_once(desk):
    desk.step(1, seen(0))
    (told,) = desk.step(6, seen(5, firing=False))
    assert (told.reason, told.firing, len(told.resolved)) == ("resolved", (), 1)
    assert desk.reasons(11) == []
    assert desk.groups == {}


def test_alert_that_ended_before_it_was_told_is_never_told(desk):
    assert desk.reasons(0, seen(0)) == []
    assert desk.reasons(6, seen(0.2, firing=False)) == []


def test_firing_alert_is_repeated_after_the_repeat_interval_only(desk):
    told = [m for m in range(1, 12 * 60, 5) if desk.reasons(m, seen(m - 0.9))]
    assert told == [1, 241, 481]


def test_acknowledged_alert_is_not_repeated_and_its_end_is_told(desk):
    desk.step(1, seen(0))
    take(desk, 2)
    assert [desk.reasons(m, seen(m)) for m in (6, 300, 600)] == [[], [], []]
    assert desk.decisions[0].because == "acknowledged by ada at 2024-06-30 12:02"
    assert desk.reasons(605, seen(605, firing=False)) == ["resolved"]


def test_new_member_of_an_acknowledged_group_is_told(desk):
    desk.step(1, seen(0))
    take(desk, 2)
    assert desk.reasons(6, seen(6)) == []
    (told,) = desk.step(11, seen(11), seen(11, **B))
    assert (told.reason, names(told)) == ("new", ["a", "b"])


def test_worse_severity_of_an_acknowledged_alert_is_told_and_a_lesser_one_not(desk):
    desk.step(1, seen(0))
    take(desk, 2)
    assert desk.reasons(6, seen(6, severity="info")) == []
    (told,) = desk.step(11, seen(11, severity="critical"))
    assert (told.reason, told.firing[0].severity) == ("worse", "critical")
    take(desk, 12)
    assert desk.reasons(16, seen(16, severity="critical")) == []


def inhibited(desk: Desk) -> None:
    rule = InhibitRule(
        parse_matchers('{alertname="cluster_down"}'), parse_matchers('{alertname="job_failed"}')
    )
    desk.suppressions = Suppressions((rule,))


DOWN = {"kind": "cluster_down", "labels": {"cluster": "c"}}


def test_inhibited_alert_is_never_announced_as_resolved(desk):
    """Alertmanager 891: both of a pair were announced as resolved, one of them never as firing."""
    inhibited(desk)
    told = desk.step(1, seen(0), seen(0, **DOWN))
    assert [one.firing[0].kind for one in told] == ["cluster_down"]
    over = (seen(5, firing=False), seen(5, firing=False, **DOWN))
    ended = [alert.kind for one in desk.step(6, *over) for alert in one.resolved]
    assert ended == ["cluster_down"]
    assert desk.reasons(11) == []


def test_end_of_an_alert_told_before_it_was_inhibited_waits_for_the_inhibition_to_end(desk):
    """Alertmanager 2754: its incident stayed open for ever."""
    inhibited(desk)
    assert desk.reasons(1, seen(0)) == ["new"]
    desk.step(6, seen(6), seen(5, **DOWN))
    assert desk.reasons(11, seen(11, firing=False), seen(11, **DOWN)) == []
    told = desk.step(16, seen(16, firing=False, **DOWN))
    assert sorted(alert.kind for one in told for alert in one.resolved) == [
        "cluster_down",
        "job_failed",
    ]


@pytest.mark.parametrize("resolved", [True, False])
def test_flapping_alert_pages_again_also_with_resolved_messages_off(tmp_path, resolved):
    """Alertmanager 1063: with send_resolved false only the first firing was ever told."""
    desk, told = Desk(routing(tmp_path, resolved), Lifecycle(flaps=1000)), []
    for minutes in range(0, 60, 5):
        told += desk.reasons(minutes, seen(minutes, firing=minutes % 20 < 10))
    assert told.count("new") == 3
    assert told.count("resolved") == (3 if resolved else 0)


def test_alert_back_between_two_intervals_is_told_as_new(desk):
    desk.step(1, seen(0))
    assert desk.reasons(6, seen(3, firing=False), seen(5)) == ["new"]


def test_silence_keeps_quiet_up_to_its_end_and_then_the_alert_is_told(desk):
    matchers = parse_matchers('{job="a"}')
    silence = Silence("s1", matchers, after(-5), after(30), "ada", "new disks")
    desk.suppressions = Suppressions(silences=(silence,))
    assert desk.reasons(1, seen(0)) == []
    decision = desk.decisions[0]
    assert (decision.outcome, decision.until) == ("silenced", after(30))
    assert decision.because == "silenced by ada: new disks"
    assert desk.reasons(29, seen(29)) == []
    assert desk.reasons(34, seen(34)) == ["new"]


def test_muted_route_tells_at_the_first_moment_after_its_interval(tmp_path):
    night = {
        "name": "noon",
        "time_intervals": [{"times": [{"start_time": "12:00", "end_time": "12:30"}]}],
    }
    nested = {"receiver": "ops", "mute_time_intervals": ["noon"]}
    desk = Desk(routing(tmp_path, time_intervals=[night], routes=[nested]))
    assert desk.reasons(1, seen(0)) == []
    assert (desk.decisions[0].outcome, desk.decisions[0].because) == (
        "muted",
        "muted: time interval noon",
    )
    assert desk.reasons(29, seen(29)) == []
    assert desk.reasons(30, seen(30)) == ["new"]


def test_waiting_alert_says_with_how_many_it_waits_and_until_when(desk):
    desk.step(0, seen(0), seen(0, **B))
    said = {(one.outcome, one.because, one.until) for one in desk.decisions}
    assert said == {("waits", "grouped with 1 other, not yet due", after(0.5))}


def test_notification_of_the_same_state_has_the_same_key_and_a_repeat_another(desk):
    desk.step(0, seen(0))
    later = [plan(desk.routing, Suppressions(), desk.alerts, desk.groups, after(m)) for m in (1, 9)]
    keys = [made.notifications[0].key for made in later]
    assert keys[0] == keys[1]
    (first,) = desk.step(1)
    (repeat,) = desk.step(245, seen(244))
    assert first.key == keys[0] != repeat.key


def test_another_order_of_routes_tells_nothing_again(tmp_path):
    routes = [{"receiver": "ops", "matchers": [f"job={name}"]} for name in "ab"]
    desk = Desk(routing(tmp_path, routes=routes))
    assert desk.reasons(1, seen(0), seen(0, **B)) == ["new", "new"]
    desk.routing = routing(tmp_path, routes=routes[::-1])
    assert desk.reasons(6, seen(6), seen(6, **B)) == []


def test_clock_set_back_by_an_hour_delays_no_page_by_more_than_a_group_interval(desk):
    desk.step(0, seen(0), seen(0, **B))
    assert desk.reasons(1, seen(1), seen(1, **B)) == ["new"]
    assert desk.reasons(6, seen(6, firing=False), seen(6, **B)) == ["resolved"]
    assert desk.reasons(-54, seen(-54), seen(-54, **B)) == []
    assert desk.reasons(-49, seen(-49), seen(-49, **B)) == ["new"]


@pytest.mark.parametrize("seed", range(30))
def test_each_episode_is_told_once_whatever_happens(tmp_path, seed):
    """Random sightings, acknowledgements, silences and crashes before the state is written."""
    rng = random.Random(seed)
    desk = Desk(routing(tmp_path, repeat_interval="30d"), Lifecycle(timedelta(minutes=20)))
    told, ended, keys = {}, [], set()
    for minute in range(0, 300, rng.choice((1, 2, 5))):
        if rng.random() < 0.1 and any(alert.is_open for alert in desk.alerts.values()):
            take(desk, minute)
        if rng.random() < 0.1:
            hushed = Silence(
                *("s", parse_matchers('{job="a"}'), after(minute), after(minute + 30), "a", "b")
            )
            desk.suppressions = replace(desk.suppressions, silences=(hushed,))
        given = [
            seen(minute, rng.random() < 0.7, labels={"job": name})
            for name in "abc"
            if rng.random() < 0.5
        ]
        before = (desk.alerts, desk.groups)
        handed = desk.step(minute, *given)
        if rng.random() < 0.3:  # killed after handing over: done again with what was known
            desk.alerts, desk.groups = before
            assert [one.key for one in desk.step(minute, *given)] == [one.key for one in handed]
        assert desk.step(minute, *given) == ()
        for one in handed:
            assert one.key not in keys
            keys.add(one.key)
            known = {(a.fingerprint, a.starts_at) for a in one.firing}
            if one.reason == "new":
                assert known - set(told)
            told |= dict.fromkeys(known, one.at)
            over = [(a.fingerprint, a.starts_at) for a in one.resolved]
            ended += over
            assert {name for name, _ in over} <= {name for name, _ in told}
    assert len(told) > 3
    assert len(ended) == len(set(ended))
