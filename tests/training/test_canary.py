"""Canaries: rates of wrong and right decisions, guards before everything, holding without data."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_deployment import MODEL_CANARY, SERVED_PREDICTION
from clinical_lakehouse.tables.gold_models import MODEL_GATE, PREDICTION
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.training import model_deployment
from clinical_lakehouse.training.canary import (
    FILE,
    LOST,
    RUNNING,
    UNDECIDED,
    WON,
    Answered,
    Look,
    Standing,
    advance,
    breaches,
    read_canary_plan,
    serving_breaches,
)
from clinical_lakehouse.training.model_deployment import promote, score
from tests.builders import rows
from tests.training.conftest import register
from tests.training.simulated_canary import PLAN, run_canary

NAME = "dropout_risk"
ENOUGH = Look(50, 500, 50, Interval(0.0, -0.03, 0.03), 30)
FIRST, LAST = Standing(RUNNING, 0, ""), Standing(RUNNING, 3, "")


def _rates(seeds, new_auroc):
    ended = [run_canary(seed, 0.78, new_auroc) for seed in seeds]
    won = np.mean([one.state == WON for one in ended])
    lost = np.mean([one.state == LOST for one in ended])
    in_time = np.mean([one.state == LOST and one.served_ratio < 0.5 for one in ended])
    return won, lost, in_time


def test_a_few_simulated_canaries_end_as_they_should():
    assert _rates(range(8), 0.78)[:2] == (0, 0)
    won, _, in_time = _rates(range(10), 0.73)
    assert (won, in_time >= 0.8) == (0, True)
    assert _rates(range(5), 0.83)[0] >= 0.8


@pytest.mark.soak
def test_two_thousand_simulated_canaries_err_as_rarely_as_stated():
    won, lost, _ = _rates(range(800), 0.78)
    assert won <= 0.05
    assert lost <= 0.05
    won, _, in_time = _rates(range(800, 1600), 0.73)
    assert won <= 0.05
    assert in_time >= 0.8
    assert _rates(range(1600, 2000), 0.83)[0] >= 0.8


def test_a_step_needs_subjects_and_matured_outcomes_and_without_them_it_holds():
    assert advance(PLAN, FIRST, ENOUGH, []).phase == 1
    for lacking in (
        replace(ENOUGH, subjects=0),
        replace(ENOUGH, outcomes=PLAN.outcomes_min - 1),
        replace(ENOUGH, events=PLAN.events_min - 1),
        replace(ENOUGH, difference=None),
        replace(ENOUGH, difference=Interval(0, -0.06, 0.06)),
    ):
        then = advance(PLAN, FIRST, lacking, [])
        assert (then.state, then.phase) == (RUNNING, 0)
        assert then.reason.startswith("Holds: ")


def test_better_wins_only_when_it_serves_everybody_and_worse_loses_at_once():
    better = replace(ENOUGH, difference=Interval(0.05, 0.01, 0.09))
    assert advance(PLAN, FIRST, better, []).state == RUNNING
    assert advance(PLAN, LAST, better, []).state == WON
    worse = replace(ENOUGH, difference=Interval(-0.05, -0.09, -0.01), subjects=0)
    assert advance(PLAN, FIRST, worse, []).state == LOST
    late = replace(ENOUGH, days=PLAN.days_max)
    assert advance(PLAN, LAST, late, []).state == UNDECIDED


def test_a_guard_outranks_the_test_and_a_wait_for_approval():
    better = replace(ENOUGH, difference=Interval(0.05, 0.01, 0.09))
    won = Standing(WON, 3, "It ranks better.")
    assert advance(PLAN, won, better, []) == won
    then = advance(PLAN, won, better, ["scores have shifted"])
    assert (then.state, then.reason) == (LOST, "A guard stopped it: scores have shifted.")
    assert advance(PLAN, then, better, []) == then


def test_guards_speak_of_impossible_scores_shifts_and_missing_inputs():
    old = np.random.default_rng(1).beta(2, 8, 400)
    assert breaches(old, old, 0.1, PLAN) == []
    assert breaches(old[:10] * 9, old[:10], 0.9, PLAN) == []  # too few to judge
    assert "no probabilities" in breaches(np.append(old[1:], np.nan), old, 0, PLAN)[0]
    assert "have shifted" in breaches(old**0.3, old, 0, PLAN)[0]
    assert "inputs are missing" in breaches(old, old, 0.4, PLAN)[0]


def test_answers_stop_a_canary_where_their_share_is_too_large_beyond_chance():
    assert serving_breaches(Answered(0, 0, 0), PLAN) == []
    assert serving_breaches(Answered(50, 1, 1), PLAN) == []  # 2%, which chance gives 1% often
    # Exact lower 99% bound of 3 in 50 is 0.9%, of 4 in 50 1.7% (R: binom.test(4, 50, conf = 0.98)).
    assert serving_breaches(Answered(50, 3, 0), PLAN) == []
    assert "took over 500 ms" in serving_breaches(Answered(50, 4, 0), PLAN)[0]
    assert "8.0% of the answers failed, 1% allowed" in serving_breaches(Answered(50, 0, 4), PLAN)[0]


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("0.25, 0.5", "0.5, 0.25", "shares must rise"),
        ("alpha: 0.05", "alpha: 5", "alpha must lie between"),
        ("days_max: 365", "days_max: long", "days_max must be a number"),
        ("prior_sd", "prior", "unknown field 'prior'"),
    ],
)
def test_a_bad_canary_plan_is_refused_with_file_and_line(tmp_path, was, now, said):
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir() / "deployment", conf / "deployment")
    (conf / FILE).write_text((conf / FILE).read_text().replace(was, now))
    with pytest.raises(SettingsError, match=rf"conf/{FILE}:\d+ .*{said}"):
        read_canary_plan(conf)


def _at(run, month, day):
    return replace(run, as_of=datetime(2024, month, day, tzinfo=UTC))


def _pass(run, version):
    given = {"model_name": NAME, "model_version": version, "is_passed": True, "reason": "Because."}
    run.lake.append(MODEL_GATE, rows(run.lake, MODEL_GATE, given))


@pytest.mark.soak
def test_a_reversed_version_is_shown_to_few_found_worse_and_stopped_by_its_guard(world):
    staging = replace(world, settings=world.settings.model_copy(update={"env": "staging"}))
    _pass(staging, 1)
    assert promote.execute(_at(staging, 2, 5))["outcome"] == "promoted"
    ages = pd.DataFrame({"age_years": np.linspace(30, 90, 60)})
    register(staging, LogisticRegression().fit(ages, ages.age_years < 50), ages, "two")
    _pass(staging, 2)
    assert promote.execute(_at(staging, 2, 6))["outcome"] == "canary began"
    score.execute(_at(staging, 2, 27))
    made = staging.lake.read(PREDICTION).toPandas()
    served = staging.lake.read(SERVED_PREDICTION).toPandas()
    assert set(made.model_version) == {1, 2}
    assert len(served) == (made.model_version == 1).sum()
    by_subject = served.groupby("research_subject_key").model_version.nunique()
    assert by_subject.max() == 1, "nobody sees two versions in a phase"
    assert 0 < (served.model_version == 2).mean() < 0.2
    late = _at(staging, 7, 30)
    canary = model_deployment._canary(late, 1)
    pairs = model_deployment.paired(late.lake.read(PREDICTION), canary)
    look = model_deployment._look(late, canary, pairs, PLAN)
    assert look.outcomes == len(served)
    assert look.difference.value < -0.4
    assert model_deployment.advance.execute(late)["outcome"] == "canary lost"
    (alert,) = staging.lake.read(ALERT_EVENT).collect()
    assert (alert.kind, "A guard stopped it" in alert.message) == ("canary_stopped", True)
    assert promote.execute(late)["outcome"] == "canary lost"
    assert model_deployment.advance.execute(late) == {"outcome": "no canary"}
    assert staging.lake.read(MODEL_CANARY).count() == 2
