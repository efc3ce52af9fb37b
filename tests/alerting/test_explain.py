"""An alert explains itself; a rule is tried on what was stored."""

from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.alerting.alert_state import acknowledge
from clinical_lakehouse.alerting.dispatch import plan
from clinical_lakehouse.alerting.explain import (
    Knowledge,
    explain_alert,
    explain_rule,
    find_alert,
)
from clinical_lakehouse.alerting.routing.matchers import parse_matchers
from clinical_lakehouse.alerting.routing.suppression import (
    InhibitRule,
    Maintenance,
    Silence,
    Suppressions,
)
from clinical_lakehouse.alerting.rules.backtest import Incident, Span, backtest
from clinical_lakehouse.alerting.rules.evaluation import evaluate
from clinical_lakehouse.errors import UsageError

from .situations import Desk, after, routing, seen
from .test_evaluation import RULE, observed


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(routing(tmp_path))


def explained(desk: Desk, minutes: float) -> list[str]:
    """Lines on the alert of job a at this moment, with nothing told at it."""
    at = after(minutes)
    made = plan(desk.routing, desk.suppressions, desk.alerts, desk.groups, at)
    return explain_alert(desk.alerts[seen().fingerprint], Knowledge((), (), made, desk.routing, at))


ROUTE = 'ops by route {}:{alertname="job_failed"}: '


def test_waiting_alert_is_explained(desk):
    desk.step(0, seen(0), seen(0, labels={"job": "b"}))
    assert explained(desk, 0.2) == [
        'job_failed {job="a"}, warning: firing since 2024-06-30 12:00',
        "seen by s: 1 against 0",
        f"{ROUTE}grouped with 1 other, not yet due, until 2024-06-30 12:00",
    ]


def test_told_alert_is_explained(desk):
    desk.step(0, seen(0))
    assert explained(desk, 1)[-1] == f"{ROUTE}told now: new"
    desk.step(1)
    said = "told at 2024-06-30 12:01, not yet due again, until 2024-06-30 16:01"
    assert explained(desk, 7)[-1] == ROUTE + said


def test_inhibited_silenced_and_maintained_alert_is_explained(desk):
    down = {"kind": "cluster_down", "labels": {"cluster": "c"}}
    rule = InhibitRule(
        parse_matchers('{alertname="cluster_down"}'), parse_matchers('{alertname="job_failed"}')
    )
    job = parse_matchers('{job="a"}')
    silence = Silence("s", job, after(-5), after(60), "ada", "new disks")
    work = Maintenance("patching", job, ("now",), "monthly")
    desk.step(0, seen(0), seen(0, **down))
    desk.suppressions = Suppressions((rule,))
    assert explained(desk, 1)[-1] == f'{ROUTE}inhibited by cluster_down {{cluster="c"}}'
    desk.suppressions = Suppressions(silences=(silence,))
    assert explained(desk, 1)[-1] == f"{ROUTE}silenced by ada: new disks, until 2024-06-30 13:00"
    from clinical_lakehouse.alerting.routing.time_intervals import TimeInterval

    now = {"now": (TimeInterval(),)}
    desk.suppressions = Suppressions((), (), (work,), now)
    assert explained(desk, 1)[-1] == f"{ROUTE}maintenance patching: monthly"


def test_muted_alert_is_explained_with_the_end_of_the_interval(tmp_path):
    night = {
        "name": "noon",
        "time_intervals": [{"times": [{"start_time": "12:00", "end_time": "12:30"}]}],
    }
    desk = Desk(
        routing(tmp_path, time_intervals=[night], routes=[{"mute_time_intervals": ["noon"]}])
    )
    desk.step(0, seen(0))
    said = 'ops by route {}/{}:{alertname="job_failed"}: muted: time interval noon'
    assert explained(desk, 1)[-1] == f"{said}, until 2024-06-30 12:30"


def test_acknowledged_and_ended_alerts_are_explained(desk):
    desk.step(1, seen(0))
    desk.alerts = acknowledge(desk.alerts, [seen().fingerprint], "ada", after(2))
    told = explained(desk, 7)
    assert told[0].endswith(
        "firing since 2024-06-30 12:00, acknowledged by ada at 2024-06-30 12:02"
    )
    assert told[-1] == f"{ROUTE}acknowledged by ada at 2024-06-30 12:02"
    desk.step(8, seen(8, firing=False))
    assert explained(desk, 9)[0].endswith("2024-06-30 12:00 to 2024-06-30 12:08, resolved")
    assert explained(desk, 9)[-1] == "nothing to send: it has ended"


def test_alert_of_a_rule_is_explained_with_rule_value_and_limit(desk):
    evaluation = evaluate([RULE], observed((0, 0.9)), {}, after(1))
    desk.step(1, *evaluation.sightings)
    (alert,) = [one for one in desk.alerts.values() if one.kind == "score_low"]
    made = plan(desk.routing, desk.suppressions, desk.alerts, desk.groups, after(1))
    known = Knowledge([RULE], evaluation.verdicts, made, desk.routing, after(1))
    assert explain_alert(alert, known)[1:4] == [
        "rule score_low (x.yml:2): last_over_time(score[10m]) below quality_score_min 0.95",
        '{table="t"} firing: 0.9 against quality_score_min 0.95',
        "what to do: https://r",
    ]


def test_rule_that_did_not_fire_says_why():
    rule = replace(RULE, min_count=2)
    evaluation = evaluate([rule], observed((0, 0.9)), {}, after(1))
    assert explain_rule(rule, evaluation.verdicts)[1:] == [
        '{table="t"} too few: below minimum count: 1 of 2'
    ]


def test_alert_is_found_by_the_start_of_its_fingerprint(desk):
    desk.step(0, seen(0), seen(0, labels={"job": "b"}))
    name = seen().fingerprint
    assert find_alert(desk.alerts, name[:8]).fingerprint == name
    for start, said in (("x", "no alert starts with 'x'"), ("", "2 alerts start with ''")):
        with pytest.raises(UsageError, match=said):
            find_alert(desk.alerts, start)


def test_backtest_counts_firings_precision_and_flaps():
    """Bad from 10 to 20 (an incident), 30 to 35 (a flap of it, none), and 300 to 310 of another
    table; a second incident was never seen."""
    bad = {*range(10, 20), *range(30, 35)}
    first = observed(*((m, 0.9 if m in bad else 0.99) for m in range(400)))
    second = observed(*((m, 0.9 if m >= 395 else 0.99) for m in range(400)), table="u")
    both = replace(first, series={"score": (*first.series["score"], *second.series["score"])})
    incidents = [
        Incident(after(5), after(15), {"table": "t"}),
        Incident(after(300), after(310), {"table": "u"}),
    ]
    span = Span(after(0), after(399), timedelta(minutes=1))
    found = backtest(RULE, both, span, incidents)
    assert [(one.labels["table"], one.starts_at, one.ends_at) for one in found.firings] == [
        ("t", after(10), after(20)),
        ("t", after(30), after(35)),
        ("u", after(395), None),
    ]
    assert [one.is_flap for one in found.firings] == [False, True, False]
    assert (found.precision, found.recall, found.flaps) == (pytest.approx(1 / 3), 0.5, 1)
    assert found.missed == (incidents[1],)


def test_backtest_of_a_rule_that_never_fires_has_no_precision():
    span = Span(after(0), after(60), timedelta(minutes=5))
    found = backtest(RULE, observed((0, 0.99)), span)
    assert (found.firings, found.precision, found.recall) == ((), None, None)
