"""Rules judged over time: hysteresis, minimum counts, and that no data is never OK."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from clinical_lakehouse.alerting.alert_state import Lifecycle, advance, alert_fingerprint
from clinical_lakehouse.alerting.rules.evaluation import evaluate
from clinical_lakehouse.alerting.rules.expressions import parse_measure
from clinical_lakehouse.alerting.rules.observations import (
    Observation,
    Observations,
    Selector,
    collect,
    of_events,
    of_job_runs,
    of_model_metrics,
    of_quality_scores,
)
from clinical_lakehouse.alerting.rules.rule import Rate, Rule
from clinical_lakehouse.runtime import alerts

from .situations import NOON, after

RULE = Rule(
    *("score_low", parse_measure("last_over_time(score[10m])"), "quality_score_min", 0.95, False),
    *(0.01, 1, "critical", "score of {{ $labels.table }} is {{ $value }}", "https://r", {}),
    stale_after=timedelta(minutes=30),
    place="x.yml:2",
)


def observed(*points: tuple[float, float], table: str = "t") -> Observations:
    """Values of one table's score by minutes after noon."""
    return collect(Observation("score", {"table": table}, v, after(m)) for m, v in points)


def judge(rule: Rule, observations: Observations, *minutes: float):
    """The evaluations at these minutes, one after another."""
    standings: Mapping = {}
    for minute in minutes:
        evaluation = evaluate([rule], observations, standings, after(minute))
        standings = evaluation.standings
        yield evaluation


def outcomes(rule: Rule, observations: Observations, *minutes: float) -> list[str]:
    return [
        verdict.outcome
        for evaluation in judge(rule, observations, *minutes)
        for verdict in evaluation.verdicts
    ]


def firing(evaluation) -> dict[str, str]:
    """Kind of each firing alert with its message."""
    return {one.kind: one.message for one in evaluation.sightings if one.is_firing}


def test_alert_ends_only_when_the_value_is_back_by_the_hysteresis():
    values = observed((0, 0.955), (5, 0.94), (10, 0.955), (15, 0.9601))
    assert outcomes(RULE, values, 0, 5, 10, 15) == ["ok", "firing", "firing", "ok"]


def test_value_at_the_limit_is_not_over_it():
    assert outcomes(RULE, observed((0, 0.95)), 0) == ["ok"]


def test_rule_that_waits_is_pending_until_then():
    waiting = replace(RULE, wait=timedelta(minutes=5))
    values = observed((0, 0.9), (4, 0.9), (5, 0.9), (6, 0.99), (7, 0.9))
    expected = ["pending", "pending", "firing", "ok", "pending"]
    assert outcomes(waiting, values, 0, 4, 5, 6, 7) == expected


def test_fewer_than_the_minimum_count_decide_nothing():
    rule = replace(RULE, min_count=2)
    values = observed((0, 0.9), (5, 0.9), (13, 0.99))
    (first, second, third) = judge(rule, values, 0, 5, 16)
    assert [first.verdicts[0].outcome, second.verdicts[0].outcome] == ["too few", "firing"]
    assert third.verdicts[0].because == "below minimum count: 1 of 2; it fires on"
    assert "score_low" in firing(third)


def test_alert_fires_on_without_data_and_stale_input_is_an_alert_of_its_own():
    (fresh, held, stale) = judge(RULE, observed((0, 0.9)), 5, 29, 31)
    assert list(firing(fresh)) == ["score_low"]
    assert list(firing(held)) == ["score_low"]
    assert held.verdicts[0].because.endswith("it fires on until data say otherwise")
    assert firing(stale) == {
        "rule_input_stale": "input of rule score_low is 31m old",
        "score_low": "score of t is 0.9",
    }
    labels = {"table": "t", "rule": "score_low"}
    named = alert_fingerprint("alerting-evaluate", "rule_input_stale", labels)
    assert named in {one.fingerprint for one in stale.sightings if one.is_firing}


def test_input_that_was_never_there_is_an_alert():
    (evaluation,) = judge(RULE, collect([]), 0)
    assert firing(evaluation) == {"rule_input_stale": "rule score_low has no input at all: score"}


def test_one_series_that_stops_is_an_alert_while_others_go_on():
    both = {"a": range(0, 41, 5), "b": range(0, 6, 5)}
    values = collect(
        Observation("score", {"table": table}, 0.99, after(minute))
        for table, minutes in both.items()
        for minute in minutes
    )
    *_, last = judge(RULE, values, *range(0, 41, 5))
    stale = [one.labels["table"] for one in last.sightings if one.is_firing]
    assert stale == ["b"]


def test_input_that_is_back_ends_its_alert():
    alerts_known, values = {}, observed((0, 0.99), (40, 0.99))
    for evaluation, minute in zip(judge(RULE, values, 5, 35, 40), (5, 35, 40), strict=True):
        alerts_known = advance(alerts_known, evaluation.sightings, after(minute), Lifecycle())
    assert [(one.kind, one.state) for one in alerts_known.values()] == [
        ("rule_input_stale", "resolved")
    ]


