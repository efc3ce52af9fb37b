"""Months told apart: exact tests where dates are true, the right month where they are shifted."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clinical_lakehouse.methods.month_effects import membership, month_effects

MARCH, APRIL = pd.Period("2024-03"), pd.Period("2024-04")


def _days(months, each):
    return [pd.Timestamp(2024, month, 1 + n % 28) for month in months for n in range(each)]


def _scores(values):
    return stats.norm.ppf(stats.rankdata(values, axis=0) / (len(values) + 1))


def test_true_dates_belong_to_their_own_month():
    known = membership(_days([3, 5], 3), 0)
    assert [str(month) for month in known.months] == ["2024-03", "2024-04", "2024-05"]
    np.testing.assert_array_equal(known.weights, [[1, 0, 0]] * 3 + [[0, 0, 1]] * 3)


def test_shifted_dates_belong_to_months_by_the_days_they_may_come_from():
    # 1 April give or take 10 days: 10 days of March, 11 of April. Where every day is as likely,
    # the chances are as 10 to 11; many people per month on every day make them nearly so.
    days = [*pd.date_range("2024-01-01", "2024-06-30"), pd.Timestamp("2024-04-01")]
    known = membership(days, 10)
    weights = dict(zip(map(str, known.months), known.weights[-1], strict=True))
    assert weights["2024-03"] == pytest.approx(10 / 21, abs=0.02)
    assert weights["2024-04"] == pytest.approx(11 / 21, abs=0.02)
    np.testing.assert_allclose(known.weights.sum(axis=1), 1)


def test_one_measure_and_two_months_give_the_p_value_of_students_t_test():
    values = np.random.default_rng(1).normal(size=(130, 1))
    values[90:] += 0.5
    known = membership(_days([3], 90) + _days([4], 40), 0)
    effect = month_effects(values, known, APRIL, 0.01)[APRIL]
    scores = _scores(values)[:, 0]
    assert effect.p_value == pytest.approx(stats.ttest_ind(scores[:90], scores[90:]).pvalue)
    assert effect.people == pytest.approx(1 / (1 / 90 + 1 / 40))


def test_several_measures_give_the_p_value_of_wilks_lambda():
    # For two groups Wilks' lambda |W| / |W + B| gives the same F (Mardia, Kent and Bibby 1979).
    values = np.random.default_rng(2).normal(size=(110, 3))
    values[80:] += [0.3, 0, 0.2]
    known = membership(_days([3], 80) + _days([4], 30), 0)
    effect = month_effects(values, known, APRIL, 0.01)[APRIL]
    scores = _scores(values)
    within = sum((len(g) - 1) * np.cov(g.T) for g in (scores[:80], scores[80:]))
    wilks = np.linalg.det(within) / np.linalg.det(109 * np.cov(scores.T))
    ratio = (1 - wilks) / wilks * (110 - 3 - 1) / 3
    assert effect.p_value == pytest.approx(stats.f.sf(ratio, 3, 106))


def test_without_a_move_the_distance_is_zero_on_average_and_errors_are_as_many_as_stated():
    draws = np.random.default_rng(3)
    known = membership(_days([1, 2, 3, 4], 40), 30)
    found = [
        month_effects(draws.exponential(size=(160, 2)), known, APRIL, 0.001)[APRIL]
        for _ in range(600)
    ]
    assert np.mean([one.p_value < 0.05 for one in found]) == pytest.approx(0.05, abs=0.025)
    spread = np.std([one.distance for one in found]) / np.sqrt(600)
    assert abs(np.mean([one.distance for one in found])) < 3 * spread


def _moved_months(seed, moved):
    """60 people a month from January to July, those of one month moved by 1.5 in both measures,
    dates shifted by up to 30 days; new since May. Which months are found?"""
    draws = np.random.default_rng(seed)
    true = np.array(_days(range(1, 8), 60))
    month = np.array([day.month for day in true])
    values = draws.normal(size=(len(true), 2)) + 1.5 * (month == moved)[:, None]
    shifts = pd.to_timedelta(draws.choice([d for d in range(-30, 31) if d], len(true)), "D")
    known = membership(pd.DatetimeIndex(true) + shifts, 30)
    error = 0.01 / len(known.months)
    found = month_effects(values, known, pd.Period("2024-05"), error)
    return {m.month for m, one in found.items() if one.p_value < error}


def test_a_moved_new_month_is_told_from_its_neighbours_through_shifted_dates():
    found = [_moved_months(seed, 5) for seed in range(20)]
    assert sum(months == {5} for months in found) >= 18


def test_a_moved_month_of_the_reference_is_found_and_its_neighbours_are_not():
    found = [_moved_months(seed, 3) for seed in range(20)]
    assert sum(3 in months for months in found) >= 14
    assert sum(bool(months & {2, 4}) for months in found) <= 1


def test_without_a_moved_month_hardly_any_is_found():
    assert sum(bool(_moved_months(seed, None)) for seed in range(20)) <= 1


def test_a_move_of_several_measures_together_is_seen_where_none_alone_shows_it():
    draws = np.random.default_rng(5)
    line, step = draws.normal(size=160), draws.normal(0, 0.25, 160)
    moved = np.where(np.arange(160) < 120, 0, 0.6)
    values = np.column_stack([line - step - moved / 2, line + step + moved / 2])
    known = membership(_days([3], 120) + _days([4], 40), 0)
    together = month_effects(values, known, APRIL, 0.01)[APRIL].p_value
    alone = [month_effects(values[:, [i]], known, APRIL, 0.01)[APRIL].p_value for i in (0, 1)]
    assert together < 1e-4
    assert min(alone) > 0.001


def test_missing_values_count_as_the_median_and_constant_measures_drop_out():
    known = membership(_days([3, 4], 20), 0)
    values = np.random.default_rng(6).normal(size=(40, 1))
    values[7] = np.nan
    constant = np.hstack([values, np.full((40, 1), 5.0)])
    alone, both = (month_effects(v, known, APRIL, 0.01)[APRIL] for v in (values, constant))
    assert both == alone
    assert month_effects(np.full((40, 1), 5.0), known, APRIL, 0.01) == {}
