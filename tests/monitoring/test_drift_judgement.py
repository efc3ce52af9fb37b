"""Planted changes are named; mixes are told from drift; quiet days stay quiet."""

import numpy as np
import pandas as pd
import pytest

from clinical_lakehouse.methods.drift_verdict import Profile, psi_between
from clinical_lakehouse.monitoring.drift_judgement import (
    ALL,
    CASE_MIX,
    DRIFT,
    Question,
    drift_rows,
    named_change,
)
from clinical_lakehouse.monitoring.feature_profiles import (
    CURRENT,
    TRAINING,
    Described,
    describe_codes,
)
from clinical_lakehouse.monitoring.sampling import EDGES
from tests.monitoring.simulated_features import FEATURES, profiled, trial

QUESTION = Question(0.2, 0.05, ("age_years",))


def _rows(found):
    return drift_rows(found, TRAINING, QUESTION)


def _states(found, state=DRIFT):
    return {(row["site"], row["feature_name"]) for row in _rows(found) if row["state"] == state}


def test_quiet_days_alert_rarely():
    assert sum(bool(_states(trial(seed))) for seed in range(40)) <= 4


@pytest.mark.soak
def test_at_most_five_of_a_hundred_quiet_days_alert():
    assert sum(bool(_states(trial(seed))) for seed in range(400)) <= 26


def test_a_device_that_changed_at_one_site_is_drift_there():
    def worn(site, feature, values, draws):
        return values + 25 if (site, feature) == ("3", "heart_rate_mean") else values

    found = _states(trial(1, worn))
    assert found == {("3", "heart_rate_mean")}


def test_a_new_site_of_old_people_is_another_mix_of_cases():
    def older(site, feature, values, draws):
        return values + 60 if (site, feature) == ("9", "age_years") else values

    found = trial(2, older, sites=("1", "2", "3", "9", "10", "11"))
    mixed = trial(2, lambda s, f, v, d: v + 60 if f == "age_years" and int(s) > 6 else v,
                  sites=("1", "2", "3", "9", "10", "11"))  # fmt: skip
    assert _states(found) | _states(mixed) == set()
    assert _states(mixed, CASE_MIX) == {(ALL, "age_years")}


def test_a_change_at_all_sites_is_drift_over_all():
    found = trial(4, lambda s, f, v, d: v + 12 if f == "weight_latest" else v)
    assert (ALL, "weight_latest") in _states(found)
    assert _states(found, CASE_MIX) == set()


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("unit", lambda v, d: v / 18.016, "0.0555"),
        ("unit", lambda v, d: v * 10, "10 times"),
        (
            "missingness",
            lambda v, d: np.where(d.random(v.size) < 0.6, np.nan, v),
            "0% were missing",
        ),
        ("distribution", lambda v, d: v + 30, "the median was"),
    ],
)
def test_what_changed_is_named(kind, change, said):
    found = trial(3, lambda s, f, v, d: change(v, d) if f == "glucose_latest" else v)
    rows = [r for r in _rows(found) if r["feature_name"] == "glucose_latest" and r["site"] == ALL]
    (row,) = rows
    assert (row["state"], row["kind"]) == (DRIFT, kind)
    assert said in row["explanation"]


def test_codes_of_another_system_are_named_as_such():
    was = describe_codes(pd.Series(["A", "B"] * 50), ("A", "B"))
    now = describe_codes(pd.Series(["A", "10-A", "10-B", None] * 25), ("A", "B"))
    edges = (0.5, 1.5)
    sides = [Described(Profile(edges, tuple(one["counts"])), None, None, one["unknown_count"])
             for one in (was, now)]  # fmt: skip
    kind, said = named_change(*sides)
    assert (kind, said) == ("missingness", "0% were missing, now 25%")
    full = describe_codes(pd.Series(["A", "10-A", "10-B", "B"] * 25), ("A", "B"))
    last = Described(Profile(edges, tuple(full["counts"])), None, None, full["unknown_count"])
    assert named_change(sides[0], last) == ("code", "50% of the codes were not known before")


def test_how_often_is_measured_is_no_change_of_values():
    often, rare = (Described(Profile((2.5,), (20, 80, 0)), days, 1.0) for days in (4.0, 1.0))
    kind, said = named_change(often, rare, is_frequency=True)
    assert kind == "sampling_frequency"
    assert said == "measured on 4 days of 28 in the middle, now on 1"


def test_who_is_measured_less_than_a_reference_that_is_all_alike_stands_out():
    edges = EDGES["glucose_frequency"]
    was, now = (Profile.of(np.full(80, days), edges) for days in (4.0, 1.0))
    assert psi_between(was, now) > 1


def test_a_slow_drift_is_silent_week_on_week_and_found_against_training_within_12_weeks():
    draws = np.random.default_rng(6)

    def week(number):
        return {("1", f): draws.normal(100 * 1.01**number, 15, 400) for f in FEATURES}

    weeks = [week(n) for n in range(13)]
    against_training = [bool(_states(profiled(weeks[0], weeks[n]))) for n in range(1, 13)]
    week_on_week = [bool(_states(profiled(weeks[n - 1], weeks[n]))) for n in range(1, 13)]
    assert any(against_training)
    assert not any(week_on_week)


def test_sites_of_few_subjects_are_not_judged_alone():
    small = trial(1, size=9)
    assert {row["site"] for row in _rows(small)} == {ALL}
    assert _rows({key: one for key, one in small.items() if key[1] == CURRENT}) == []
