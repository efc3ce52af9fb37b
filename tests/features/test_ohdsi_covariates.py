"""OHDSI's predefined analyses: ids and names of FeatureExtraction, windows and counts of its SQL.

The expected covariates are worked out by hand from the SQL templates of FeatureExtraction 53266f0.
"""

import csv
from datetime import UTC, date, datetime, timedelta

import pytest

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features.covariate_extraction import extract
from clinical_lakehouse.features.ohdsi_analyses import (
    ANALYSES,
    DEFAULT_IDS,
    NOT_COMPUTED,
    asked_ids,
    chosen,
    tables_needed,
)
from clinical_lakehouse.features.ohdsi_covariates import covariates
from clinical_lakehouse.features.ohdsi_scores import FRAILTY_POINTS
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.gold_scores import COVARIATE
from tests.builders import rows

INDEX = date(2020, 6, 15)
DIABETES, HYPERTENSION, INFARCTION, OLD, OLDER = 201826, 320128, 312327, 4329847, 444406
NERVES, KIDNEY = 376065, 46271022
PRESSURE, CREATININE, RESULT, POSITIVE = 3004249, 3016723, 3000963, 4126681
METFORMIN, METFORMIN_PILL = 1503297, 40163924
OFFICE, HOSPITAL = 9202, 9201
FINDING, DEEP, SHALLOW, NAMELESS, KEPT = 441840, 100, 101, 102, 433736
INPATIENT = 38000184


def _day(offset: int) -> date:
    return INDEX + timedelta(days=offset)


def _event(name: str, concept: int, start: int, end: int | None = None, **more):
    """A row of an event or era table of person 1, by days from the index date."""
    short = name.removesuffix("_occurrence").removesuffix("_exposure")
    if name.endswith("_era"):
        days = {f"{name}_start_date": _day(start), f"{name}_end_date": _day(end)}
        short = name.removesuffix("_era")
    elif name in ("measurement", "observation", "procedure_occurrence"):
        days = {f"{short}_date": _day(start)}
    elif name == "visit_occurrence":
        days = {"visit_start_date": _day(start), "visit_end_date": _day(end)}
    else:
        stem = "condition" if short == "condition" else name
        days = {f"{stem}_start_date": _day(start)}
        if name == "drug_exposure":
            days["drug_exposure_end_date"] = _day(start)
    return {"person_id": 1, f"{short}_concept_id": concept, **days, **more}


