"""Rates by group by hand; small cells flagged by people, not by rows."""

import pytest

from clinical_lakehouse.methods.fairness import gap, rates_by_group
from clinical_lakehouse.methods.intervals import wilson

GROUPS = ["a"] * 6 + ["b"] * 4
OUTCOMES = [1, 1, 1, 0, 0, 0, 1, 0, 0, 0]
SCORES = [0.9, 0.8, 0.1, 0.7, 0.2, 0.1, 0.2, 0.9, 0.1, 0.1]


def test_rates_are_counted_within_each_group():
    found = rates_by_group(GROUPS, OUTCOMES, SCORES, 0.5)
    a, b = found["a"], found["b"]
    assert (a.true_positive.value, a.false_positive.value) == (2 / 3, 1 / 3)
    assert (a.precision.value, a.selection.value) == (2 / 3, 0.5)
    assert (b.true_positive.value, b.false_positive.value) == (0, 1 / 3)
    assert (a.row_count, a.event_count, b.row_count, b.event_count) == (6, 3, 4, 1)


def test_rates_have_wilson_limits():
    rate = rates_by_group(GROUPS, OUTCOMES, SCORES, 0.5)["a"].selection
    assert (rate.low, rate.high) == (wilson(3, 6).low, wilson(3, 6).high)


def test_a_rate_without_anybody_in_its_denominator_is_none():
    found = rates_by_group(["a"] * 3, [0, 0, 0], [0.1, 0.2, 0.3], 0.5)["a"]
    assert found.true_positive is None
    assert found.precision is None


def test_small_cells_are_those_with_fewer_than_eleven_people():
    rows = [1, 0] * 30
    few = rates_by_group(["a"] * 60, rows, [0.5] * 60, 0.5, clusters=list(range(10)) * 6)["a"]
    enough = rates_by_group(["a"] * 60, rows, [0.5] * 60, 0.5, clusters=list(range(12)) * 5)["a"]
    assert (few.row_count, few.person_count, few.is_small) == (60, 10, True)
    assert not enough.is_small


def test_repeated_rows_of_people_widen_the_limits():
    outcomes, scores = [1, 0] * 20, [0.9, 0.1, 0.2, 0.1] * 10
    plain = rates_by_group(["a"] * 40, outcomes, scores, 0.5)["a"].selection
    repeated = rates_by_group(
        ["a"] * 160,
        [o for o in outcomes for _ in range(4)],
        [s for s in scores for _ in range(4)],
        0.5,
        clusters=[i for i in range(40) for _ in range(4)],
    )["a"].selection
    assert repeated.value == plain.value
    assert repeated.high - repeated.low == pytest.approx(plain.high - plain.low, rel=0.02)


def test_gap_is_largest_less_smallest():
    assert gap([0.2, 0.9, 0.5]) == pytest.approx(0.7)
    assert gap([0.2]) is None
