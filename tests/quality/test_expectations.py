"""Great Expectations keeps suites and results; its import takes ten seconds, so this is a soak."""

import json
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.methods.quality.grammar import read_checks
from clinical_lakehouse.quality.expectations import expectation, store
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.silver import PATIENT

pytestmark = pytest.mark.soak
AT = datetime(2024, 6, 30, tzinfo=UTC)


def test_every_check_of_the_suite_becomes_an_expectation():
    given = read_checks(conf_dir() / "quality", all_tables())
    kinds = {
        check.kind: expectation(check).expectation_type
        for checks in (*given.values(), PATIENT.all_checks())
        for check in checks
    }
    assert kinds["volume"] == "expect_table_row_count_to_be_between"
    assert kinds["temporal"] == kinds["code"] == "unexpected_rows_expectation"
    (unique,) = [c for c in PATIENT.all_checks() if c.kind == "uniqueness"]
    assert expectation(unique).expectation_type == "expect_column_values_to_be_unique"


def test_suites_and_results_are_stored_and_read_back(tmp_path):
    checks = PATIENT.all_checks()
    rows = [
        {"table_name": PATIENT.name, "check_name": check.name, "state": state, "row_count": 8,
         "failed_count": 8 * (state == "failed"), "rule_version": check.version}
        for check, state in zip(checks, ("failed", "passed"), strict=False)
    ]  # fmt: skip
    for _ in range(2):  # a second run of the same changes nothing
        assert store(tmp_path, {PATIENT: checks}, rows, ("r1", AT)) == 1
    (suite,) = (tmp_path / "gx" / "expectations").rglob("*.json")
    kept = json.loads(suite.read_text())["expectations"]
    assert [one["meta"]["version"] for one in kept] == [check.version for check in checks]
    (result,) = (tmp_path / "gx" / "uncommitted" / "validations").rglob("*.json")
    found = json.loads(result.read_text())
    assert (found["success"], found["statistics"]["successful_expectations"]) == (False, 1)
    assert found["results"][0]["result"]["unexpected_count"] == 8
