"""The smooth calibration curve is loess, and ICI its mean distance from the risks."""

import numpy as np
import pytest
from statsmodels.nonparametric.smoothers_lowess import lowess

from clinical_lakehouse.methods.smooth_calibration import (
    integrated_calibration_index,
    smooth_curve,
)


@pytest.fixture(scope="module")
def calibrated():
    """3,000 people whose risks come true exactly as predicted."""
    draws = np.random.default_rng(4)
    risks = 1 / (1 + np.exp(1.2 - draws.normal(0, 1.2, 3000)))
    return draws.random(3000) < risks, risks


def test_the_curve_is_statsmodels_lowess(calibrated):
    events, risks = (one[:1500] for one in calibrated)
    found = smooth_curve(events, risks)
    theirs = lowess(events.astype(float), risks, frac=0.75, it=0, xvals=found.predicted)
    assert found.observed == pytest.approx(np.clip(theirs, 0, 1), abs=1e-9)


def test_index_is_near_nothing_where_risks_are_true_and_the_shift_where_they_are_not(calibrated):
    events, risks = calibrated
    assert integrated_calibration_index(events, risks, draws=0).value < 0.02
    high = np.clip(risks + 0.1, 0, 1)
    assert integrated_calibration_index(events, high, draws=0).value == pytest.approx(0.1, abs=0.02)


def test_bins_of_many_rows_change_the_index_by_little(calibrated):
    events, risks = calibrated
    few, many = events[:2000], np.tile(events[:2000], 3)
    once = integrated_calibration_index(few, risks[:2000], draws=0)
    thrice = integrated_calibration_index(many, np.tile(risks[:2000], 3), draws=0)
    assert thrice.value == pytest.approx(once.value, abs=1e-3)


def test_rows_of_one_person_widen_the_interval(calibrated):
    events, risks = (np.repeat(one[:200], 4) for one in calibrated)
    people = np.repeat(np.arange(200), 4)
    alone = integrated_calibration_index(events, risks, draws=100)
    whole = integrated_calibration_index(events, risks, people, draws=100)
    assert whole.high - whole.low > 1.4 * (alone.high - alone.low)


def test_one_risk_for_everybody_has_no_curve():
    assert smooth_curve([0, 1, 1], [0.3] * 3) is None
    assert integrated_calibration_index([], []) is None