def test_series_that_is_gone_for_long_is_forgotten():
    rule = replace(RULE, forget_after=timedelta(hours=1))
    (kept, gone) = judge(rule, observed((0, 0.9)), 60, 61)
    assert len(kept.standings) == 1
    assert gone.standings == {}


def test_without_data_all_is_well_where_input_tells_only_what_is_bad():
    rule = replace(RULE, stale_after=None)
    (bad, over) = judge(rule, observed((0, 0.9)), 5, 11)
    assert list(firing(bad)) == ["score_low"]
    assert firing(over) == {}


def test_rule_that_fails_is_an_alert_stops_no_other_and_ends_nothing():
    broken = replace(RULE, name="broken", limit="none")
    good = observed((0, 0.9))
    first = evaluate([replace(broken, limit=0.95)], good, {}, after(0))
    second = evaluate([broken, RULE], good, first.standings, after(5))
    assert firing(second) == {
        "rule_failed": "rule broken cannot be judged: TypeError",
        "broken": "score of t is 0.9",
        "score_low": "score of t is 0.9",
    }
    third = evaluate([replace(broken, limit=0.95)], good, second.standings, after(9))
    assert "rule_failed" not in firing(third)


def test_rule_whose_labels_hide_those_of_its_series_fails():
    values = collect(Observation("score", {"table": table}, 0.9, NOON) for table in "ab")
    (evaluation,) = judge(replace(RULE, labels={"table": "x"}), values, 0)
    assert firing(evaluation) == {
        "rule_failed": "rule score_low cannot be judged: x.yml:2: labels of rule score_low hide "
        "those of its series"
    }


def test_rates_pool_the_runs_of_equal_labels_and_say_what_is_proven():
    rate = Rate(Selector("failed"), ("job",))
    rule = replace(RULE, measure=rate, limit_name="rate_max", limit=0.01, is_above=True)
    rule = replace(rule, hysteresis=0.0, summary="{{ $labels.job }}")
    points = [("a", "x", 1), ("a", "y", 1), ("b", "x", 0)]
    values = collect(
        Observation("failed", {"job": job, "host": host}, value, after(minute))
        for job, host, value in points
        for minute in (1, 2)
    )
    (evaluation,) = judge(rule, values, 5)
    assert {one.labels["job"]: (one.outcome, one.because) for one in evaluation.verdicts} == {
        "a": ("firing", "1 against rate_max 0.01 (4 of 4 runs in 1h, proven above 0.01)"),
        "b": ("ok", "0 against rate_max 0.01 (0 of 2 runs in 1h, not proven)"),
    }


def test_evaluation_gives_the_same_for_the_same():
    values, known = observed((0, 0.9), (5, 0.97)), {}
    first, again = (evaluate([RULE], values, known, after(5)) for _ in range(2))
    assert first == again


def test_events_and_runs_become_observations():
    row = {"kind": "quality_score", "labels": '{"table": "t"}', "source": "s", "value": 0.9}
    at = datetime(2024, 6, 30, 12)
    assert list(of_events([{**row, "seen_at": at}, {**row, "value": None, "seen_at": at}])) == [
        Observation("quality_score_event", {"table": "t", "source": "s"}, 0.9, NOON)
    ]
    runs = [("success", 0.0), ("failed", 1.0), ("timed_out", 1.0), ("killed", 1.0)]
    rows = [{"job": "j", "state": state, "recorded_at": NOON} for state, _ in runs]
    others = [{**rows[0], "state": state} for state in ("running", "skipped", "cancelled")]
    assert [one.value for one in of_job_runs(rows + others)] == [value for _, value in runs]


def test_quality_scores_and_model_metrics_become_observations():
    score = {"dimension": "table", "slice": "t", "score": 0.75, "checked_at": NOON}
    assert list(of_quality_scores([score])) == [
        Observation("quality_score", {"table": "t"}, 0.75, NOON)
    ]
    day = {"model_name": "m", "model_version": 3, "window_end_date": NOON.date()}
    rows = [
        {**day, "metric": "auroc", "low": 0.6, "high": 0.7, "reference": 0.8},
        {**day, "metric": "prediction_psi", "low": 0.1, "high": 0.3, "reference": 0.2},
        {**day, "metric": "auroc", "low": None, "high": None, "reference": 0.8},
        {**day, "metric": "brier", "low": 0.1, "high": 0.2, "reference": None},
    ]
    found = {one.name: one.value for one in of_model_metrics(rows)}
    assert found == {"accuracy_drop_at_least": pytest.approx(0.1), "drift_at_least": 0.1}


def test_fingerprint_is_that_of_the_event_table():
    labels = {"b": "2", "a": "1"}
    event = alerts._event(
        type("R", (), {"as_of": NOON}),
        "source",
        alerts.Finding("kind", "warning", labels, 1.0, 0.0, "m", NOON),
    )
    assert alert_fingerprint("source", "kind", labels) == event["fingerprint"]
