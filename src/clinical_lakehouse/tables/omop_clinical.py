"""OMOP CDM 5.4 clinical tables and cdm_source: exact names, order, types and nullability."""

from clinical_lakehouse.tables.contract import (
    Check,
    Column,
    Phi,
    Severity,
    Table,
    between,
    is_one_of,
    ordered,
    refers_to,
)
from clinical_lakehouse.tables.omop_columns import (
    OWNER,
    cdm_table,
    coded,
    concept,
    day,
    moment,
    number,
    ref,
    text,
)

_PERSON = ref("person_id", "The person: silver.patient.subject_key.", True)
_PROVIDER = ref("provider_id", "Who did it; null where the source names nobody.")
_VISIT = (
    ref("visit_occurrence_id", "The visit it belongs to."),
    ref("visit_detail_id", "The part of the visit it belongs to."),
)

PERSON = cdm_table(
    "person",
    "person",
    (
        _PERSON,
        concept("gender_concept_id", "8507 male, 8532 female, else 0.", True),
        Column(
            "year_of_birth",
            "INT",
            "Year of birth; for everyone over 89 the year 90 years before the run.",
            False,
            Phi.QUASI,
        ),
        Column("month_of_birth", "INT", "Never filled: identifies.", phi=Phi.QUASI),
        Column("day_of_birth", "INT", "Never filled: identifies.", phi=Phi.QUASI),
        moment("birth_datetime", "Never filled: identifies."),
        concept("race_concept_id", "OMB race, 0 where not known.", True),
        concept("ethnicity_concept_id", "38003563 Hispanic, 38003564 not, else 0.", True),
        ref("location_id", "The state the person lives in."),
        _PROVIDER,
        ref("care_site_id", "The person's site."),
        text("person_source_value", "The person's surrogate key, never an identifier."),
        text("gender_source_value", "FHIR administrative gender."),
        concept("gender_source_concept_id", "0: FHIR's codes are no vocabulary."),
        text("race_source_value", "OMB race code.", phi=Phi.QUASI),
        concept("race_source_concept_id", "0: OMB's codes are looked up by rule."),
        text("ethnicity_source_value", "OMB ethnicity code.", phi=Phi.QUASI),
        concept("ethnicity_source_concept_id", "0: OMB's codes are looked up by rule."),
    ),
    (
        between("year_of_birth", 1850, 2100),
        is_one_of("gender_concept_id", "0", "8507", "8532"),
    ),
)

OBSERVATION_PERIOD = cdm_table(
    "observation_period",
    "person with any dated record: from the first to the last",
    (
        ref("observation_period_id", "The person's surrogate key: one period each.", True),
        _PERSON,
        day("observation_period_start_date", "Day of the first record.", True),
        day("observation_period_end_date", "Day of the last record.", True),
        concept("period_type_concept_id", "How the period was found.", True),
    ),
    (
        refers_to("person_id", PERSON),
        ordered("observation_period_start_date", "observation_period_end_date"),
    ),
)

VISIT_OCCURRENCE = cdm_table(
    "visit_occurrence",
    "visit that took place",
    (
        ref("visit_occurrence_id", "silver.encounter.encounter_key.", True),
        _PERSON,
        concept("visit_concept_id", "Kind of visit by its FHIR class, else 0.", True),
        day("visit_start_date", "First day.", True),
        moment("visit_start_datetime", "Start."),
        day("visit_end_date", "Last day.", True),
        moment("visit_end_datetime", "End."),
        concept("visit_type_concept_id", "Where the record comes from.", True),
        _PROVIDER,
        ref("care_site_id", "The site, else the place."),
        *coded("visit", "FHIR class"),
        concept("admitted_from_concept_id", "Admitted from."),
        text("admitted_from_source_value", "Admitted from, as sent."),
        concept("discharged_to_concept_id", "Discharged to."),
        text("discharged_to_source_value", "Discharged to, as sent."),
        ref("preceding_visit_occurrence_id", "The visit that began before it."),
    ),
    (refers_to("person_id", PERSON), ordered("visit_start_date", "visit_end_date")),
)


def _event(
    name: str, grain: str, columns: tuple[Column, ...], checks: tuple[Check, ...] = ()
) -> Table:
    """A table of events: person, visit and date must agree with the other tables."""
    references = (
        refers_to("person_id", PERSON),
        refers_to("visit_occurrence_id", VISIT_OCCURRENCE),
    )
    return cdm_table(name, grain, columns, (*references, *checks))


CONDITION_OCCURRENCE = _event(
    "condition_occurrence",
    "condition of a person, as recorded once, and standard concept",
    (
        ref("condition_occurrence_id", "The silver key, or a hash of it.", True),
        _PERSON,
        concept("condition_concept_id", "Standard concept, 0 where none.", True),
        day("condition_start_date", "Onset, else recorded, else the visit.", True),
        moment("condition_start_datetime", "The same with its time."),
        day("condition_end_date", "Abatement."),
        moment("condition_end_datetime", "Abatement with its time."),
        concept("condition_type_concept_id", "Where the record comes from.", True),
        concept("condition_status_concept_id", "Role of the diagnosis."),
        text("stop_reason", "Why it ended."),
        _PROVIDER,
        *_VISIT,
        *coded("condition", "Diagnosis"),
        text("condition_status_source_value", "FHIR clinical status."),
    ),
    (ordered("condition_start_date", "condition_end_date"),),
)

