"""OHDSI's Data Quality Dashboard on the ten Synthea patients: no conformance check fails.

The rules are DQD's own CSVs for CDM 5.4, read in place; each check below says what its SQL file
counts (inst/sql/sql_server of OHDSI/DataQualityDashboard).
"""

import csv
from functools import cache

import pandas as pd
import pytest

from clinical_lakehouse.standardization import concepts as fixed
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.omop_vocabulary import ATHENA_FILES
from tests.conftest import PUBLIC_DATA

pytestmark = pytest.mark.soak
# Nothing that FHIR sends, or that is derived from it, goes here.
NOT_MADE = {"note_nlp", "fact_relationship", "cost", "episode", "episode_event", "cohort",
            "cohort_definition"}  # fmt: skip
# The shard holds six files' worth of concepts: its own references lead out of it.
VOCABULARY = {table.short_name for table in ATHENA_FILES.values()}


def _rules(level: str) -> list[dict[str, str]]:
    path = PUBLIC_DATA / "dqd_v54" / f"OMOP_CDMv5.4_{level}_Level.csv"
    if not path.exists():
        pytest.skip("public data dqd_v54 is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    with path.open(encoding="latin1", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def fields():
    """The field-level rules of the tables that are made here."""
    rules = [{**r, "table": r["cdmTableName"].lower(), "field": r["cdmFieldName"].lower()}
             for r in _rules("Field")]  # fmt: skip
    return [r for r in rules if r["table"] not in NOT_MADE | VOCABULARY]


@pytest.fixture(scope="module")
def rows_of(mapped_lake):
    """Every row of an OMOP table, small as this source is."""
    return cache(
        lambda name: pd.DataFrame(
            [row.asDict() for row in mapped_lake.read(all_tables()[f"omop.{name}"]).collect()],
            columns=all_tables()[f"omop.{name}"].column_names,
            dtype=object,
        )
    )


@pytest.fixture(scope="module")
def vocabulary(rows_of):
    return rows_of("concept").set_index("concept_id")


def _fixed_ids() -> set[int]:
    """Concepts that rules decide: the shard has none of them, a whole Athena download has all."""
    values = [value for name, value in vars(fixed).items() if name.isupper()]
    lists = [value.values() for value in values if isinstance(value, dict)]
    return {0, *(v for v in values if isinstance(v, int)), *(v for each in lists for v in each)}


def test_cdm_table_every_table_is_there(mapped_lake):
    names = {r["cdmTableName"].lower() for r in _rules("Table")} - NOT_MADE - VOCABULARY
    assert len(names) == 22
    missing = [n for n in sorted(names) if not mapped_lake.exists(all_tables()[f"omop.{n}"])]
    assert missing == []


def test_cdm_field_and_datatype_every_field_is_there_and_integers_are_integers(mapped_lake, fields):
    types = {
        name: dict(mapped_lake.read(all_tables()[f"omop.{name}"]).dtypes)
        for name in {rule["table"] for rule in fields}
    }
    assert [r["field"] for r in fields if r["field"] not in types[r["table"]]] == []
    integers = [r for r in fields if r["cdmDatatype"] == "integer"]
    assert len(integers) > 150
    assert {types[r["table"]][r["field"]] for r in integers} <= {"int", "bigint"}


def test_is_required_and_is_primary_key(rows_of, fields):
    required = [(r["table"], r["field"]) for r in fields if r["isRequired"] == "Yes"]
    nulls = [(table, field) for table, field in required if rows_of(table)[field].isna().any()]
    assert nulls == []
    keys = [r for r in fields if r["isPrimaryKey"] == "Yes"]
    assert len(keys) > 15
    assert [r["field"] for r in keys if rows_of(r["table"])[r["field"]].duplicated().any()] == []


def test_is_foreign_key_every_reference_leads_somewhere(rows_of, fields, vocabulary):
    judged, lost = 0, []
    for rule in (r for r in fields if r["isForeignKey"] == "Yes"):
        table, other = rule["table"], rule["fkTableName"].lower()
        if other in NOT_MADE | (VOCABULARY - {"concept"}):
            continue
        values = set(rows_of(table)[rule["field"]].dropna())
        is_concept = other == "concept"
        known = set(vocabulary.index) | _fixed_ids() if is_concept else set(
            rows_of(other)[rule["fkFieldName"].lower()]
        )  # fmt: skip
        judged += bool(values)
        lost += [(table, rule["field"], value) for value in sorted(values - known)[:3]]
    assert lost == []
    assert judged > 40


@pytest.mark.parametrize("check", ["isStandardValidConcept", "fkDomain", "fkClass"])
def test_concepts_are_standard_and_of_the_domain_and_class_of_their_field(
    rows_of, fields, vocabulary, check
):
    judged, wrong = 0, []
    for rule in (r for r in fields if r[check] not in ("", "No")):
        used = vocabulary.loc[vocabulary.index.intersection(
            set(rows_of(rule["table"])[rule["field"]].dropna()) - {0}
        )]  # fmt: skip
        judged += len(used)
        bad = {
            "isStandardValidConcept": (used.standard_concept != "S") | used.invalid_reason.notna(),
            "fkDomain": used.domain_id != rule["fkDomain"],
            "fkClass": used.concept_class_id != rule["fkClass"],
        }[check]
        wrong += [(rule["table"], rule["field"], str(i)) for i in used.index[bad][:3]]
    assert wrong == []
    assert judged > 50 or check == "fkClass", "the shard must judge something"


def test_table_completeness_and_eras_for_every_condition(rows_of):
    persons = set(rows_of("person").person_id)
    for rule in (r for r in _rules("Table") if r["measurePersonCompleteness"] == "Yes"):
        name = rule["cdmTableName"].lower()
        if name in NOT_MADE or name == "drug_era":  # no concept_ancestor in the shard: no eras
            continue
        without = len(persons - set(rows_of(name).person_id)) / len(persons) * 100
        assert without <= float(rule["measurePersonCompletenessThreshold"]), name
    conditions = rows_of("condition_occurrence")
    mapped = set(conditions.person_id[conditions.condition_concept_id != 0])
    assert mapped == set(rows_of("condition_era").person_id) and mapped


def test_observation_periods_do_not_overlap(rows_of):
    assert not rows_of("observation_period").person_id.duplicated().any()
