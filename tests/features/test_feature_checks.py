"""What moved between two index dates is found, what has not is quiet, and days add up."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clinical_lakehouse.features.feature_checks import (
    FAILED,
    PASSED,
    checked,
    day_profile,
    edges_of,
    group_row,
)
from clinical_lakehouse.features.feature_profiling import people_matrix, profiler
from clinical_lakehouse.features.relation_change import relation_changes

LIMIT = 0.2


def _profiles(values, edges, reasons=None):
    told = reasons or {}
    return {
        name: day_profile(own, told.get(name, [None] * len(own)), edges[name])
        for name, own in values.items()
    }


def _two_days(people, features, seed):
    draws = np.random.default_rng(seed)
    names = [f"f{place}" for place in range(features)]
    was, now = ({n: draws.normal(100, 15, people) for n in names} for _ in range(2))
    edges = {name: edges_of(own) for name, own in was.items()}
    return _profiles(was, edges), _profiles(now, edges), was, now


def _failed(rows):
    return {row["feature_name"]: row["kind"] for row in rows if row["state"] == FAILED}


def test_the_profiles_of_days_are_the_months_exactly():
    draws = np.random.default_rng(1)
    month = np.where(draws.random(900) < 0.1, np.nan, draws.normal(50, 9, 900))
    reasons = ["never" if np.isnan(one) else None for one in month]
    edges = edges_of(month[:300])
    days = [
        day_profile(month[at : at + 30], reasons[at : at + 30], edges) for at in range(0, 900, 30)
    ]
    total = days[0]
    for day in days[1:]:
        total = total + day
    assert total == day_profile(month, reasons, edges)
    assert total.reasons == {"known": reasons.count(None), "never": reasons.count("never")}
    assert (total.low, total.high) == (np.nanmin(month), np.nanmax(month))


def test_each_planted_fault_is_found_by_its_kind_and_the_others_are_quiet():
    before, _, was, _ = _two_days(800, 6, seed=2)
    draws = np.random.default_rng(3)
    now = {name: draws.normal(100, 15, 800) for name in was}
    now["f0"] = now["f0"] * 18.016  # another unit
    now["f1"][:400] = np.nan  # half of the values gone, for a reason there was before
    now["f2"][:160] = np.nan  # a fifth, for a reason nobody had
    reasons = {
        "f1": ["never measured"] * 400 + [None] * 400,
        "f2": ["unit-unknown"] * 160 + [None] * 640,
    }
    before["f1"] = replace(before["f1"], reasons={"known": 799, "never measured": 1})
    edges = {name: one.profile.edges for name, one in before.items()}
    rows = checked(before, _profiles(now, edges, reasons), LIMIT)
    assert _failed(rows) == {"f0": "distribution", "f1": "missingness", "f2": "category"}
    by_name = {row["feature_name"]: row for row in rows}
    assert by_name["f0"]["is_outside_range"] and by_name["f2"]["new_category_count"] == 160
    assert by_name["f1"]["missing_ratio"] == pytest.approx(0.5)
    assert by_name["f3"]["ks"] < 0.1 < by_name["f0"]["ks"] and by_name["f0"]["wasserstein"] > 10
    whole = group_row(rows, [], 800)
    assert whole["state"] == FAILED and "f0 (distribution)" in whole["explanation"]


def test_chi_square_of_reasons_is_the_textbooks():
    """Agresti, Introduction to Categorical Data Analysis (2007), table 2.5: party identification of
    women (762, 327, 468) and men (484, 239, 477): X2 = 30.07 on 2 degrees, p < 0.001."""
    edges = (1.0,)
    women, men = (
        replace(
            day_profile(np.ones(3), [None] * 3, edges),
            reasons=dict(zip("dir", counts, strict=True)),
        )
        for counts in ((762, 327, 468), (484, 239, 477))
    )
    (row,) = checked({"party": women}, {"party": men}, LIMIT)
    assert row["chi_square"] == pytest.approx(30.07, abs=0.005)
    assert row["chi_square_p_value"] == pytest.approx(stats.chi2.sf(30.07, 2), rel=0.01)


def _alerts(windows, people, features, seed=0):
    alerts = 0
    for window in range(windows):
        before, now, was, then = _two_days(people, features, seed * 10_000 + window)
        names = list(was)
        sides = [people_matrix(_frame(side), names) for side in (was, then)]
        relations = relation_changes(names, *sides, draws=199)
        alerts += group_row(checked(before, now, LIMIT), relations, people)["state"] == FAILED
    return alerts


def _frame(values):
    rows = [dict(zip(values, own, strict=True)) for own in zip(*values.values(), strict=True)]
    return pd.DataFrame({"feature_values": rows})


def test_quiet_days_pass():
    assert _alerts(20, 200, 10) <= 3  # 0.04 each: four or more once in 600 tries


@pytest.mark.soak
@pytest.mark.parametrize("people", [50, 200, 1000])
def test_of_quiet_days_of_fifty_features_one_in_twenty_fails_at_most(people):
    windows = 500 if people < 1000 else 200
    failed = _alerts(windows, people, 50, seed=people)
    assert stats.binomtest(failed, windows, 0.05, alternative="greater").pvalue > 0.05


def test_a_swapped_relation_of_two_features_is_found_where_each_alone_has_not_moved():
    draws = np.random.default_rng(5)
    names = ["weight", "height", "sodium", "age"]

    def people(sign):
        height = draws.normal(170, 10, 400)
        weight = 70 + sign * 0.9 * (height - 170) + draws.normal(0, 6, 400)
        return np.column_stack(
            [weight, height, draws.normal(140, 3, 400), draws.normal(60, 9, 400)]
        )

    was, now = people(1), people(-1)
    worst, *others = relation_changes(names, was, now)
    assert {worst.feature, worst.other} == {"weight", "height"} and worst.p_value <= 0.01
    assert worst.before > 0.7 and worst.now < -0.7
    assert min(one.p_value for one in others) > 0.01
    edges = {name: edges_of(was[:, place]) for place, name in enumerate(names)}
    sides = [
        _profiles({name: side[:, place] for place, name in enumerate(names)}, edges)
        for side in (was, now)
    ]
    rows = checked(*sides, LIMIT)
    assert not _failed(rows)
    said = group_row(rows, [worst, *others], 400)
    assert said["state"] == FAILED and "(relation)" in said["explanation"]


def test_importance_that_is_lost_is_found_and_only_pairs_with_the_outcome_are_looked_at():
    draws = np.random.default_rng(6)
    names = ["phq9", "age", "dropout"]

    def people(slope):
        phq9, age = draws.normal(0, 1, 500), draws.normal(0, 1, 500)
        left = draws.random(500) < 1 / (1 + np.exp(1 - slope * phq9))
        return np.column_stack([phq9, age, left])

    found = relation_changes(names, people(2.0), people(0.0), outcome="dropout")
    assert [(one.feature, one.other) for one in found] == [("phq9", "dropout"), ("age", "dropout")]
    assert found[0].p_value <= 0.01 < found[1].p_value


def test_constant_and_missing_features_and_few_people_are_no_relations_and_no_faults():
    draws = np.random.default_rng(7)
    rows = np.column_stack([np.full(60, 3.0), np.full(60, np.nan), draws.normal(0, 1, 60)])
    assert relation_changes(["same", "none", "age"], rows, rows) == []
    assert relation_changes(["a", "b"], rows[:10, 1:], rows[:10, 1:]) == []
    values = {"same": rows[:, 0], "none": rows[:, 1]}
    edges = {name: edges_of(own) for name, own in values.items()}
    sides = _profiles(values, edges, {"none": ["never"] * 60})
    assert [row["state"] for row in checked(sides, sides, LIMIT)] == [PASSED, PASSED]


def test_edges_are_frozen_at_the_first_date_with_enough_values_and_stay():
    draws = np.random.default_rng(8)
    day = pd.to_datetime(["2024-01-01"] * 30 + ["2024-01-08"] * 30).date
    values = np.concatenate([draws.normal(0, 1, 30), draws.normal(5, 1, 30)])
    rows = pd.DataFrame({"feature_name": "x", "index_date": day, "value": values, "reason": None})
    first = profiler({})(rows)
    assert first["edges"].iloc[0] == first["edges"].iloc[1] == list(edges_of(values[:30]))
    again = profiler({"x": (0.0, 1.0)})(rows)
    assert again["edges"].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert [sum(counts) for counts in again["counts"]] == [30, 30]