DRUG_EXPOSURE = _event(
    "drug_exposure",
    "prescription, dose or vaccine of a person, and standard concept",
    (
        ref("drug_exposure_id", "The silver key, or a hash of it.", True),
        _PERSON,
        concept("drug_concept_id", "Standard concept, 0 where none.", True),
        day("drug_exposure_start_date", "Written or given, else the visit.", True),
        moment("drug_exposure_start_datetime", "The same with its time."),
        day("drug_exposure_end_date", "End, else by days_supply, else the start.", True),
        moment("drug_exposure_end_datetime", "End with its time, where sent."),
        day("verbatim_end_date", "End, where sent."),
        concept("drug_type_concept_id", "Prescribed or given.", True),
        text("stop_reason", "Why it ended."),
        number("refills", "Repeats allowed after the first.", "INT"),
        number("quantity", "Amount supplied, or the dose given in its unit."),
        number("days_supply", "Days the supply lasts.", "INT"),
        text("sig", "Never filled: directions are free text."),
        concept("route_concept_id", "Route of administration."),
        text("lot_number", "Never filled."),
        _PROVIDER,
        *_VISIT,
        *coded("drug", "Drug"),
        text("route_source_value", "Route as the source codes it."),
        text("dose_unit_source_value", "Unit of the dose."),
    ),
    (
        ordered("drug_exposure_start_date", "drug_exposure_end_date"),
        between("days_supply", 0, 3650, Severity.WARN),
        between("quantity", 0, 1_000_000, Severity.WARN),
    ),
)

PROCEDURE_OCCURRENCE = _event(
    "procedure_occurrence",
    "procedure done on a person, and standard concept",
    (
        ref("procedure_occurrence_id", "The silver key, or a hash of it.", True),
        _PERSON,
        concept("procedure_concept_id", "Standard concept, 0 where none.", True),
        day("procedure_date", "Done, else the visit.", True),
        moment("procedure_datetime", "The same with its time."),
        day("procedure_end_date", "End."),
        moment("procedure_end_datetime", "End with its time."),
        concept("procedure_type_concept_id", "Where the record comes from.", True),
        concept("modifier_concept_id", "How it was done."),
        number("quantity", "How many.", "INT"),
        _PROVIDER,
        *_VISIT,
        *coded("procedure", "Procedure"),
        text("modifier_source_value", "How it was done, as sent."),
    ),
    (ordered("procedure_date", "procedure_end_date"),),
)

MEASUREMENT = _event(
    "measurement",
    "value measured on a person (each component is one), and standard concept",
    (
        ref("measurement_id", "The silver key, or a hash of it and the component.", True),
        _PERSON,
        concept("measurement_concept_id", "Standard concept, 0 where none.", True),
        day("measurement_date", "Measured, else the visit.", True),
        moment("measurement_datetime", "The same with its time."),
        text("measurement_time", "Never filled: the CDM keeps it for old tools."),
        concept("measurement_type_concept_id", "Where the record comes from.", True),
        concept("operator_concept_id", "<, <=, >= or > the value; null for an exact one."),
        number("value_as_number", "The value, in the unit as sent."),
        concept("value_as_concept_id", "A coded value, 0 where no concept matches."),
        concept("unit_concept_id", "Unit; null where none was sent, 0 where not known."),
        number("range_low", "Reference range, low, in the same unit."),
        number("range_high", "Reference range, high, in the same unit."),
        _PROVIDER,
        *_VISIT,
        *coded("measurement", "What was measured"),
        *coded("unit", "Unit"),
        text("value_source_value", "The value as sent."),
        ref("measurement_event_id", "A record it belongs to."),
        concept("meas_event_field_concept_id", "Which table that record is in."),
    ),
)

OBSERVATION = _event(
    "observation",
    "fact about a person that fits no other table, and standard concept",
    (
        ref("observation_id", "The silver key, or a hash of it and the component.", True),
        _PERSON,
        concept("observation_concept_id", "Standard concept, 0 where none.", True),
        day("observation_date", "Observed, else the visit.", True),
        moment("observation_datetime", "The same with its time."),
        concept("observation_type_concept_id", "Where the record comes from.", True),
        number("value_as_number", "A numeric value, in the unit as sent."),
        text("value_as_string", "A coded value's display."),
        concept("value_as_concept_id", "A coded value, 0 where no concept matches."),
        concept("qualifier_concept_id", "What qualifies the fact."),
        concept("unit_concept_id", "Unit; null where none was sent, 0 where not known."),
        _PROVIDER,
        *_VISIT,
        *coded("observation", "What was observed"),
        text("unit_source_value", "Unit as sent."),
        text("qualifier_source_value", "FHIR interpretation."),
        text("value_source_value", "The value as sent."),
        ref("observation_event_id", "A record it belongs to."),
        concept("obs_event_field_concept_id", "Which table that record is in."),
    ),
)

DEATH = cdm_table(
    "death",
    "person known to have died on a known day",
    (
        _PERSON,
        day("death_date", "Day of death.", True),
        moment("death_datetime", "Time of death."),
        concept("death_type_concept_id", "Where the record comes from."),
        concept("cause_concept_id", "Cause: standard concept."),
        *coded("cause", "Cause"),
    ),
    (refers_to("person_id", PERSON),),
)

CDM_SOURCE = Table(
    "omop.cdm_source",
    "One row: what this CDM was made from, when and by which version.",
    OWNER,
    ("cdm_source_name",),
    (
        text("cdm_source_name", "Name of the source.", True),
        text("cdm_source_abbreviation", "Its short name.", True),
        text("cdm_holder", "Who holds the data.", True),
        text("source_description", "What the source is."),
        text("source_documentation_reference", "Where the source is described."),
        text("cdm_etl_reference", "What made this CDM."),
        Column("source_release_date", "DATE", "Day up to which the source was taken.", False),
        Column("cdm_release_date", "DATE", "Day this CDM was made.", False),
        text("cdm_version", "Version of the CDM."),
        concept("cdm_version_concept_id", "Concept of that version.", True),
        text("vocabulary_version", "Version of the vocabulary used.", True),
    ),
)
