"""Texts find candidates, nothing is used before somebody accepts it, and decisions stay."""

from dataclasses import replace
from datetime import date

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.text_match import normal_form
from clinical_lakehouse.operators.medical_coding import MedicalCoding
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.standardization import coding_review, vocabulary_load
from clinical_lakehouse.standardization import data_standardization as tasks
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_standardization import CODE_MAP, CODING_REVIEW, UNMAPPED_CODE
from clinical_lakehouse.tables.omop_vocabulary import (
    CONCEPT,
    CONCEPT_RELATIONSHIP,
    CONCEPT_SYNONYM,
    SOURCE_TO_CONCEPT_MAP,
)
from tests.builders import rows
from tests.standardization.conftest import synthea_run

LOCAL = "http://hospital.example/dx"
# concept_id, name, vocabulary, code, domain, standard, why withdrawn
CONCEPTS = [
    (1, "Essential hypertension", "SNOMED", "59621000", "Condition", "S", None),
    (2, "Type 2 diabetes mellitus", "SNOMED", "44054006", "Condition", "S", None),
    (3, "Fracture of left radius", "SNOMED", "c3", "Condition", "S", None),
    (4, "Fracture of right radius", "SNOMED", "c4", "Condition", "S", None),
    (5, "Aspirin", "RxNorm", "1191", "Drug", "S", None),
    (6, "Hypertension NOS", "ICD9CM", "401.9", "Condition", None, None),
    (7, "Old hypertension", "SNOMED", "c7", "Condition", "S", "D"),
    (8, "Common cold", "SNOMED", "82272006", "Condition", "S", None),
    (9, "Common cold", "SNOMED", "c9", "Condition", "S", None),
]
SYNONYMS = [(1, "High blood pressure")]
# code (None: the text alone was sent), text
SENT = [
    ("HT1", "essential hypertension"), ("HT5", "Essential Hypertension"),
    ("HT2", "Hypertension, essential (disorder)"),
    ("HT3", "HIGH BLOOD-PRESSURE"), ("HT4", "hypertension unspecified"), ("DM", "T2DM"),
    ("FX", "fracture left raduis"), (None, "Esential hypertension"), (None, "aspirin"),
    ("CC", "common cold"), ("NO", "zzz qqq"), ("OLD", "old hypertension"),
    ("L" * 60, "Fracture of the right radius"),
]  # fmt: skip


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory) -> Run:
    """Conditions with local codes and a vocabulary of nine concepts; codes looked up, and coded."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("coding") / "lake")
    names = ("concept_id", "concept_name", "vocabulary_id", "concept_code", "domain_id",
             "standard_concept", "invalid_reason")  # fmt: skip
    lake.replace(
        CONCEPT, rows(lake, CONCEPT, *(dict(zip(names, c, strict=True)) for c in CONCEPTS))
    )
    maps = {"concept_id_1": 6, "concept_id_2": 1, "relationship_id": "Maps to"}
    lake.replace(CONCEPT_RELATIONSHIP, rows(lake, CONCEPT_RELATIONSHIP, maps))
    other = [{"concept_id": i, "concept_synonym_name": name} for i, name in SYNONYMS]
    lake.replace(CONCEPT_SYNONYM, rows(lake, CONCEPT_SYNONYM, *other))
    sent = [
        {"condition_key": n, "subject_key": 1, "code": code, "display": text,
         "code_system": code and LOCAL}
        for n, (code, text) in enumerate(SENT)
    ]  # fmt: skip
    lake.replace(silver.CONDITION, rows(lake, silver.CONDITION, *sent))
    made = synthea_run(lake)
    tasks.map_codes(made)
    tasks.code_text(made)
    return made


def _review(run: Run, where: str = "true") -> list[tuple]:
    found = run.lake.read(CODING_REVIEW).filter(where).orderBy("source_code", "rank").collect()
    return [(r.source_code[:4], r.concept_id, r.method, r.status) for r in found]


def _decide(run: Run, **params: str) -> None:
    coding_review.decide(replace(run, params={"by": "a coder", "why": "looked at", **params}))


@pytest.mark.parametrize(
    ("text", "form"),
    [("Diabetes mellitus, Type II (disorder)", "2 diabete mellitus type"),
     ("T2DM", "2 diabete mellitus type"), ("Fx of the LEFT radius", "fracture left radius"),
     ("Anaemia w/o œdema", "anemia edema without"), ("Crohn's disease", "crohn disease"),
     ("(), -", "")],
)  # fmt: skip
def test_normal_form_forgets_case_order_spelling_and_abbreviation(spark, text, form):
    made = spark.range(1).select(normal_form(F.lit(text)))
    assert made.collect()[0][0] == form


def test_the_only_candidate_that_is_the_same_is_suggested_and_nothing_else(run):
    assert set(_review(run, "status = 'suggested'")) == {
        ("DM", 2, "normalised", "suggested"), ("HT1", 1, "exact", "suggested"),
        ("HT5", 1, "exact", "suggested"),
        ("HT2", 1, "normalised", "suggested"), ("HT3", 1, "normalised", "suggested"),
        ("HT4", 1, "normalised", "suggested"), ("LLLL", 4, "normalised", "suggested"),
    }  # fmt: skip


def test_two_same_names_and_alike_ones_are_left_to_a_person(run):
    assert _review(run, "source_code = 'CC'") == [
        ("CC", 8, "exact", "open"), ("CC", 9, "exact", "open")
    ]  # fmt: skip
    assert _review(run, "source_code = 'FX' AND rank = 1") == [("FX", 3, "fuzzy", "open")]
    typo = run.lake.read(CODING_REVIEW).filter("source_code = 'Esential hypertension'").collect()
    assert (typo[0].source_vocabulary_id, typo[0].concept_id) == ("text", 1)
    assert 0.9 < typo[0].score < 1 and typo[0].status == "open"


def test_candidates_are_standard_in_force_and_of_a_domain_that_fits(run):
    assert {row[1] for row in _review(run)} <= {1, 2, 3, 4, 8, 9}
    assert _review(run, "source_code IN ('aspirin', 'NO')") == []


def test_nothing_is_mapped_before_a_decision(run):
    assert run.lake.read(SOURCE_TO_CONCEPT_MAP).isEmpty()
    assert run.lake.read(CODE_MAP).filter("concept_id > 0").isEmpty()
    reasons = {r.code: r.reason for r in run.lake.read(UNMAPPED_CODE).collect()}
    assert (reasons["aspirin"], reasons["HT1"]) == ("no_code", "unknown_system")


@pytest.mark.parametrize(
    ("params", "wrong"),
    [({"decision": "maybe"}, "accept, reject"), ({"decision": "accept", "code": "HT1"}, "concept"),
     ({"decision": "accept", "code": "HT1", "concept": "99"}, "no such candidate"),
     ({"decision": "reject", "code": "HT1", "why": " "}, "why")],
)  # fmt: skip
def test_decision_says_what_on_which_who_and_why(run, params, wrong):
    with pytest.raises(UsageError, match=wrong):
        _decide(run, **params)


@pytest.fixture(scope="module")
def decided(run, tmp_path_factory) -> Run:
    """A person accepts a local code, a long one and a text, rejects a candidate; the next run; and
    then a file of the person's own is loaded."""
    _decide(run, decision="accept", code="HT1", concept="1")
    _decide(run, decision="accept", code="L" * 60, concept="4")
    _decide(run, decision="accept", code="Esential hypertension", concept="1")
    _decide(run, decision="reject", code="FX")
    tasks.map_codes(run)
    tasks.code_text(run)
    folder = tmp_path_factory.mktemp("own")
    header = "\t".join(SOURCE_TO_CONCEPT_MAP.column_names)
    line = "CC\t0\tx\tcold\t8\tSNOMED\t20240101\t20991231\t"
    (folder / "SOURCE_TO_CONCEPT_MAP.csv").write_text(f"{header}\n{line}\n")
    vocabulary_load.load(replace(run, params={"vocabulary": str(folder)}))
    return run


