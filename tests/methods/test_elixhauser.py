"""Elixhauser groups: Quan 2005 (Med Care 43:1130), weights of van Walraven 2009 (47:626)."""

import re
import zipfile
from xml.etree import ElementTree

import pytest

from clinical_lakehouse.methods.comorbidity import pattern, prefixes
from clinical_lakehouse.methods.elixhauser import (
    GROUPS,
    elixhauser_categories,
    elixhauser_score,
)

# The R package comorbidity 1.1.0 tests that these codes, and no others, lie in two groups.
IN_TWO = {
    "I110", "I130", "I132", "I426", "G114", "I278", "I279", "I120", "I131", "K700", "K703", "K709",
    "F315", "F204",
}  # fmt: skip
# Van Walraven 2009, table 2; groups not named here weigh 0.
WEIGHTS = {
    "heart_failure": 7, "arrhythmia": 5, "valvular": -1, "pulmonary_circulation": 4,
    "peripheral_vascular": 2, "paralysis": 7, "other_neurological": 6, "chronic_pulmonary": 3,
    "renal_failure": 5, "liver": 11, "lymphoma": 9, "metastatic": 12, "solid_tumour": 4,
    "coagulopathy": 3, "obesity": -4, "weight_loss": 6, "fluid_electrolyte": 5,
    "blood_loss_anaemia": -2, "deficiency_anaemia": -2, "drug_abuse": -7, "depression": -3,
}  # fmt: skip
# AHRQ's column -> our group and the share of the column's codes (v2026.1) that it holds. What it
# does not hold are categories younger than Quan's table (C7B, C86, J4A) and obstetric codes.
AHRQ = {
    "CANCER_METS": ("metastatic", 0.85),
    "CANCER_LYMPH": ("lymphoma", 0.94),
    "DRUG_ABUSE": ("drug_abuse", 0.98),
    "LUNG_CHRONIC": ("chronic_pulmonary", 0.96),
    "HF": ("heart_failure", 0.70),
    "BLDLOSS": ("blood_loss_anaemia", 1.0),
}
PEOPLE = {
    "everything": sorted({p for g in GROUPS for p in prefixes(g.icd10)}),
    # 7 + 5 + 5: heart failure, fibrillation, chronic kidney disease
    "heart and kidney": ["I50.9", "I48.91", "N18.3"],
    "metastasis": ["C50.911", "C78.7"],
    "diabetes": ["E11.9", "E11.22"],
    "alcoholic cardiomyopathy": ["I42.6"],
    "obese and low": ["E66.01", "F32.9"],
    "nothing": ["Z00.0", "J18.9"],
}


@pytest.fixture(scope="module")
def found(spark):
    """The groups of each code, and each person's index."""
    rows = [(person, code) for person, codes in PEOPLE.items() for code in codes]
    named = spark.createDataFrame(rows, "person STRING, code STRING")
    named = named.withColumn("groups", elixhauser_categories(named["code"]))
    people = named.selectExpr("person", "code", "groups").groupBy("person")
    together = people.agg({"groups": "collect_list"}).withColumnRenamed(
        "collect_list(groups)", "listed"
    )
    flat = together.selectExpr("person", "flatten(listed) AS groups")
    scores = {r.person: r.score for r in flat.withColumn("score", elixhauser_score("groups"))
              .collect()}  # fmt: skip
    return {(r.person, r.code): r.groups for r in named.collect()}, scores


def test_each_code_of_the_table_lies_in_one_group_but_for_the_known_ones(found):
    groups, _ = found
    many = {code: len(names) for (person, code), names in groups.items() if person == "everything"}
    assert {code for code, count in many.items() if count == 2} == IN_TWO
    assert set(many.values()) == {1, 2}


def test_the_31_groups_have_the_weights_of_van_walraven():
    assert len(GROUPS) == 31
    assert {g.name: g.weight for g in GROUPS if g.weight} == WEIGHTS


def test_index_adds_weights_once_and_the_milder_form_yields(found):
    _, scores = found
    assert scores == {
        # all weights but the solid tumour's, which yields to metastasis
        "everything": sum(WEIGHTS.values()) - 4,
        "heart and kidney": 17,
        "metastasis": 12,
        "diabetes": 0,
        "alcoholic cardiomyopathy": 7,
        "obese and low": -7,
        "nothing": 0,
    }


def test_groups_agree_with_ahrqs_where_both_define_them(public_data):
    listed = _ahrq(public_data("terminology") / "elixhauser" / "CMR-Reference-File-v2026-1.xlsx")
    ours = {group.name: re.compile(pattern(group)) for group in GROUPS}
    for column, (name, expected) in AHRQ.items():
        held = [code for code in listed[column] if ours[name].match(code)]
        assert round(len(held) / len(listed[column]), 2) == expected, column


def _ahrq(path) -> dict[str, list[str]]:
    """Codes of each comorbidity of AHRQ's reference file, sheet 3."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as book:
        shared = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
        words = ["".join(t.text or "" for t in si.iter(f"{space}t")) for si in shared]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet3.xml"))
    rows = [
        [words[int(v)] if c.get("t") == "s" else v
         for c in row for v in [c.findtext(f"{space}v")]]
        for row in sheet.iter(f"{space}row")
    ]  # fmt: skip
    names, body = rows[1], [row for row in rows[2:] if len(row) > 3]
    return {
        name: [row[0] for row in body if len(row) > at and row[at] == "1"]
        for at, name in enumerate(names)
        if at > 2
    }
