"""The measurement_quality job: anomalies by rule with range, from levels written down once."""

from datetime import date, timedelta

import pytest

from clinical_lakehouse.quality.measurement_quality import compare, judge, judge_sites
from clinical_lakehouse.tables.gold_measurement_quality import MEASUREMENT_ANOMALY, SITE_ANOMALY
from clinical_lakehouse.tables.gold_standardization import UNIT_CONVERSION
from clinical_lakehouse.tables.omop_clinical import MEASUREMENT, VISIT_OCCURRENCE
from tests.builders import rows

_DAY = date(2024, 1, 1)
_WEIGHTS = {1: [80.0, 80.4, 79.6, 804.0], 2: [65.0, 65.5, 64.8, 65.2], 3: [91.0, 90.2, 90.9, 91.4]}


def _fill(lake) -> None:
    made = [
        (person * 10 + visit, person, visit, value)
        for person, values in _WEIGHTS.items()
        for visit, value in enumerate(values)
    ]
    conversions = [
        {"measurement_id": key, "person_id": person, "site_key": 1, "loinc": "29463-7",
         "value": value, "unit": "kg", "value_standard": value, "unit_standard": "kg"}
        for key, person, _, value in made
    ]  # fmt: skip
    days = {key: _DAY + timedelta(days=28 * visit + person) for key, person, visit, _ in made}
    # One weight is written three weeks after the visit that it belongs to.
    late = {23: days[23] + timedelta(days=21)}
    measurements = [
        {"measurement_id": key, "person_id": person, "visit_occurrence_id": key,
         "measurement_date": late.get(key, days[key])}
        for key, person, _, _ in made
    ]  # fmt: skip
    visits = [
        {"visit_occurrence_id": key, "person_id": person, "visit_start_date": days[key],
         "visit_end_date": days[key]}
        for key, person, _, _ in made
    ]  # fmt: skip
    for table, given in (
        (UNIT_CONVERSION, conversions), (MEASUREMENT, measurements), (VISIT_OCCURRENCE, visits),
    ):  # fmt: skip
        lake.append(table, rows(lake, table, *given))


@pytest.mark.soak
def test_what_is_planted_is_listed_once_with_its_range(run):
    _fill(run.lake)
    assert compare.execute(run) == {"measurement_count": 12}
    told = judge.execute(run)
    found = {(r.measurement_id, r.rule): r for r in run.lake.read(MEASUREMENT_ANOMALY).collect()}
    assert set(found) == {
        (13, "decimal_slip"),
        (13, "robust_z"),
        (13, "reference_change"),
        (23, "date_shift"),
    }
    slip = found[13, "decimal_slip"]
    assert (slip.detail, slip.value) == ("10 times", 804.0)
    assert 70 < slip.expected_low < 80.2 < slip.expected_high < 90
    late = found[23, "date_shift"]
    assert (late.value, late.expected_low, late.expected_high) == (21, -1, 1)
    assert told == {
        "date_shift_count": 1,
        "decimal_slip_count": 1,
        "reference_change_count": 1,
        "robust_z_count": 1,
    }
    assert judge_sites.execute(run) == {"site_anomalies": 0}
    assert run.lake.read(SITE_ANOMALY).isEmpty()
