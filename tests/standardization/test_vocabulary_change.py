"""A newer vocabulary: what it changes is said, and only the rows it changes are written."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.runtime.bookmarks import move_bookmarks
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.standardization import data_standardization as tasks
from clinical_lakehouse.standardization import event_tables
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_standardization import VOCABULARY_CHANGE
from clinical_lakehouse.tables.omop_clinical import CONDITION_OCCURRENCE, OBSERVATION
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT, CONCEPT_RELATIONSHIP
from tests.builders import rows
from tests.ingestion.chain import hashes
from tests.standardization.conftest import synthea_run
from tests.standardization.golden import SNOMED, at

pytestmark = pytest.mark.soak

NAMES = ("concept_id", "concept_code", "domain_id", "standard_concept", "invalid_reason")
# Codes: `same` stays; `moved` gets another target, `routed` another domain, `gone` none, `late` one
# for the first time, `two` a second one.
OLD = [
    (1, "same", "Condition", "S", None), (2, "moved", "Condition", None, None),
    (3, "routed", "Condition", "S", None), (4, "gone", "Condition", "S", None),
    (5, "late", "Condition", None, None), (6, "two", "Condition", None, None),
    (10, "t1", "Condition", "S", None), (11, "t2", "Condition", "S", None),
]  # fmt: skip
NEW = [*OLD[:2], (3, "routed", "Observation", "S", None), (4, "gone", "Condition", None, "D"),
       *OLD[4:]]  # fmt: skip
OLD_MAPS = [(2, 10), (6, 10)]
NEW_MAPS = [(2, 11), (5, 10), (6, 10), (6, 11)]
COUNTS = {"same": 80, "moved": 4, "routed": 3, "gone": 2, "late": 2, "two": 2}


def _load(lake, concepts, maps) -> None:
    made = [{"vocabulary_id": "SNOMED", **dict(zip(NAMES, c, strict=True))} for c in concepts]
    lake.replace(CONCEPT, rows(lake, CONCEPT, *made))
    pairs = [
        {"concept_id_1": a, "concept_id_2": b, "relationship_id": "Maps to", "invalid_reason": None}
        for a, b in maps
    ]
    lake.replace(CONCEPT_RELATIONSHIP, rows(lake, CONCEPT_RELATIONSHIP, *pairs))


def _content(lake):
    return hashes(lake, list(event_tables.OUTPUTS))


def _files(lake, where):
    found = lake.read(CONDITION_OCCURRENCE).filter(where)
    return {r[0]: r[1] for r in
            found.select("condition_occurrence_id", "_metadata.file_name").collect()}  # fmt: skip


@pytest.fixture(scope="module")
def upgraded(spark, tmp_path_factory):
    """Ninety-three conditions standardised with one vocabulary and then with the next: the lake's
    run, the files of unaffected rows before, and what the second run said."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("upgrade") / "lake")
    codes = [code for code, count in COUNTS.items() for _ in range(count)]
    sent = [{"condition_key": n, "subject_key": 1, "code_system": SNOMED, "code": code,
             "recorded_at": at(1)} for n, code in enumerate(codes, 1)]  # fmt: skip
    lake.replace(silver.CONDITION, rows(lake, silver.CONDITION, *sent))
    person = {"subject_key": 1, "sex": "female", "birth_year": 1980}
    lake.replace(silver.PATIENT, rows(lake, silver.PATIENT, person))
    first = synthea_run(lake)
    _load(lake, OLD, OLD_MAPS)
    tasks.map_codes(first)
    tasks.map_events(first)
    before = _files(lake, "condition_source_value = 'same'")
    _load(lake, NEW, NEW_MAPS)
    second = replace(first, as_of=datetime(2024, 7, 31, tzinfo=UTC))
    tasks.map_codes(second)
    return second, before, tasks.map_events(second)


def test_each_change_says_its_kind_concepts_domains_and_rows(upgraded):
    run, _, _ = upgraded
    found = run.lake.read(VOCABULARY_CHANGE).collect()
    told = {
        r.code: (r.kind, r.concept_ids_before, r.concept_ids_after, r.domain_ids_after, r.row_count)
        for r in found
    }
    assert told == {
        "moved": ("changed", [10], [11], ["Condition"], 4),
        "routed": ("rerouted", [3], [3], ["Observation"], 3),
        "gone": ("deprecated", [4], [], [], 2),
        "late": ("new_map", [], [10], ["Condition"], 2),
        "two": ("changed", [10], [10, 11], ["Condition"], 2),
    }
    assert {r.code: r.reason for r in found}["gone"] == "deprecated"
    assert {r.changed_at for r in found} == {datetime(2024, 7, 31)}


def test_only_affected_rows_are_written(upgraded):
    """4 moved + 2 gone + 2 late + 2 second rows of `two` + 3 leave; 3 arrive in observation."""
    run, before, said = upgraded
    assert said == {"codes_changed": 5, "records_restated": 13,
                    "condition_occurrence_restated": 13, "observation_restated": 3}  # fmt: skip
    assert _files(run.lake, "condition_source_value = 'same'") == before and len(before) == 80
    assert not set(_files(run.lake, "condition_source_value = 'moved'").values()) & set(
        before.values()
    )
    assert run.lake.version(CONDITION_OCCURRENCE) == 2, "made, written, restated"


def test_restated_tables_are_those_made_anew(upgraded):
    run, _, _ = upgraded
    restated = _content(run.lake)
    concepts = {r[0] for r in run.lake.read(OBSERVATION).select("observation_concept_id").collect()}
    assert concepts == {3}
    assert tasks.map_events(run)["records_restated"] == 0, "the same again changes nothing"
    move_bookmarks(run, tasks.EVENTS_READER, {})
    assert tasks.map_events(run)["condition_occurrence_count"] == 92
    assert _content(run.lake) == restated
