"""Charlson index: groups by Quan 2005 (Med Care 43:1130), weights by Charlson 1987."""

import pytest

from clinical_lakehouse.methods.comorbidity import GROUPS, charlson_category, charlson_score

# One code of each group as Quan's table 1 lists it, and the weight of Charlson's table 3.
PUBLISHED = {
    "I21.4": ("myocardial_infarction", 1),
    "I50.9": ("heart_failure", 1),
    "I73.9": ("peripheral_vascular", 1),
    "I63.9": ("cerebrovascular", 1),
    "G30.1": ("dementia", 1),
    "J44.9": ("chronic_pulmonary", 1),
    "M32.1": ("rheumatic", 1),
    "K26.4": ("peptic_ulcer", 1),
    "K70.3": ("mild_liver", 1),
    "E11.9": ("diabetes", 1),
    "E11.22": ("diabetes_complicated", 2),
    "G81.9": ("hemiplegia", 2),
    "N18.3": ("renal", 2),
    "C50.9": ("malignancy", 2),
    "K76.6": ("severe_liver", 3),
    "C78.0": ("metastatic", 6),
    "B20": ("hiv", 6),
}
# Codes next door that belong to no group, and SNOMED CT codes of the same diseases.
OTHERS = {
    **dict.fromkeys(("I10", "E78.5", "C44.9", "B23", "C59", "K75.0", "N17.9", "I25.10")),
    "44054006": "diabetes",
    "84114007": "heart_failure",
    "13645005": "chronic_pulmonary",
    "e119": "diabetes",
    "59621000": None,
}


@pytest.fixture(scope="module")
def scored(spark):
    """People with their codes; the group of each code and the score of each person."""
    people = {
        "all": list(PUBLISHED),
        "liver": ["K70.3", "K76.6"],
        "diabetes": ["E11.9", "E11.22", "E10.0"],
        "cancer": ["C50.9", "C78.0"],
        "twice": ["I50.9", "I50.1"],
        "none": ["I10"],
        "others": list(OTHERS),
    }
    rows = [(person, code) for person, codes in people.items() for code in codes]
    named = spark.createDataFrame(rows, "person STRING, code STRING")
    named = named.withColumn("category", charlson_category(named["code"]))
    groups = named.groupBy("person").agg({"category": "collect_set"})
    groups = groups.withColumnRenamed("collect_set(category)", "categories")
    scores = groups.withColumn("score", charlson_score("categories")).collect()
    found = {row.code: row.category for row in named.collect()}
    return found, {row.person: row.score for row in scores}


def test_every_group_is_found_by_its_published_code(scored):
    found, _ = scored
    assert {code: found[code] for code in PUBLISHED} == {c: g for c, (g, _) in PUBLISHED.items()}
    assert {group.name: group.weight for group in GROUPS} == dict(PUBLISHED.values())


def test_neighbouring_codes_belong_to_no_group_and_snomed_codes_to_theirs(scored):
    found, _ = scored
    assert {code: found[code] for code in OTHERS} == OTHERS


def test_score_adds_weights_once_and_the_milder_form_yields_to_the_graver(scored):
    _, score = scored
    # All 17 groups weigh 33; mild liver (1), diabetes (1) and malignancy (2) yield: 29.
    assert sum(weight for _, weight in PUBLISHED.values()) == 33
    expected = {"all": 29, "liver": 3, "diabetes": 2, "cancer": 6, "twice": 1, "none": 0}
    assert {person: score[person] for person in expected} == expected
