"""Change detectors signal where river's do; the cusum is Montgomery's; state outlives a run."""

import json

import numpy as np
import pytest
from river import drift
from river.drift import binary

from clinical_lakehouse.methods.change_detection import (
    adwin,
    cusum,
    ddm,
    hddm_a,
    page_hinkley,
    watch,
)

# Montgomery, Introduction to Statistical Quality Control, table 9.1: 20 values in control at 10,
# then 10 with the mean at 11.
MONTGOMERY = (
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34),
    *(9.03, 11.47, 10.51, 9.40, 10.08, 9.37, 10.62, 10.31, 8.52, 10.84),
    *(10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
)


def _numbers(seed, jump=1.0):
    draws = np.random.default_rng(seed)
    return np.r_[draws.normal(0.3, 0.2, 1000), draws.normal(0.3 + jump, 0.2, 1000)]


def _errors(seed, later=0.45):
    draws = np.random.default_rng(seed)
    return np.r_[draws.random(1000) < 0.2, draws.random(1000) < later].astype(int)


def _river(detector, values):
    places = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            places.append(place)
    return tuple(places)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (adwin, drift.ADWIN, _numbers),
        (page_hinkley, lambda: drift.PageHinkley(mode="up"), _numbers),
        (ddm, binary.DDM, _errors),
        (hddm_a, binary.HDDMA, _errors),
    ],
    ids=["adwin", "page_hinkley", "ddm", "hddm_a"],
)
def test_signals_stand_where_rivers_stand(ours, theirs, values, seed):
    stream = values(seed)
    found = watch(ours(), None, stream).signals
    assert found == _river(theirs(), stream)
    assert any(place >= 1000 for place in found)


@pytest.mark.parametrize("make", [adwin, page_hinkley, ddm, hddm_a], ids=lambda m: m.__name__)
def test_state_handed_on_as_json_gives_what_one_run_gives(make):
    stream = _errors(5) if make in (ddm, hddm_a) else _numbers(5)
    whole = watch(make(), None, stream)
    state, signals = None, []
    for start in range(0, 2000, 170):
        part = watch(make(), state, stream[start : start + 170])
        state = json.loads(json.dumps(part.state))
        signals += [start + place for place in part.signals]
    assert (tuple(signals), state) == (whole.signals, json.loads(json.dumps(whole.state)))


def test_montgomerys_cusum_signals_at_the_29th_value():
    # Example 9.1, K = 0.5 and H = 5: the table gives C+ 5.28 at the 29th value, C- 0.05, 1.56 and
    # 1.77 for the first three.
    sums = [watch(cusum(10, 0.5, 5), None, MONTGOMERY[:n]).state for n in range(1, 30)]
    assert sums[28]["high"] == pytest.approx(5.28)
    assert [one["low"] for one in sums[:3]] == pytest.approx([0.05, 1.56, 1.77])
    assert watch(cusum(10, 0.5, 5), None, MONTGOMERY).signals[0] == 28
