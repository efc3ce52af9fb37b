"""Codes in use judged by the public lists, loaded as a person would load them."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.methods.coding import icd10cm_status, is_loinc, read_icd10cm
from clinical_lakehouse.operators.medical_coding import check_codes
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.standardization import vocabulary_load
from clinical_lakehouse.tables.gold_codes import CODE_RELEASE, CODE_STATUS, CODE_TRANSLATION
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT, CONCEPT_RELATIONSHIP
from tests.builders import rows
from tests.conftest import PUBLIC_DATA
from tests.standardization.conftest import synthea_run

# Whole public code lists are loaded.
pytestmark = pytest.mark.soak

LISTS = ("icd_gems_and_codes/icd10cm-codes-2024.txt.gz", "icd10cm_2026/code-list-April-2026.txt.gz",
         "icd_gems_and_codes/icd9toicd10cmgem.csv.gz")  # fmt: skip
ICD10 = ("E11.9", "e119", "E11", "C83.39", "B88.01", "T78.1XXA", "Q99.77", "99.1", "E11.90000")
LOINC = ("2345-7", "2345-6", "2354-7", "2345", "85354-9", "a-1", "777-3")
USED = [
    *(("ICD10CM", code) for code in ICD10), *(("LOINC", code) for code in LOINC),
    ("ICD9CM", "001.0"), ("ICD9CM", "002.0"), ("ICD9CM", "073.0"), ("ICD9CM", "365.70"),
    ("ICD9CM", "999.99"), ("ICD9CM", "E11.9"), ("RxNorm", "860975"), ("RxNorm", "0860975"),
    ("SNOMED", "44054006"), ("SNOMED", "T2DM"), ("text", "diabetes"), ("UCUM", "mg"),
]  # fmt: skip


@pytest.fixture(scope="module")
def judged(spark, tmp_path_factory):
    """By year (2026, 2024): vocabulary and code to their row of gold.code_status; and the lake."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("codes") / "lake")
    folder = tmp_path_factory.mktemp("lists")
    for name in LISTS:
        if not (PUBLIC_DATA / "terminology" / name).exists():
            pytest.skip("public data terminology is not beside the checkout (CLINICAL_PUBLIC_DATA)")
        shutil.copy(PUBLIC_DATA / "terminology" / name, folder)
    run = replace(synthea_run(lake), params={"vocabulary": str(folder)})
    loaded = vocabulary_load.load(run)
    assert vocabulary_load.load(run) == {}, "the same lists are not loaded again"
    named = ("concept_id", "vocabulary_id", "concept_code")
    known = [(1, "SNOMED", "44054006"), (2, "ICD10CM", "E11.9"), (3, "ICD10CM", "E11.8")]
    concepts = [dict(zip(named, row, strict=True)) for row in known]
    lake.replace(CONCEPT, rows(lake, CONCEPT, *concepts))
    back = [
        {"concept_id_1": 1, "concept_id_2": n, "relationship_id": "Mapped from"} for n in (2, 3)
    ]
    lake.replace(CONCEPT_RELATIONSHIP, rows(lake, CONCEPT_RELATIONSHIP, *back))
    used = spark.createDataFrame([(v, c, 2) for v, c in USED],
                                 "vocabulary_id STRING, code STRING, row_count BIGINT")  # fmt: skip
    found = {}
    for year in (2024, 2026):
        check_codes(replace(run, as_of=datetime(year, 3, 1, tzinfo=UTC)), used)
        found[year] = {(r.vocabulary_id, r.code): r for r in lake.read(CODE_STATUS).collect()}
    return found, loaded, lake


def test_lists_are_loaded_whole(judged):
    _, loaded, lake = judged
    billable = lake.read(CODE_RELEASE).filter("is_billable").groupBy("year").count().collect()
    assert {r["year"]: r["count"] for r in billable}[2024] == 74044, "CMS's own count"
    assert loaded["icd9toicd10cmgem.csv.gz"] == lake.read(CODE_TRANSLATION).count() == 23912


def test_statuses_are_those_of_the_plain_rules(judged):
    found, _, _ = judged
    folder = PUBLIC_DATA / "terminology"
    releases = [read_icd10cm(folder / LISTS[0], 2024), read_icd10cm(folder / LISTS[1], 2026)]
    for year in (2024, 2026):
        for code in ICD10:
            row = found[year][("ICD10CM", code)]
            assert (row.status, row.year) == (icd10cm_status(code, year, releases), year), code
    for code in LOINC:
        assert (found[2026][("LOINC", code)].status == "valid") == is_loinc(code), code
    assert found[2026][("LOINC", "2345-6")].status == "bad_check_digit"
    assert found[2026][("RxNorm", "0860975")].status == "malformed"
    assert [found[2026][("ICD9CM", c)].status for c in ("001.0", "999.99", "E11.9")] == [
        "valid", "unknown", "malformed"
    ]  # fmt: skip
    assert ("text", "diabetes") not in found[2026] and ("UCUM", "mg") not in found[2026]


def test_bad_codes_are_counted_by_system_and_reason(judged):
    _, _, lake = judged
    counted = lake.read(CODE_STATUS).filter("is_bad").groupBy("vocabulary_id", "status").count()
    found = {(r.vocabulary_id, r.status): r["count"] for r in counted.collect()}
    assert found[("LOINC", "bad_check_digit")] == 2 and found[("LOINC", "malformed")] == 2
    assert found[("ICD10CM", "header")] == 1 and found[("SNOMED", "malformed")] == 1


def test_equivalents_say_whether_they_are_approximate(judged):
    now = judged[0][2026]
    told = {code: (now[("ICD9CM", code)].icd10cm_codes, now[("ICD9CM", code)].is_approximate)
            for code in ("001.0", "002.0", "073.0", "365.70")}  # fmt: skip
    assert told["001.0"] == (["A000"], False)
    assert told["002.0"][1] and told["073.0"] == (["A70", "J17"], True)
    assert told["365.70"] == (None, None), "CMS has no map for it"
    snomed = now[("SNOMED", "44054006")]
    assert (snomed.icd10cm_codes, snomed.is_approximate) == (["E118", "E119"], True)
