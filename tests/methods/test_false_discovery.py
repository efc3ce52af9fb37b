"""Benjamini and Hochberg's own example, and the rate where nothing is to be found."""

import numpy as np
from scipy import stats

from clinical_lakehouse.methods.false_discovery import benjamini_hochberg

# Benjamini and Hochberg 1995, section 3.2: 15 tests of thrombolysis, four hold at 0.05.
PUBLISHED = (
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
    *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
)


def test_the_published_example_holds_four():
    assert benjamini_hochberg(dict(enumerate(PUBLISHED)), 15, 0.05) == {0, 1, 2, 3}


def test_it_holds_what_scipys_adjusted_p_values_hold():
    draws = np.random.default_rng(3).beta(0.3, 1, 200)
    wanted = {n for n, p in enumerate(stats.false_discovery_control(draws)) if p <= 0.1}
    assert benjamini_hochberg(dict(enumerate(draws)), 200, 0.1) == wanted


def test_tests_not_listed_count_in_the_family():
    assert benjamini_hochberg({"a": 0.01}, 1, 0.05) == {"a"}
    assert benjamini_hochberg({"a": 0.01}, 10, 0.05) == set()
    assert benjamini_hochberg({}, 10, 0.05) == set()
