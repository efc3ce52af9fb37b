"""A month of alerting, round by round: exactly what was planted is told, each once."""

import random
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.alerting.alert_state import acknowledge, alert_fingerprint
from clinical_lakehouse.alerting.alerting_round import (
    Seen,
    Standpoint,
    read_alerting_conf,
    run_round,
    with_alerts,
)
from clinical_lakehouse.alerting.explain import explain_alert
from clinical_lakehouse.alerting.rules.observations import Observation, collect
from clinical_lakehouse.alerting.watchdog import Attempt, Tick
from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.conf import conf_dir

from .situations import NOON, after

LIMITS = load_settings("dev", environ={}).limits.model_dump()
CONF = read_alerting_conf(conf_dir() / "alerting", LIMITS)
DAY = 24 * 60
DAYS = 30


def score(day: int, table: str) -> float:
    return 0.9 if (table, day) in PLANTED_SCORES else 0.99


PLANTED_SCORES = {("silver.patient", 10), ("silver.patient", 11), ("omop.visit", 20)}
OUTAGE = range(15 * DAY, 15 * DAY + 6 * 60, 60)  # an hourly job fails six times in a row
ONE_FAILURE = 5 * DAY


# Rounds of half an hour, so that a month is 1,440 of them.
ROUGH = replace(CONF, interval=timedelta(minutes=30))


def observed() -> list[Observation]:
    """Daily scores of two tables, hourly runs, weekly figures of the model."""
    found = [
        Observation("quality_score", {"table": table}, score(day, table), after(day * DAY))
        for day in range(DAYS)
        for table in ("silver.patient", "omop.visit")
    ]
    for minute in range(0, DAYS * DAY, 60):
        failed = float(minute in OUTAGE or minute == ONE_FAILURE)
        found.append(Observation("pipeline_run_failed", {"job": "hourly"}, failed, after(minute)))
    model = {"model": "dropout_risk", "version": "1"}
    for week in range(-4, 5):
        at = after(week * 7 * DAY)
        found.append(Observation("accuracy_drop_at_least", model, 0.01, at))
        found.append(Observation("drift_at_least", {**model, "metric": "psi"}, 0.1, at))
    return found


EVENT = {
    "source": "data-privacy-verify",
    "kind": "privacy_finding",
    "severity": "critical",
    "labels": '{"table": "silver.patient"}',
    "value": 3.0,
    "threshold": 0.0,
    "message": "3 identifiers",
}
EVENT["fingerprint"] = alert_fingerprint(
    EVENT["source"], EVENT["kind"], {"table": "silver.patient"}
)


def events(minute: int) -> list[dict]:
    """A detector's event of day 25, seen since; and one that the rule on scores replaces."""
    at = 25 * DAY + 30
    rows = [{**EVENT, "seen_at": after(at), "window_at": after(at)}] if minute >= at else []
    return [*rows, *({**row, "kind": "quality_score", "fingerprint": "q"} for row in rows)]


