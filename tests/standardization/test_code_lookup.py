"""How a code finds its concept: by hand, by Maps to, with a value, and why one finds none."""

import pytest

from clinical_lakehouse.methods.concept_lookup import (
    human_concepts,
    source_concepts,
    standard_concepts,
)
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.standardization import code_map
from clinical_lakehouse.tables.gold_standardization import USED_CODE
from clinical_lakehouse.tables.omop_vocabulary import (
    CONCEPT,
    CONCEPT_RELATIONSHIP,
    SOURCE_TO_CONCEPT_MAP,
)
from tests.builders import rows

SNOMED, LOCAL = "http://snomed.info/sct", "http://hospital.example/codes/local-diagnoses"
NAMES = ("concept_id", "vocabulary_id", "concept_code", "domain_id", "standard_concept",
         "invalid_reason")  # fmt: skip
CONCEPTS = [
    (1, "SNOMED", "holds", "Condition", "S", None),
    (2, "SNOMED", "replaced", "Condition", None, "U"), (3, "SNOMED", "gone", "Drug", None, "D"),
    (4, "SNOMED", "twice", "Condition", "S", None), (5, "SNOMED", "twice", "Condition", "S", None),
    (6, "SNOMED", "no map", "Condition", None, None),
    (7, "SNOMED", "history of", "Observation", None, None),
    (8, "SNOMED", "event", "Observation", "S", None), (9, "SNOMED", "what", "Condition", "S", None),
    (10, "SNOMED", "old", "Condition", "S", "D"),
]  # fmt: skip
RELATIONS = [(2, 1, "Maps to"), (7, 8, "Maps to"), (7, 9, "Maps to value"), (3, 10, "Maps to")]
# By hand: a local code, a code that the vocabulary knows otherwise, and a target that has lapsed.
BY_HAND = [("odes/local-diagnoses", "L1", 9), ("SNOMED", "replaced", 9), ("SNOMED", "gone", 10)]
CODES = ("holds", "replaced", "gone", "twice", "no map", "history of", "never heard of", "")
USED = [*((SNOMED, code) for code in CODES), (LOCAL, "L1"), (LOCAL, "L2")]


@pytest.fixture(scope="module")
def found(spark, tmp_path_factory):
    lake = Lakehouse(spark, tmp_path_factory.mktemp("codes") / "lake")
    concepts = rows(lake, CONCEPT, *(dict(zip(NAMES, c, strict=True)) for c in CONCEPTS))
    names = ("concept_id_1", "concept_id_2", "relationship_id")
    made = [{"invalid_reason": None, **dict(zip(names, r, strict=True))} for r in RELATIONS]
    uses = [{"role": "event", "code_system": system, "code": code} for system, code in USED]
    used = rows(lake, USED_CODE, *uses)
    known = code_map.known_codes(used)
    relations = rows(lake, CONCEPT_RELATIONSHIP, *made)
    maps = standard_concepts(source_concepts(known, concepts), concepts, relations)
    entries = [{"source_vocabulary_id": v, "source_code": c, "target_concept_id": t,
                "source_concept_id": 0} for v, c, t in BY_HAND]  # fmt: skip
    own = human_concepts(known, concepts, rows(lake, SOURCE_TO_CONCEPT_MAP, *entries))
    mapped = code_map.map_codes(used, maps, own)
    unmapped = code_map.unmapped_codes(mapped).collect()
    return {row.code: row for row in mapped.collect()}, {row.code: row for row in unmapped}


def test_each_code_without_a_concept_says_why(found):
    _, unmapped = found
    assert {code: (row.reason, row.source_concept_id) for code, row in unmapped.items()} == {
        "": ("no_code", 0), "L2": ("unknown_system", 0), "never heard of": ("unknown_code", 0),
        "twice": ("ambiguous", 0), "gone": ("deprecated", 3), "no map": ("no_standard_map", 6),
    }  # fmt: skip


def test_what_a_person_mapped_goes_before_the_vocabulary(found):
    mapped, unmapped = found
    assert (mapped["L1"].concept_id, mapped["L1"].domain_id) == (9, "Condition")
    assert mapped["replaced"].concept_id == 9
    assert unmapped["L2"].source_vocabulary_id == "odes/local-diagnoses", "the name to map it by"


def test_a_code_that_implies_a_value_has_both_concepts(found):
    history = found[0]["history of"]
    assert (history.concept_id, history.value_concept_id, history.source_concept_id) == (8, 9, 7)
    assert (found[0]["holds"].concept_id, found[0]["holds"].value_concept_id) == (1, None)
