"""OMOP CDM 5.4 tables derived from other CDM tables, and metadata."""

from clinical_lakehouse.tables.contract import Column, ordered, refers_to
from clinical_lakehouse.tables.omop_clinical import PERSON
from clinical_lakehouse.tables.omop_columns import (
    cdm_table,
    concept,
    day,
    number,
    ref,
    text,
)

_PERSON = ref("person_id", "The person.", True)
_KEY = "A hash of person, concept and first day."

CONDITION_ERA = cdm_table(
    "condition_era",
    "span of time in which a person had a condition: gaps of up to 30 days are bridged",
    (
        ref("condition_era_id", _KEY, True),
        _PERSON,
        concept("condition_concept_id", "Standard concept, never 0.", True),
        day("condition_era_start_date", "First day of its first occurrence.", True),
        day("condition_era_end_date", "Last day of its occurrences.", True),
        number("condition_occurrence_count", "Occurrences in it.", "INT"),
    ),
    (
        refers_to("person_id", PERSON),
        ordered("condition_era_start_date", "condition_era_end_date"),
    ),
)

DRUG_ERA = cdm_table(
    "drug_era",
    "span of time in which a person took an ingredient: gaps of up to 30 days are bridged",
    (
        ref("drug_era_id", _KEY, True),
        _PERSON,
        concept("drug_concept_id", "Ingredient.", True),
        day("drug_era_start_date", "First day of its first exposure.", True),
        day("drug_era_end_date", "Last day of its exposures.", True),
        number("drug_exposure_count", "Exposures in it.", "INT"),
        Column("gap_days", "INT", "Days in it without an exposure.", unit="d"),
    ),
    (refers_to("person_id", PERSON), ordered("drug_era_start_date", "drug_era_end_date")),
)

DOSE_ERA = cdm_table(
    "dose_era",
    "span of time in which a person took an ingredient at one daily dose",
    (
        ref("dose_era_id", "A hash of person, ingredient, unit, dose and first day.", True),
        _PERSON,
        concept("drug_concept_id", "Ingredient.", True),
        concept("unit_concept_id", "Unit of the dose.", True),
        number("dose_value", "Amount of the ingredient per day, in that unit.", required=True),
        day("dose_era_start_date", "First day of its first exposure.", True),
        day("dose_era_end_date", "Last day of its exposures.", True),
    ),
    (refers_to("person_id", PERSON), ordered("dose_era_start_date", "dose_era_end_date")),
)

METADATA = cdm_table(
    "metadata",
    "fact about how this CDM was made",
    (
        ref("metadata_id", "A hash of its name.", True),
        concept("metadata_concept_id", "0: no concept stands for it.", True),
        concept("metadata_type_concept_id", "Where it comes from.", True),
        text("name", "What the fact is.", True),
        text("value_as_string", "The fact."),
        concept("value_as_concept_id", "The fact, where a concept stands for it."),
        number("value_as_number", "The fact, where it is a number."),
        Column("metadata_date", "DATE", "Day it was written."),
        Column("metadata_datetime", "TIMESTAMP", "When it was written: the run's as_of."),
    ),
)
