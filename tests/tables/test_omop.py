"""OMOP contracts are the CDM 5.4 itself: same columns, order, types and nullability."""

import csv

import pytest

from clinical_lakehouse.tables import (
    omop_clinical,
    omop_derived,
    omop_places,
    omop_records,
    omop_vocabulary,
)
from clinical_lakehouse.tables.contract import Phi, Table

MODULES = (omop_clinical, omop_derived, omop_places, omop_records, omop_vocabulary)
CONTRACTS = list({
    table.name: table
    for module in MODULES
    for table in vars(module).values()
    if isinstance(table, Table)
}.values())  # fmt: skip
# The CDM calls keys integer; ours are hashes of 63 bits. Keys that count persons' records, not
# concepts, and the columns that refer to them, are therefore BIGINT.
GENERATED = {
    "person", "observation_period", "visit_occurrence", "visit_detail", "condition_occurrence",
    "drug_exposure", "procedure_occurrence", "measurement", "observation", "location", "provider",
    "care_site", "preceding_visit_occurrence", "measurement_event", "observation_event",
    "preceding_visit_detail", "parent_visit_detail", "device_exposure", "specimen", "note",
    "note_event", "payer_plan_period", "condition_era", "drug_era", "dose_era", "metadata",
}  # fmt: skip
TYPES = {"integer": "INT", "float": "DOUBLE", "date": "DATE", "datetime": "TIMESTAMP"}


@pytest.fixture
def published(public_data):
    """The CDM's own field-level description, by table."""
    path = public_data("omop_cdm54") / "csv" / "OMOP_CDMv5.4_Field_Level.csv"
    fields: dict[str, list[dict]] = {}
    with path.open(encoding="latin1", newline="") as file:
        for field in csv.DictReader(file):
            fields.setdefault(field["cdmTableName"].lower(), []).append(field)
    return fields


def _type(field: dict) -> str:
    name, datatype = field["cdmFieldName"].lower(), field["cdmDatatype"].lower()
    if datatype == "integer" and name.removesuffix("_id") in GENERATED:
        return "BIGINT"
    return "STRING" if datatype.startswith("varchar") else TYPES[datatype]


@pytest.mark.parametrize("table", CONTRACTS, ids=lambda table: table.name)
def test_contract_has_the_published_columns_types_and_nullability(table, published):
    wanted = [
        (field["cdmFieldName"].lower(), _type(field), field["isRequired"] == "No")
        for field in published[table.short_name]
    ]
    assert [(c.name, c.type, c.nullable) for c in table.columns] == wanted


def test_contracts_cover_every_table_that_fhir_feeds_or_that_is_derived():
    clinical = (
        "person observation_period visit_occurrence visit_detail condition_occurrence "
        "drug_exposure procedure_occurrence device_exposure measurement observation death note "
        "specimen location care_site provider payer_plan_period condition_era drug_era dose_era "
        "cdm_source metadata"
    )
    assert {table.short_name for table in CONTRACTS} >= set(clinical.split())
    assert len(CONTRACTS) == 22 + 10


@pytest.mark.parametrize("table", CONTRACTS, ids=lambda table: table.name)
def test_dates_of_persons_are_pseudonyms_and_nothing_is_a_direct_identifier(table):
    assert all(column.phi is not Phi.DIRECT for column in table.columns)
    if "person_id" in table.column_names:
        dated = [c for c in table.columns if c.type in ("DATE", "TIMESTAMP")]
        assert all(column.phi is Phi.PSEUDONYM for column in dated)