GIVEN = {
    "person": [
        {"person_id": 1, "gender_concept_id": 8532, "year_of_birth": 1950,
         "race_concept_id": 8527, "ethnicity_concept_id": 38003564, "care_site_id": 7},
        {"person_id": 2, "gender_concept_id": 0, "year_of_birth": 1944,
         "race_concept_id": 0, "ethnicity_concept_id": 0},
    ],
    "observation_period": [
        {"person_id": 1, "observation_period_start_date": _day(-1000),
         "observation_period_end_date": _day(40)},
    ],
    "condition_occurrence": [
        _event("condition_occurrence", DIABETES, 0),
        _event("condition_occurrence", HYPERTENSION, -26, condition_type_concept_id=INPATIENT),
        _event("condition_occurrence", INFARCTION, -180),
        _event("condition_occurrence", OLD, -365),
        _event("condition_occurrence", OLDER, -366),
        _event("condition_occurrence", 0, -1),
        _event("condition_occurrence", 255848, 1),
    ],
    "condition_era": [
        _event("condition_era", DIABETES, -900, 5),
        _event("condition_era", HYPERTENSION, -26, -20),
        _event("condition_era", INFARCTION, -530, -365),
        _event("condition_era", NERVES, -170, -169),
        _event("condition_era", KIDNEY, -700, -699),
    ],
    "drug_exposure": [_event("drug_exposure", METFORMIN_PILL, -14)],
    "drug_era": [_event("drug_era", METFORMIN, -14, 16)],
    "procedure_occurrence": [_event("procedure_occurrence", 4, -30),
                             _event("procedure_occurrence", 4, -31)],
    "device_exposure": [_event("device_exposure", 5, -31)],
    "measurement": [
        _event("measurement", PRESSURE, -5, value_as_number=130.0, unit_concept_id=8876,
               range_low=90.0, range_high=120.0),
        _event("measurement", PRESSURE, -5, value_as_number=118.0, unit_concept_id=8876,
               range_low=90.0, range_high=120.0),
        _event("measurement", PRESSURE, -200, value_as_number=150.0, unit_concept_id=8876),
        _event("measurement", CREATININE, -6, value_as_number=0.5, range_low=0.6,
               range_high=1.2),
        _event("measurement", RESULT, -7, value_as_concept_id=POSITIVE),
    ],
    "observation": [_event("observation", 6, -3, value_as_number=2.0, unit_concept_id=9529)],
    "visit_occurrence": [
        _event("visit_occurrence", OFFICE, -10, -10),
        _event("visit_occurrence", OFFICE, -100, -100),
        _event("visit_occurrence", HOSPITAL, -20, 1, care_site_id=8),
    ],
    "visit_detail": [],
    "concept_relationship": [
        {"concept_id_1": 1, "concept_id_2": NERVES, "relationship_id": "Maps to"},
        {"concept_id_1": 2, "concept_id_2": KIDNEY, "relationship_id": "Maps to"},
        {"concept_id_1": 3, "concept_id_2": KIDNEY, "relationship_id": "Maps to"},
        {"concept_id_1": 9, "concept_id_2": KIDNEY, "relationship_id": "Maps to"},
        {"concept_id_1": 10, "concept_id_2": DIABETES, "relationship_id": "Maps to"},
        {"concept_id_1": 11, "concept_id_2": NERVES, "relationship_id": "Maps to"},
    ],
    "concept": [
        {"concept_id": i, "concept_code": code, "vocabulary_id": vocabulary,
         "concept_name": name, "domain_id": domain, "concept_class_id": kind,
         "standard_concept": "S"}
        for i, code, vocabulary, name, domain, kind in (
            (8527, "5", "Race", "White", "Race", "Race"),
            (38003564, "N", "Ethnicity", "Not Hispanic", "Ethnicity", "Ethnicity"),
            (1, "250.60", "ICD9CM", "x", "Condition", "x"),
            (2, "585.3", "ICD9CM", "x", "Condition", "x"),
            (3, "583.81", "ICD9CM", "x", "Condition", "x"),
            (9, "F05.1", "ICD10", "x", "Condition", "x"),
            (10, "R41.0", "ICD10", "x", "Condition", "x"),
            (11, "F05.9", "ICD10", "x", "Condition", "x"),
            (NERVES, "n", "SNOMED", "Neuropathy", "Condition", "Disorder"),
            (KIDNEY, "k", "SNOMED", "Kidney disease", "Condition", "Disorder"),
            (DIABETES, "d", "SNOMED", "Type 2 diabetes", "Condition", "Disorder"),
            (DEEP, "p", "SNOMED", "Endocrine disease", "Condition", "Disorder"),
            (SHALLOW, "s", "SNOMED", "Disease", "Condition", "Disorder"),
            (NAMELESS, "n", "SNOMED", "Disorder of pancreas", "Condition", "Disorder"),
            (KEPT, "o", "SNOMED", "Obesity", "Condition", "Disorder"),
            (METFORMIN, "6809", "RxNorm", "metformin", "Drug", "Ingredient"),
            (21, "A10", "ATC", "DIABETES DRUGS", "Drug", "ATC 2nd"),
            (22, "A10BA02", "ATC", "metformin; oral", "Drug", "ATC 5th"),
        )
    ],
    "concept_ancestor": [
        {"ancestor_concept_id": a, "descendant_concept_id": d, "min_levels_of_separation": n}
        for a, d, n in (
            (FINDING, DEEP, 3), (FINDING, SHALLOW, 2), (FINDING, NAMELESS, 4),
            (FINDING, KEPT, 1), (FINDING, DIABETES, 5),
            *((a, DIABETES, 1) for a in (DEEP, SHALLOW, NAMELESS, KEPT, 201820)),
            (DIABETES, DIABETES, 0), (316866, HYPERTENSION, 1), (320128, HYPERTENSION, 0),
            (INFARCTION, INFARCTION, 0), (METFORMIN, METFORMIN, 0), (21, METFORMIN, 3),
            (22, METFORMIN, 1),
        )
    ],
}  # fmt: skip

