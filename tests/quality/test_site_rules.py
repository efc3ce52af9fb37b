"""Sites that shift or favour a digit are told, honest ones beside them are not."""

import random
from datetime import date, timedelta

from clinical_lakehouse.quality.site_rules import digit_preferences, site_shifts

_FIRST = date(2024, 1, 1)


def _weeks(draws, sites=8, weeks=40, shifted=None):
    """Weekly means of ten values of spread 1 at each site; `shifted` rises by 0.8 in week 20."""
    return [
        {
            "site_key": site,
            "loinc": "x",
            "week": _FIRST + timedelta(weeks=week),
            "n": 10,
            "mean": draws.gauss(0.8 if site == shifted and week >= 20 else 0.0, 10**-0.5),
        }
        for site in range(sites)
        for week in range(weeks)
    ]


def test_a_site_that_shifts_is_told_with_its_week_and_no_other():
    draws, found = random.Random(3), []
    for _ in range(50):
        found += [(s["site_key"], s["since"]) for s in site_shifts(_weeks(draws, shifted=2))]
    right = [since for site, since in found if site == 2]
    assert len(right) >= 48
    near = [abs((since - _FIRST).days / 7 - 20) <= 3 for since in right]
    assert sum(near) >= 0.8 * len(right)
    assert len(found) - len(right) <= 0.01 * 50 * 7


def test_sites_in_control_hardly_ever_signal():
    draws = random.Random(4)
    assert sum(len(site_shifts(_weeks(draws))) for _ in range(100)) <= 0.01 * 100 * 8


def test_two_sites_cannot_say_which_one_moved():
    assert site_shifts(_weeks(random.Random(5), sites=2, shifted=1)) == []


def _digits(shares, loinc="x"):
    return [
        {"site_key": site, "loinc": loinc, "digit": digit, "n": n}
        for site, counts in shares.items()
        for digit, n in enumerate(counts)
    ]


def test_a_favourite_digit_is_told_with_its_share_and_the_others_range():
    even, rounding = [20, 19, 21, 20, 18, 22, 20, 20, 19, 21], [110, 8, 10, 9, 8, 27, 9, 7, 6, 6]
    (one,) = digit_preferences(_digits({1: even, 2: even, 3: rounding, 4: even}))
    assert (one["site_key"], one["detail"]) == (3, "share of values that end in 0")
    assert (one["value"], one["expected_low"] < 0.1 < one["expected_high"]) == (0.55, True)


def test_a_site_that_writes_a_digit_more_accuses_no_other():
    whole, tenths = [200, *[0] * 9], [20] * 10
    found = digit_preferences(_digits({1: whole, 2: whole, 3: tenths, 4: whole}))
    assert {one["site_key"] for one in found} <= {3}


def test_few_values_accuse_nobody():
    few = {1: [9] * 10, 2: [9] * 10, 3: [60, *[1] * 9]}
    assert digit_preferences(_digits(few)) == []
