"""The job alerting on Delta: from events to alerts and notifications, each once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.ops import ALERT, ALERT_EVENT
from clinical_lakehouse.tables.ops_alerting import (
    ALERT_ACKNOWLEDGEMENT,
    ALERT_GROUP,
    ALERTING_ROUND,
    NOTIFICATION,
    RULE_STANDING,
    SILENCE,
)
from clinical_lakehouse.tables.ops_quality import QUALITY_SCORE
from tests.builders import rows

NOON = datetime(2024, 6, 30, 12, tzinfo=UTC)


def at(run, minutes):
    """The run, later."""
    return replace(run, as_of=NOON + timedelta(minutes=minutes), run_id=f"run-{minutes}")


def saw(run, kind="export_partial", severity="critical", **labels):
    """A detector sees something at the run's as_of."""
    found = Finding(kind, severity, labels, 1.0, 0.0, "the export is partial", run.as_of)
    emit(run, "source-intake-export", [found])


def told(lake):
    """What was decided, but for the rules that have no input in a new lake."""
    found = lake.read(NOTIFICATION).filter("severity <> 'info'").orderBy("decided_at").collect()
    return [(row.reason, row.severity, json.loads(row.fingerprints)) for row in found]


def alerts(lake):
    return lake.read(ALERT).filter("severity <> 'info'").orderBy("kind").collect()


def state(lake):
    return [(row.kind, row.state) for row in alerts(lake)]


def test_an_event_becomes_one_alert_and_one_notification_however_often_it_is_evaluated(run):
    saw(run, site="3")
    assert evaluate.execute(run)["event_count"] == 1
    ((reason, severity, named),) = told(run.lake)
    (alert,) = alerts(run.lake)
    assert (reason, severity) == ("new", "critical")
    assert named == {"firing": [alert.fingerprint], "resolved": []}
    assert "told now: new" in alert.explanation
    before = run.lake.version(ALERT)
    evaluate.execute(at(run, 5))
    assert run.lake.version(ALERT) == before + 1, "its explanation says that it was told before"
    assert "told at 2024-06-30 12:00, not yet due again" in alerts(run.lake)[0].explanation
    assert len(told(run.lake)) == 1


@pytest.mark.soak
@pytest.mark.parametrize("lost", [ALERT, ALERT_GROUP, RULE_STANDING, ALERTING_ROUND])
def test_killed_before_any_of_its_writes_and_started_again_it_tells_once(run, lost, monkeypatch):
    """Whatever was written before the kill, the next evaluation ends as an undisturbed one."""
    saw(run, site="3")
    written = Lakehouse.replace if lost is not ALERTING_ROUND else Lakehouse.append

    def killed(lake, table, *given):
        if table is lost:
            raise KeyboardInterrupt
        return written(lake, table, *given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lakehouse, written.__name__, killed)
        if lost is RULE_STANDING:
            run.lake.append(QUALITY_SCORE, rows(run.lake, QUALITY_SCORE,
                            {"checked_at": NOON, "dimension": "table", "score": 0.99}))  # fmt: skip
        evaluate.execute(run)
    evaluate.execute(at(run, 1))
    assert len(told(run.lake)) == 1
    assert state(run.lake) == [("export_partial", "firing")]
    evaluate.execute(at(run, 2))
    assert len(told(run.lake)) == 1


@pytest.mark.soak
def test_a_rule_judges_what_quality_found_and_the_detectors_own_event_is_not_told_too(run):
    lake = run.lake
    low = {"dimension": "table", "slice": "silver.patient", "score": 0.9, "checked_at": NOON}
    site = {**low, "dimension": "site", "slice": "7", "score": 0.1}
    lake.append(QUALITY_SCORE, rows(lake, QUALITY_SCORE, low, site))
    saw(run, "quality_score", "warning", table="silver.patient")
    evaluate.execute(run)
    assert state(lake) == [("quality_score_low", "firing")]
    (alert,) = alerts(lake)
    assert (alert.value, alert.threshold) == (pytest.approx(0.9), 0.95)
    standing = lake.read(RULE_STANDING).filter("rule = 'quality_score_low'").first()
    assert standing.explanation.startswith("firing: ")


@pytest.mark.soak
def test_an_acknowledged_alert_is_not_repeated_until_it_is_worse(run):
    lake = run.lake
    saw(run, severity="warning", site="3")
    evaluate.execute(run)
    evaluate.execute(at(run, 1))
    assert [reason for reason, _, _ in told(lake)] == ["new"]
    (alert,) = alerts(lake)
    taken = {"fingerprint": alert.fingerprint, "acknowledged_at": NOON + timedelta(minutes=2),
             "acknowledged_by": "Ada", "severity": "warning"}  # fmt: skip
    lake.append(ALERT_ACKNOWLEDGEMENT, rows(lake, ALERT_ACKNOWLEDGEMENT, taken))
    evaluate.execute(at(run, 10))
    (alert,) = alerts(lake)
    assert (alert.state, alert.acknowledged_by) == ("acknowledged", "Ada")
    assert "acknowledged by Ada" in alert.explanation
    saw(at(run, 15), severity="critical", site="3")
    evaluate.execute(at(run, 15))
    # A critical alert has a route, and so a group, of its own.
    assert [(reason, severity) for reason, severity, _ in told(lake)] == [
        ("new", "warning"),
        ("new", "critical"),
    ]
    assert lake.read(ALERT).filter("kind = 'export_partial'").first().state == "firing"


def test_a_silenced_alert_says_by_whom_and_until_when(run):
    lake = run.lake
    until = {"starts_at": NOON, "ends_at": NOON + timedelta(hours=1)}
    silence = {"matchers": '{site="3"}', "created_by": "Ada", "reason": "move", **until}
    lake.append(SILENCE, rows(lake, SILENCE, silence))
    saw(run, site="3")
    evaluate.execute(run)
    assert told(lake) == []
    (alert,) = alerts(lake)
    assert "silenced by Ada: move, until 2024-06-30 13:00" in alert.explanation


@pytest.mark.soak
def test_a_second_evaluation_reads_no_event_again(run):
    saw(run, site="3")
    evaluate.execute(run)
    saw(at(run, 1), site="4")
    assert evaluate.execute(at(run, 1))["event_count"] == 1
    assert run.lake.read(ALERT_EVENT).count() == 2


@pytest.mark.parametrize("trials", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_two_evaluators_at_once_tell_of_each_alert_once(run, trials):
    """Whichever comes first; the other finds that it was told, and no event falls between them."""
    with ThreadPoolExecutor(2) as both:
        for number in range(trials):
            saw(at(run, number), site=str(number))
            two = [replace(at(run, number), run_id=f"{name}-{number}") for name in "ab"]
            list(both.map(evaluate.execute, two))
    for later in (3, 6):  # the last of a group wait for its next interval
        evaluate.execute(at(run, trials + later))
    keys = [one["notification_key"] for one in run.lake.rows(NOTIFICATION)]
    assert len(keys) == len(set(keys))
    firing = [name for _, _, named in told(run.lake) for name in named["firing"]]
    assert len(set(firing)) == len(alerts(run.lake)) == trials