def month(rng: random.Random | None = None) -> list[tuple[str, str, int]]:
    """Kind, reason and day of all that is told; with `rng` rounds are killed and done again."""
    told, handed, state = [], set(), Standpoint()
    series = collect(observed())
    for minute in range(0, DAYS * DAY, 30):
        seen = Seen(Tick(after(minute)), series, events(minute))
        made = run_round(ROUGH, seen, state)
        if rng and rng.random() < 0.2:  # killed after handing over, before the state was written
            again = run_round(ROUGH, seen, state)
            assert [one.key for one in again.notifications] == [
                one.key for one in made.notifications
            ]
        state = made.standpoint
        for one in made.notifications:
            assert one.key not in handed
            handed.add(one.key)
            alerts = one.resolved if one.reason == "resolved" else one.firing
            told += [(alert.kind, one.reason, minute // DAY) for alert in alerts]
            taken = [alert.fingerprint for alert in one.firing]
            state = with_alerts(state, acknowledge(state.alerts, taken, "ada", after(minute)))
    return told


@pytest.fixture(scope="module")
def bad_month() -> list[tuple[str, str, int]]:
    return month()


def test_exactly_what_was_planted_is_told_each_once_with_its_end(bad_month):
    assert bad_month == [
        ("quality_score_low", "new", 10),
        ("quality_score_low", "resolved", 12),
        ("pipeline_failure_rate_high", "new", 15),
        ("pipeline_failure_rate_high", "resolved", 15),
        ("quality_score_low", "new", 20),
        ("quality_score_low", "resolved", 21),
        ("privacy_finding", "new", 25),
        ("privacy_finding", "resolved", 26),
    ]


def test_rounds_killed_and_done_again_tell_the_same(bad_month):
    assert month(random.Random(1)) == bad_month


def test_two_evaluators_at_once_hand_over_the_same_keys():
    """A hundred rounds over random events: whoever is second hands over nothing new."""
    rng, handed, state = random.Random(5), [], Standpoint()
    for trial in range(0, 500, 5):
        rows = [
            {**EVENT, "kind": kind, "fingerprint": kind, "seen_at": after(trial)}
            for kind in rng.sample("abcdef", 2)
        ]
        seen = Seen(Tick(after(trial)), collect([]), [{**row, "window_at": NOON} for row in rows])
        first, second = (run_round(SHORT, seen, state) for _ in range(2))
        assert [one.key for one in first.notifications] == [one.key for one in second.notifications]
        handed += [one.key for one in first.notifications]
        state = rng.choice((first, second)).standpoint
    assert len(handed) == len(set(handed)) > 50


# Alerts that end soon, so that many rounds have something to tell.
SHORT = replace(CONF, lifecycle=replace(CONF.lifecycle, resolve_after=timedelta(minutes=10)))


def kinds(made) -> set[str]:
    return {alert.kind for alert in made.standpoint.alerts.values() if alert.is_open}


def test_whatever_stops_the_alerting_is_told_within_one_interval():
    series = collect(one for one in observed() if one.at <= NOON)
    quiet = run_round(CONF, Seen(Tick(NOON, 0.0), series), Standpoint())
    assert kinds(quiet) == set()
    failing = [Attempt("mail", after(3), False)]
    later = Seen(Tick(after(5), 300.0), series, attempts=failing)
    assert kinds(run_round(CONF, later, quiet.standpoint)) == {"channel_failing"}
    jumped = Seen(Tick(after(65), 300.0), series)
    assert kinds(run_round(CONF, jumped, quiet.standpoint)) == {"clock_jumped"}
    back = Seen(Tick(after(-55), 300.0), series)
    assert kinds(run_round(CONF, back, quiet.standpoint)) == {"clock_jumped"}
    gone = Seen(Tick(after(5), 300.0), collect([]))
    assert kinds(run_round(CONF, gone, Standpoint())) == {"rule_input_stale"}
    broken = replace(CONF, rules=(replace(CONF.rules[0], limit="x"), *CONF.rules[1:]))
    made = run_round(broken, Seen(Tick(after(5), 300.0), series), quiet.standpoint)
    assert kinds(made) == {"rule_failed"}


def test_clock_that_jumped_is_told_though_the_next_round_finds_it_right():
    quiet = run_round(CONF, Seen(Tick(NOON, 0.0), collect(observed())), Standpoint())
    jumped = run_round(CONF, Seen(Tick(after(65), 300.0), collect([])), quiet.standpoint)
    assert [one.firing[0].kind for one in jumped.notifications] == ["clock_jumped"]
    later = run_round(CONF, Seen(Tick(after(70), 600.0), collect([])), jumped.standpoint)
    assert later.notifications == ()
    state = later.standpoint
    for minute in range(75, 140, 5):
        made = run_round(CONF, Seen(Tick(after(minute), minute * 60.0 - 3600), collect([])), state)
        state = made.standpoint
    assert "clock_jumped" not in kinds(made)


def test_alert_of_a_round_is_explained():
    series = collect(one for one in observed() if one.at <= after(10 * DAY))
    at = after(10 * DAY + 5)
    made = run_round(CONF, Seen(Tick(at), series), Standpoint())
    (alert,) = made.standpoint.alerts.values()
    lines = explain_alert(alert, made.knowledge(CONF, at))
    assert lines[1:4] == [
        "rule quality_score_low (data.yml:5): last_over_time(quality_score[1d2h]) below "
        "quality_score_min 0.95",
        '{table="silver.patient"} firing: 0.9 against quality_score_min 0.95',
        "what to do: runbooks/quality_score_low.md",
    ]
    assert lines[4].startswith("working_hours by route {}:{alertname=")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("interval: 5m", "interval: often", "lifecycle.yml:2: interval must be a duration"),
        ("flaps: 3", "flap: 3", "lifecycle.yml:6: flap is not supported here"),
        (
            "maintenance: []",
            "maintenance: [{name: a, matchers: [a=b], time_intervals: [x], reason: r}]",
            "lifecycle.yml:13: 'x' is not among routing.yml's intervals",
        ),
        ('[domain="safety"]', "[domain]", "lifecycle.yml:9: matcher 'domain' needs one of"),
    ],
)
def test_conf_that_is_wrong_is_refused_with_file_and_line(tmp_path, old, new, said):
    folder = tmp_path / "alerting"
    shutil.copytree(conf_dir() / "alerting", folder)
    text = (folder / "lifecycle.yml").read_text()
    assert old in text
    (folder / "lifecycle.yml").write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=f"^{said}"):
        read_alerting_conf(folder, LIMITS)
