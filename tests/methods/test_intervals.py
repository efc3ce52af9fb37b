"""Intervals against published figures."""

import numpy as np
import pytest

from clinical_lakehouse.methods.intervals import (
    design_effect,
    difference,
    poisson,
    wilson,
)


def test_wilson_interval_equals_newcombes_published_examples():
    # Newcombe 1998 (Stat Med 17:857), table I, method 3: 81/263, 15/148, 0/20, 1/29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0000, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, trials), (low, high) in published.items():
        found = wilson(hits, trials)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_of_nothing_is_none():
    assert wilson(0, 0) is None


def test_exact_poisson_interval_equals_the_published_table():
    # Exact 95% limits of a Poisson count (Garwood 1936; table in Ulm 1990, Am J Epidemiol 131:373).
    published = {0: (0.0, 3.689), 1: (0.025, 5.572), 5: (1.623, 11.668), 10: (4.795, 18.390)}
    for count, limits in published.items():
        found = poisson(count)
        assert (found.low, found.high) == pytest.approx(limits, abs=6e-4)


def test_design_effect_of_rows_copied_within_a_person_is_their_number():
    hits = np.array([1, 0, 0, 1, 0, 0, 1, 1, 0, 0] * 40)
    people = np.arange(hits.size)
    single = design_effect(hits, np.ones_like(hits), people)
    copied = design_effect(np.repeat(hits, 4), np.ones(hits.size * 4), np.repeat(people, 4))
    assert single == pytest.approx(1, abs=0.01)
    assert copied == pytest.approx(4, abs=0.02)


def test_design_effect_without_variation_counts_people_as_rows():
    assert design_effect([1] * 6, [1] * 6, [1, 1, 1, 2, 2, 2]) == 3


def test_difference_of_two_wilson_rates_equals_newcombes_published_interval():
    # Newcombe 1998 (Stat Med 17:873), table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339.
    found = difference(wilson(56, 70), wilson(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
