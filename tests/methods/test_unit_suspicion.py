"""Levels of sites: what is off by a unit is suspected, what is merely off is not."""

from dataclasses import replace
from math import log

import pytest

from clinical_lakehouse.methods.unit_suspicion import SiteLevel, suspicions

GLUCOSE = "2345-7"
HONEST = [
    SiteLevel(site, GLUCOSE, "mg/dL", 20, log(level), 0.12)
    for site, level in enumerate((180.0, 175.0, 186.0, 183.0), 1)
]


def _site(level, **changes):
    return replace(HONEST[0], site_key=9, log_median=log(level), **changes)


def test_honest_sites_are_not_suspected():
    assert suspicions(HONEST) == []


@pytest.mark.parametrize(
    ("level", "unit"), [(10.0, "mmol/L"), (0.181, "g/dL"), (1.81, "g/L"), (1810.0, "mg/L")]
)
def test_a_level_off_by_a_unit_names_the_unit(level, unit):
    (found,) = suspicions([*HONEST, _site(level)])
    assert (found.site_key, found.suspected_unit, found.site_count) == (9, unit, 5)
    assert found.ratio == pytest.approx(level / 181.5, rel=0.01)
    assert abs(log(found.ratio / found.expected_ratio)) <= found.bound


def test_a_level_off_by_no_known_factor_is_not_called_a_unit():
    assert suspicions([*HONEST, _site(60.0)]) == []


def test_a_site_of_few_people_or_without_others_is_not_judged():
    assert suspicions([*HONEST, _site(10.0, person_count=4)]) == []
    assert suspicions([HONEST[0], _site(10.0)]) == []


def test_temperature_in_fahrenheit_is_seen_through_its_offset():
    warm = [replace(h, loinc="8310-5", unit="Cel", log_median=log(36.7), log_mad=0.005)
            for h in HONEST]  # fmt: skip
    (found,) = suspicions([*warm, replace(warm[0], site_key=9, log_median=log(98.1))])
    assert found.suspected_unit == "[degF]"
