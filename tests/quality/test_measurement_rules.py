"""Planted faults in measurements are found by their rule, and clean rows are left alone."""

from collections import defaultdict
from functools import reduce

import pytest
from pyspark.sql import DataFrame

from clinical_lakehouse.quality import measurement_rules as rules
from clinical_lakehouse.quality import measurement_visits as visits
from clinical_lakehouse.quality.measurement_series import with_reference
from clinical_lakehouse.quality.site_rules import (
    digit_preferences,
    last_digits,
    site_shifts,
    weekly_levels,
)
from tests.quality.planted_measurements import PREFERRED_SITE, SHIFTED_SITE, plant

_SCHEMA = (
    "measurement_id BIGINT, person_id BIGINT, site_key BIGINT, loinc STRING, unit_flag STRING, "
    "day DATE, at TIMESTAMP, visit_occurrence_id BIGINT, visit_start_date DATE, "
    "visit_end_date DATE, value DOUBLE, level DOUBLE, unit STRING"
)
_RULES = (
    *(rules.outliers, rules.changes, visits.copied_visits, visits.swapped_subjects),
    *(visits.shifted_dates, visits.frozen_devices),
)


@pytest.fixture(scope="module")
def planted():
    return plant()


@pytest.fixture(scope="module")
def series(spark, planted):
    rows = [tuple(row.values()) for row in planted.rows]
    return with_reference(spark.createDataFrame(rows, _SCHEMA)).localCheckpoint()


@pytest.fixture(scope="module")
def told(series):
    """By rule, the rows that it tells, by measurement."""
    factors = rules.factor_rows(rules.typical_levels(series))
    made = [rules.scale_errors(series, factors), *(rule(series) for rule in _RULES)]
    found = defaultdict(dict)
    for row in reduce(DataFrame.unionByName, made).collect():
        assert row.measurement_id not in found[row.rule], "one row per measurement and rule"
        found[row.rule][row.measurement_id] = row
    return found


def _recall(told, planted, rule):
    return len(planted.faults[rule] & told[rule].keys()) / len(planted.faults[rule])


@pytest.mark.parametrize("rule", ["unit_mixup", "decimal_slip"])
def test_units_and_slips_are_found_and_told_apart(told, planted, rule):
    assert len(planted.faults[rule]) > 40
    assert _recall(told, planted, rule) >= 0.95
    clean = {row["measurement_id"] for row in planted.rows} - set().union(*planted.faults.values())
    assert len(told[rule].keys() & clean) <= 0.01 * len(clean)


@pytest.mark.parametrize("rule", ["copied_visit", "swapped_subject", "date_shift", "frozen_device"])
def test_each_other_fault_is_found_by_its_rule_and_nowhere_else(told, planted, rule):
    assert planted.faults[rule] <= told[rule].keys()
    assert len(told[rule].keys() - planted.faults[rule]) <= 4


def test_the_range_is_what_would_have_passed(told, planted):
    values = {row["measurement_id"]: row["value"] for row in planted.rows}
    for rule in ("unit_mixup", "decimal_slip", "robust_z", "reference_change"):
        for key, row in told[rule].items():
            assert row.value == values[key]
            assert not row.expected_low <= row.value <= row.expected_high


def test_the_detail_names_what_explains_it(told, planted):
    glucose = [
        told["unit_mixup"][row["measurement_id"]].detail
        for row in planted.rows
        if row["measurement_id"] in planted.faults["unit_mixup"] & told["unit_mixup"].keys()
        and row["loinc"] == "2345-7"
    ]
    assert set(glucose) == {"value in mmol/L"}
    details = {told["date_shift"][key].detail for key in planted.faults["date_shift"]}
    assert details == {"another year", "not in its visit"}


def test_sites_with_a_favourite_digit_or_a_shift_are_told(series):
    digits = [row.asDict() for row in last_digits(series).collect()]
    weeks = [row.asDict() for row in weekly_levels(series).collect()]
    found = {(r["site_key"], r["loinc"]): r for r in digit_preferences(digits) + site_shifts(weeks)}
    assert set(found) == {(PREFERRED_SITE, "8480-6"), (SHIFTED_SITE, "2093-3")}
    assert found[PREFERRED_SITE, "8480-6"]["detail"] == "share of values that end in 0"
    shift = found[SHIFTED_SITE, "2093-3"]
    assert shift["value"] > shift["expected_high"]
    assert "2024-04-15" <= str(shift["since"]) <= "2024-07-01"


def test_robust_z_is_iglewicz_and_hoaglins(spark):
    """M = 0.6745 (x - median) / MAD. 2.1 ... 8.3: median 2.45, MAD 0.15, so 8.2 has 25.86."""
    values = [2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]
    rows = [(n, 1, 1, "x", value, 2.45, 0.15) for n, value in enumerate(values)]
    columns = (
        "measurement_id BIGINT, person_id BIGINT, site_key BIGINT, loinc STRING, level DOUBLE, "
        "test_level DOUBLE, test_mad DOUBLE"
    )
    found = rules.outliers(spark.createDataFrame(rows, columns)).collect()
    assert {row.value: round(row.score, 2) for row in found} == {8.2: 25.86, 8.3: 26.31}
    assert round(found[0].expected_high, 3) == 3.228  # 2.45 + 3.5 * 0.15 / 0.6745
