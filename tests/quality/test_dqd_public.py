"""OHDSI's own files: all of their checks apply to this lake's CDM, and a clean CDM fails none."""

from collections import Counter
from datetime import date

import pytest
from pyspark.sql import DataFrame

from clinical_lakehouse.quality.dqd_plan import aggregates, judged
from clinical_lakehouse.quality.dqd_suite import DqdCheck, read_suite
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.reading import rows_of
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.contract import Table
from tests.builders import rows

DOMAINS = {"Gender": 8507}


@pytest.fixture(scope="module")
def checks(request):
    from tests.conftest import PUBLIC_DATA

    folder = PUBLIC_DATA / "dqd_v54"
    if not folder.exists():
        pytest.skip("public data dqd_v54 is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    return read_suite(folder)


def test_ohdsis_files_hold_what_they_are_known_to_hold(checks):
    """CDM 5.4 of DQD 2.8: 27 check types; thresholds of its documentation."""
    by_kind = Counter(check.kind.name for check in checks)
    assert len(by_kind) == 27
    assert len(checks) > 2000
    found = {check.check_id: check for check in checks}
    # ohdsi.github.io/DataQualityDashboard/articles/checks: 5% for most standard concepts, 0% for
    # type concepts, 100% where nothing is expected.
    lead = "field_standardconceptrecordcompleteness_"
    assert found[f"{lead}measurement_measurement_concept_id"].threshold == 5
    assert found[f"{lead}measurement_measurement_type_concept_id"].threshold == 0
    assert found[f"{lead}care_site_place_of_service_concept_id"].threshold == 100
    gender = found["concept_plausiblegender_condition_occurrence_condition_concept_id_26662"]
    assert gender.threshold == 5
    assert "(correct gender = MALE)" in gender.description


@pytest.mark.soak
def test_a_clean_cdm_fails_none_of_ohdsis_checks(spark, checks, tmp_path):
    lake = Lakehouse(spark, tmp_path)
    frames = _clean(lake, checks)
    counted = rows_of(aggregates(checks, frames, date(2024, 6, 30)))
    found = judged(checks, frames, [row for one in counted for row in one])
    failed = {v.check.check_id: v for v in found if v.status in ("failed", "error")}
    assert failed == {}
    assert sum(v.status == "passed" for v in found) > 1000


def _clean(lake: Lakehouse, checks: tuple[DqdCheck, ...]) -> dict[str, DataFrame]:
    """One row in each table of a contract, none in what the lake does not have."""
    concepts = {
        "": {"concept_id": 1, "standard_concept": "S", "concept_class_id": "Ingredient"},
    }
    for check in checks:
        domain = check.words.get("fkDomain") if check.kind.name == "fkDomain" else None
        if domain and domain not in concepts:
            concepts[domain] = {
                "concept_id": DOMAINS.get(domain, 100 + len(concepts)),
                "domain_id": domain,
                "standard_concept": "S",
                "concept_class_id": "Ingredient",
            }
    fields = {(c.table, c.field): c.words["fkDomain"] for c in checks if c.kind.level == "FIELD"}
    frames = {}
    for table in all_tables().values():
        if table.schema_name == "omop":
            row = _row(table, fields, {d: c["concept_id"] for d, c in concepts.items()})
            made = list(concepts.values()) if table.short_name == "concept" else [row]
            frames[table.short_name] = rows(lake, table, *made)
    for table in {check.table for check in checks} - frames.keys():
        names = sorted({check.field for check in checks if check.table == table and check.field})
        schema = ", ".join(f"`{name}` STRING" for name in names)
        frames[table] = lake.spark.createDataFrame([], schema)
    return frames


def _row(table: Table, fields: dict, concepts: dict[str, int]) -> dict:
    row = {"year_of_birth": 1970} if table.short_name == "person" else {}
    for column in table.columns:
        domain = fields.get((table.short_name, column.name))
        if not column.nullable and domain:
            row[column.name] = concepts[domain]
    return row
