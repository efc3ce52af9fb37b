"""Riley's criteria give the figures of their authors' worked examples."""

import pytest

from clinical_lakehouse.methods.sample_size import (
    binary_sample_size,
    enough_yet,
    survival_sample_size,
)


def test_the_worked_example_of_a_yes_or_no_outcome():
    """Chagas disease: 24 parameters, prevalence 0.174, R2 0.288 (Riley et al. 2019, section 6, and
    the help of their Stata command pmsampsize): 623, 662 and 221 people, 4.8 events a parameter."""
    found = binary_sample_size(24, 0.174, 0.288)
    assert (found.overfitting, found.optimism, found.overall_risk) == (623, 662, 221)
    assert found.people == 662
    assert found.events_per_parameter == pytest.approx(4.8, abs=0.005)


def test_the_worked_example_of_a_time_to_an_event():
    """Recurrent venous thromboembolism: 30 parameters, 0.065 events a person-year, mean follow-up
    2.07 years, horizon 2 years, R2 0.051 (the same sources): 5,143 and 1,039 people, 23.07 events a
    parameter."""
    found = survival_sample_size(30, 0.065, 2.07, 2, 0.051)
    assert (found.overfitting, found.optimism) == (5143, 1039)
    assert found.people == 5143
    assert found.events_per_parameter == pytest.approx(23.07, abs=0.005)


def test_the_overall_risk_is_as_precise_as_asked_and_no_more_people_are_asked_for():
    import math

    def upper(people):
        error = 1.959964 * math.sqrt(0.065 / (2.07 * people))
        return math.exp(-0.065 * 2) - math.exp(-(0.065 + error) * 2)

    needed = survival_sample_size(30, 0.065, 2.07, 2, 0.051).overall_risk
    assert upper(needed) <= 0.05 < upper(needed - 1)


def test_not_enough_yet_says_for_how_many_weeks():
    assert enough_yet(600, 662, 10).weeks == 7
    assert enough_yet(662, 662, 0) == enough_yet(662, 662, 99)
    assert not enough_yet(1, 662, 0).is_enough and enough_yet(1, 662, 0).weeks is None