ERAS = {DIABETES, HYPERTENSION, INFARCTION, NERVES, KIDNEY}
# Analysis -> the concepts of person 1 with a 1.
CONCEPTS = {
    101: {DIABETES, HYPERTENSION, INFARCTION, OLD, OLDER},
    102: {DIABETES, HYPERTENSION, INFARCTION, OLD},
    103: {DIABETES, HYPERTENSION, INFARCTION},
    104: {DIABETES, HYPERTENSION},
    **dict.fromkeys((105, 106, 107, 108), {HYPERTENSION}),
    201: ERAS,
    202: ERAS - {KIDNEY},  # it ended before the window
    203: {DIABETES, HYPERTENSION, NERVES},
    204: {DIABETES, HYPERTENSION},
    205: {DIABETES},  # the only one that holds the index date
    206: {HYPERTENSION, NERVES},  # began in the window
    207: {HYPERTENSION, NERVES},
    208: {HYPERTENSION},
    # DIABETES itself is a group: a finding more than two steps below the root
    **dict.fromkeys((209, 210, 211, 212, 213), {DEEP, KEPT, DIABETES}),
    **dict.fromkeys((214, 215, 216), set()),
    **dict.fromkeys((301, 302, 303, 304), {METFORMIN_PILL}),
    **dict.fromkeys(range(401, 409), {METFORMIN}),
    **dict.fromkeys(range(409, 417), {METFORMIN, 21}),  # ATC's fifth level is no group
    **dict.fromkeys((501, 502, 503, 504), {4}),
    **dict.fromkeys((601, 602, 603), {5}),
    604: set(),
    **dict.fromkeys((701, 702, 703, 704), {PRESSURE, CREATININE, RESULT}),
    **dict.fromkeys((801, 802, 803, 804), {6}),
    # pressure above (130) and within (118) its range, creatinine below
    **dict.fromkeys((709, 710, 711, 712),
                    {PRESSURE * 10 + 3, PRESSURE * 10 + 2, CREATININE * 10 + 1}),
    **dict.fromkeys((713, 714, 715, 716),
                    {((RESULT ^ RESULT >> 18) & 262143) * 2097152
                     + ((POSITIVE ^ POSITIVE >> 21) & 2097151)}),
    **dict.fromkeys((805, 806, 807, 808), set()),
    1: {8532}, 3: {14}, 4: {8527}, 5: {38003564}, 6: {2020}, 7: {6}, 11: {202006},
    12: {8},  # the hospital's, for the stay holds the index date
}  # fmt: skip
# Analysis -> {what stands for the concept: value}.
VALUES = {
    2: {1: 70}, 8: {1: 1000}, 9: {1: 40}, 10: {1: 199},
    # latest value per unit (8876 ends in 876), of one day's the lowest
    **dict.fromkeys((705, 706, 707, 708), {PRESSURE * 1000 + 876: 118}),
    **dict.fromkeys((809, 810, 811, 812), {6 * 1000 + 529: 2}),
    905: {1: 4}, 906: {1: 3}, 907: {1: 2}, 908: {1: 1}, 909: {1: 1}, 910: {1: 1},
    911: {1: 1}, 912: {1: 1}, 913: {1: 1}, 914: {1: 3}, 915: {1: 3}, 916: {1: 3},
    917: {1: 1}, 918: {1: 1}, 919: {1: 1},
    920: {1: 3}, 921: {1: 3}, 922: {1: 2},
    923: {OFFICE: 2, HOSPITAL: 1}, 924: {OFFICE: 2, HOSPITAL: 1}, 925: {OFFICE: 1, HOSPITAL: 1},
    902: {1: 3},  # neuropathy 1; nephropathy 2, the graver of 583 and 585
    903: {1: 2},  # diabetes and hypertension, 70 years
    904: {1: 5},  # and infarction, 65 to 74 years, female
    926: {1: 5.9},  # delirium (F05) 3.2 once, R41 2.7
}  # fmt: skip
COMPUTED = sorted(set(ANALYSES) - set(NOT_COMPUTED))


