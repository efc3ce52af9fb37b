"""The Cox model gives published fits; a planted world gives what was planted."""

import numpy as np
import pandas as pd
import pytest

from clinical_lakehouse.training.follow_up import DEATH, DROPOUT
from clinical_lakehouse.training.time_to_event import (
    fit_cox,
    risks_by,
    survival_curves,
    survival_figures,
)


def _fit(data, time, event, inputs):
    """Coefficients per unit of the input, of a fit without ridge."""
    rows = data[inputs].astype(float).assign(days=data[time], cause=event.astype(int))
    rows = rows.dropna()
    found = fit_cox(rows, inputs, 1)
    ratios = {name: np.log(value) for name, value, *_ in found.ratios()}
    return {name: ratios[name] / found.scale[name] for name in inputs}


@pytest.fixture(autouse=True)
def _without_ridge(monkeypatch, request):
    if "published" in request.node.name:
        monkeypatch.setattr("clinical_lakehouse.training.time_to_event._RIDGE", 0.0)


def test_published_fit_of_the_lung_data(public_data):
    """coxph(Surv(time, status) ~ age + sex + ph.ecog, lung), R's survival: 0.011067, -0.552612,
    0.463728."""
    lung = pd.read_csv(public_data("trial_survival") / "lung.csv")
    found = _fit(lung, "time", lung["status"] == 1, ["age", "sex", "ph.ecog"])
    assert list(found.values()) == pytest.approx([0.011067, -0.552612, 0.463728], abs=2e-5)


def test_published_fit_of_recidivism(public_data):
    """Rossi et al. 1980 in Fox and Weisberg's appendix on Cox regression: table of coefficients."""
    rossi = pd.read_csv(public_data("trial_survival") / "rossi.csv")
    inputs = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
    found = _fit(rossi, "week", rossi["arrest"] == 1, inputs)
    published = [-0.37942, -0.05744, 0.31390, -0.14980, -0.43370, -0.08487, 0.09150]
    assert list(found.values()) == pytest.approx(published, abs=2e-5)


def test_published_hazard_ratio_of_hormone_therapy(public_data):
    """GBSG2 (Schumacher et al. 1994): log hazard ratio of hormone therapy alone -0.364."""
    data = pd.read_csv(public_data("trial_survival") / "gbsg2.csv")
    data = data.assign(horTh=(data["horTh"] == "yes").astype(float))
    found = _fit(data, "time", data["cens"] == 1, ["horTh"])
    assert found["horTh"] == pytest.approx(-0.364, abs=5e-4)


def _world(people=1200, seed=1) -> pd.DataFrame:
    """Dropout hazard 0.004 a day times exp(0.8 PHQ-9), death 0.002; PHQ-9 is standard normal."""
    draws = np.random.default_rng(seed)
    score = draws.normal(0, 1, people)
    times = np.array([
        draws.exponential(1 / (0.004 * np.exp(0.8 * score))),
        draws.exponential(500, people),
        draws.uniform(100, 400, people),
    ])  # fmt: skip
    return pd.DataFrame(
        {
            "subject_key": np.arange(people),
            "index_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(people) % 50, "D"),
            "sex": draws.choice(["female", "male"], people),
            "age_years": draws.normal(0, 1, people),
            "hba1c_baseline": np.nan,
            "condition_count": draws.normal(0, 1, people),
            "phq9_baseline": score,
            "days": np.ceil(times.min(axis=0)),
            "cause": np.array([1, 2, 0])[times.argmin(axis=0)],
        }
    )


@pytest.fixture(scope="module")
def world():
    return _world()


def test_planted_hazards_are_found(world):
    found = {(one["metric"], one["term"]): one for one in survival_figures(world, 90)}
    ratio = found["hazard_ratio", "phq9_baseline"]
    assert ratio["low"] < np.exp(0.8) < ratio["high"] and ratio["p_value"] < 1e-6
    assert found["hazard_ratio", "age_years"]["p_value"] > 0.01
    assert found["log_rank", "sex"]["p_value"] > 0.01
    assert found["harrell_c", "90 days"]["value"] == pytest.approx(0.7, abs=0.04)
    assert found["brier", "90 days"]["value"] < found["brier_without_model", "90 days"]["value"]


def test_dropout_beside_death_is_less_than_kaplan_meier_says(world):
    curves = pd.DataFrame(survival_curves(world))
    last = {name: own[own.time_days <= 90]["value"].iloc[-1]
            for name, own in curves[curves.group_value == "all"].groupby("curve")}  # fmt: skip
    excess = last["dropout_kaplan_meier"] - last["dropout"]
    (stated,) = [one["value"] for one in survival_figures(world, 90)
                 if one["metric"] == "kaplan_meier_excess"]  # fmt: skip
    assert stated == pytest.approx(excess) and 0.01 < excess < 0.05
    assert last["death"] > 0.08
    assert curves["at_risk_count"].min() >= 11
    assert set(curves["group_value"]) == {"all", "female", "male"}


def test_too_few_events_are_curves_without_a_model(world):
    few = world[:30].assign(cause=0)
    assert survival_figures(few, 90) == []
    assert {one["metric"] for one in survival_figures(world[:40], 90)} <= {
        "log_rank", "kaplan_meier_excess",
    }  # fmt: skip
    assert not [one for one in survival_curves(few) if one["value"] > 0]
    assert (world["cause"] == DROPOUT).sum() > 300


def test_risks_are_true_where_death_is_modelled_too_and_too_high_where_it_is_not():
    """Dropout at 0.004 a day, death at 0.012 and nothing told by any input: by day 90 the truth is
    a quarter of 1 - exp(-1.44) = 0.191, without death it would be 1 - exp(-0.36) = 0.302."""
    draws = np.random.default_rng(6)
    world = _world(3000, seed=6)
    times = np.array([draws.exponential(250, 3000), draws.exponential(1 / 0.012, 3000)])
    world = world.assign(days=np.ceil(times.min(axis=0)), cause=times.argmin(axis=0) + 1)
    models = [fit_cox(world, ["age_years"], cause) for cause in (DROPOUT, DEATH)]
    both, alone = (risks_by(90, world, models[0], other) for other in (models[1], None))
    assert both.mean() == pytest.approx(0.191, abs=0.015)
    assert alone.mean() == pytest.approx(0.302, abs=0.025)
    assert both.mean() == pytest.approx(((world.days <= 90) & (world.cause == 1)).mean(), abs=0.005)


def test_the_planted_worlds_deaths_are_modelled_and_predictions_come_true(world):
    found = {(one["metric"], one["term"]): one for one in survival_figures(world, 90)}
    assert found["death_hazard_ratio", "phq9_baseline"]["p_value"] > 0.01
    assert found["observed_expected", "90 days"]["value"] == pytest.approx(1, abs=0.2)