@pytest.mark.soak
def test_what_was_accepted_is_used_by_the_next_run(decided):
    mapped = decided.lake.read(CODE_MAP).filter("concept_id > 0").collect()
    assert {(r.code[:4], r.concept_id) for r in mapped} == {("HT1", 1), ("LLLL", 4), ("Esen", 1)}


@pytest.mark.soak
def test_decisions_survive_the_next_run_and_undecided_rows_of_mapped_codes_go(decided):
    who = decided.lake.read(CODING_REVIEW).filter("source_code = 'HT1'").collect()
    assert [(r.status, r.reviewer, r.decision_reason) for r in who] == [
        ("accepted", "a coder", "looked at")
    ]
    assert who[0].decided_at is not None
    assert {row[3] for row in _review(decided, "source_code = 'FX'")} == {"rejected"}


@pytest.mark.soak
def test_a_persons_own_file_and_decisions_stand_together(decided):
    found = decided.lake.read(SOURCE_TO_CONCEPT_MAP).collect()
    assert {(r.source_code[:4], r.target_concept_id) for r in found} == {
        ("HT1", 1), ("LLLL", 4), ("Esen", 1), ("CC", 8)
    }  # fmt: skip
    assert max(len(r.source_code) for r in found) == 50, "the CDM's column has 50 characters"
    assert {r.valid_start_date for r in found} == {date(2024, 6, 30), date(2024, 1, 1)}


@pytest.mark.soak
@pytest.mark.soak
def test_taking_an_acceptance_back_takes_the_map_back(decided):
    _decide(decided, decision="reject", code="HT1", concept="1")
    found = decided.lake.read(SOURCE_TO_CONCEPT_MAP).collect()
    assert "HT1" not in {r.source_code for r in found} and len(found) == 3


@pytest.mark.soak
def test_the_setting_accepts_a_suggestion_that_is_the_very_name_and_says_so(decided):
    MedicalCoding(0.6, 0.95, 5, accept_exact=True).execute(decided)
    found = decided.lake.read(CODING_REVIEW).filter("reviewer = 'coding.accept_exact'").collect()
    assert {r.source_code for r in found} == {"HT5"}
    assert {row[0] for row in _review(decided, "status = 'suggested'")} == {
        "HT2", "HT3", "HT4", "DM"
    }  # fmt: skip