@pytest.fixture(scope="module")
def lake(spark, tmp_path_factory):
    """A lake of the module's own."""
    return Lakehouse(spark, tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def found(spark, lake):
    """row_id -> analysis -> {what stands for the concept: value}, all analyses at once."""
    cdm = {name: rows(lake, table_named(f"omop.{name}"), *given) for name, given in GIVEN.items()}
    assert tables_needed(chosen(COMPUTED)) == set(cdm)
    cohort = spark.createDataFrame(
        [(10, 1, INDEX, date(2020, 12, 31)), (20, 2, INDEX, None)],
        "row_id BIGINT, subject_id BIGINT, cohort_start_date DATE, cohort_end_date DATE",
    )
    told = {10: {}, 20: {}}
    for one in covariates(cohort, cdm, COMPUTED).collect():
        concept, analysis = divmod(one.covariate_id, 1000)
        values = told[one.row_id].setdefault(analysis, {})
        assert concept not in values, f"{one.covariate_id} twice"
        values[concept] = one.covariate_value
    return told


def test_ids_and_names_are_ohdsis_118(public_data):
    path = public_data("featureextraction_analyses") / "PrespecAnalyses.csv"
    with path.open(newline="", encoding="utf-8") as lines:
        theirs = list(csv.DictReader(lines))
    assert {int(a["analysisId"]): a["analysisName"] for a in theirs} == {
        number: analysis.name for number, analysis in ANALYSES.items()
    }
    default = {int(a["analysisId"]) for a in theirs if a["isDefault"] == "TRUE"}
    assert set(DEFAULT_IDS) == default
    for theirs_one in theirs:
        ours = ANALYSES[int(theirs_one["analysisId"])]
        if ours.domain:
            assert theirs_one["domainTable"] in (ours.domain.table, "")
            last = ours.domain.start if ours.starts else ours.domain.end
            assert theirs_one["domainEndDate"] in (last, "")


def test_117_of_118_are_computed():
    assert (len(ANALYSES), len(COMPUTED)) == (118, 117)


@pytest.mark.parametrize("analysis", sorted(CONCEPTS))
def test_binary_covariates_are_those_of_ohdsis_sql(found, analysis):
    assert found[10].get(analysis, {}) == dict.fromkeys(CONCEPTS[analysis], 1.0)


@pytest.mark.parametrize("analysis", sorted(VALUES))
def test_valued_covariates_are_those_of_ohdsis_sql(found, analysis):
    assert found[10][analysis] == VALUES[analysis]


def test_every_computed_analysis_has_an_expected_answer():
    assert sorted({**CONCEPTS, **VALUES}) == COMPUTED


def test_of_a_person_without_records_only_what_is_known_is_told(found):
    assert found[20] == {
        2: {1: 76},
        3: {15: 1},
        6: {2020: 1},
        7: {6: 1},
        11: {202006: 1},
        903: {1: 1},  # 75 years or more
        904: {1: 2},
    }


def test_an_analysis_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no analysis 999; OHDSI's predefined ones are 1 to 926"):
        chosen([1, 999])
    with pytest.raises(UsageError, match=r"analysis 901 \(CharlsonIndex\) is not computed: its"):
        chosen([901])


def test_frailty_points_are_those_of_109_categories():
    # Gilbert 2018: 109 codes; 7.1 is the highest and 0.1 the lowest weight
    assert len(FRAILTY_POINTS) == 109
    assert (max(FRAILTY_POINTS.values()), min(FRAILTY_POINTS.values())) == (7.1, 0.1)


@pytest.mark.parametrize(
    ("text", "ids"), [("1, 3,210", [1, 3, 210]), ("all", COMPUTED), ("default", None)]
)
def test_analyses_are_asked_for_by_id_or_by_word(text, ids):
    default = [number for number in DEFAULT_IDS if number != 901]
    assert sorted(asked_ids(text)) == sorted(default if ids is None else ids)
    with pytest.raises(UsageError, match="analyses must be default, all, or ids such as 1,3,210"):
        asked_ids("1;2")


@pytest.mark.soak
def test_the_task_writes_covariates_of_participations_that_have_begun(lake):
    params = {"analyses": "2,102"}
    as_of = datetime(2020, 7, 1, tzinfo=UTC)
    run = Run(lake, load_settings("dev", environ={}), as_of, "test", params)
    begun, later = datetime(2020, 6, 15, 10, tzinfo=UTC), datetime(2020, 8, 1, tzinfo=UTC)
    taking = [
        {"research_subject_key": 10, "subject_key": 1, "started_at": begun},
        {"research_subject_key": 20, "subject_key": 1, "started_at": later},
    ]
    for table, given in (
        (silver.SUBJECT, taking),
        (table_named("omop.person"), GIVEN["person"]),
        (table_named("omop.condition_occurrence"), [
            {**row, "condition_occurrence_id": at}
            for at, row in enumerate(GIVEN["condition_occurrence"])
        ]),
    ):  # fmt: skip
        lake.append(table, rows(lake, table, *given))
    extract(run)
    told = lake.read(COVARIATE).collect()
    assert {(r.research_subject_key, r.subject_key, r.index_date) for r in told} == {(10, 1, INDEX)}
    expected = {(102, concept * 1000 + 102, 1.0) for concept in CONCEPTS[102]} | {(2, 1002, 70.0)}
    assert {(r.analysis_id, r.covariate_id, r.covariate_value) for r in told} == expected
