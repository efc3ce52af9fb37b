"""Detectors over windows: quiet for true models, a turned or risen risk is found, runs add up."""

from datetime import date, timedelta

import numpy as np
import pytest
from scipy.special import expit, logit

from clinical_lakehouse.monitoring.concept_change import (
    ERROR,
    EXCESS_LOSS,
    TOLD,
    advanced,
    signalled,
)
from clinical_lakehouse.monitoring.findings import changes

FIRST = date(2024, 1, 1)


def _streams(seed, truth=lambda risk: risk, since=10, windows=26, size=250):
    draws, made = np.random.default_rng(seed), []
    for window in range(windows):
        risk = expit(-2.7 + 1.1 * draws.normal(size=size))
        event = draws.random(size) < (truth(risk) if window >= since else risk)
        day = FIRST + timedelta(days=28 * window)
        excess, wrong = (event - risk) ** 2 - risk * (1 - risk), (risk >= 0.5) != event
        for metric, losses in ((EXCESS_LOSS, excess), (ERROR, wrong)):
            made.append({"index_date": day, "metric": metric, "losses": [float(x) for x in losses]})
    return made


def _turned(risk):
    return expit(-5.4 - logit(risk))


def _signals(count, *more):
    return [signalled(advanced([], _streams(seed, *more))) for seed in range(count)]


def test_true_models_stay_quiet_for_two_years():
    assert sum(one is not None for one in _signals(25)) <= 1


@pytest.mark.soak
def test_a_hundred_true_models_stay_quiet_for_two_years():
    assert sum(one is not None for one in _signals(100)) <= 5


@pytest.mark.parametrize("truth", [_turned, lambda risk: np.clip(1.8 * risk, 0, 1)])
def test_a_turned_or_risen_risk_is_found_after_it_began(truth):
    found = [one for one in _signals(15, truth) if one]
    assert len(found) >= 13
    began = FIRST + timedelta(days=280)
    assert sum(day >= began for day, _ in found) >= 13
    (told,) = changes(found[0])
    assert told.kind == "concept_change"
    assert changes(None) == []


def test_runs_add_up_and_a_window_is_taken_in_once():
    streams = _streams(3, _turned)
    whole = advanced([], streams)
    half = advanced([], streams[:20])
    assert advanced(half, streams) == advanced(whole, streams) == whole
    assert {row["value_count"] for row in whole} == {26 * 250}
    assert set(TOLD) < {row["detector"] for row in whole}
