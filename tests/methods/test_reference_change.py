"""Reference change values: the formula's published constants, and a published value."""

import pytest

from clinical_lakehouse.methods.reference_change import (
    WITHIN_SUBJECT_CV,
    Z_99,
    desirable_analytical_cv,
    reference_change_value,
)


def test_constants_are_frasers():
    """2.77 at 95% and 3.65 at 99% times the total variation (Fraser 2001)."""
    assert reference_change_value(0, 1) == pytest.approx(2.77, abs=0.005)
    assert reference_change_value(0, 1, Z_99) == pytest.approx(3.65, abs=0.005)


def test_both_variations_add_as_squares():
    assert reference_change_value(3, 4) == pytest.approx(5 * reference_change_value(0, 1))


def test_half_of_the_biological_is_the_guide_of_ricos():
    """Ricos et al. 2004 (Scand J Clin Lab Invest 64:175-184): with CVa half of CVi at 95%, RCV is
    2.77 * sqrt(1.25) = 3.1 times CVi: 18.4% for creatinine."""
    within = WITHIN_SUBJECT_CV["2160-0"]
    value = reference_change_value(desirable_analytical_cv(within), within)
    assert value == pytest.approx(18.4, abs=0.1)
