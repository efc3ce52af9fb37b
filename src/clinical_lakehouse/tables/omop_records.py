"""OMOP CDM 5.4: visit_detail, device_exposure, specimen, payer_plan_period and note."""

from clinical_lakehouse.tables.contract import Column, Phi, ordered, refers_to
from clinical_lakehouse.tables.omop_clinical import PERSON, VISIT_OCCURRENCE
from clinical_lakehouse.tables.omop_columns import (
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
_REFERENCES = (
    refers_to("person_id", PERSON),
    refers_to("visit_occurrence_id", VISIT_OCCURRENCE),
)

VISIT_DETAIL = cdm_table(
    "visit_detail",
    "encounter that is part of another one",
    (
        ref("visit_detail_id", "silver.encounter.encounter_key.", True),
        _PERSON,
        concept("visit_detail_concept_id", "Kind of visit by its FHIR class, else 0.", True),
        day("visit_detail_start_date", "First day.", True),
        moment("visit_detail_start_datetime", "Start."),
        day("visit_detail_end_date", "Last day.", True),
        moment("visit_detail_end_datetime", "End."),
        concept("visit_detail_type_concept_id", "Where the record comes from.", True),
        _PROVIDER,
        ref("care_site_id", "The place, else the site."),
        *coded("visit_detail", "FHIR class"),
        concept("admitted_from_concept_id", "Admitted from."),
        text("admitted_from_source_value", "Admitted from, as sent."),
        text("discharged_to_source_value", "Discharged to, as sent."),
        concept("discharged_to_concept_id", "Discharged to."),
        ref("preceding_visit_detail_id", "The part before, in the same visit."),
        ref("parent_visit_detail_id", "The part it is itself a part of."),
        ref("visit_occurrence_id", "The outermost encounter.", True),
    ),
    (*_REFERENCES, ordered("visit_detail_start_date", "visit_detail_end_date")),
)

DEVICE_EXPOSURE = cdm_table(
    "device_exposure",
    "device used on a person, and standard concept",
    (
        ref("device_exposure_id", "The silver key, or a hash of it.", True),
        _PERSON,
        concept("device_concept_id", "Standard concept, 0 where none.", True),
        day("device_exposure_start_date", "First used, else the visit.", True),
        moment("device_exposure_start_datetime", "The same with its time."),
        day("device_exposure_end_date", "Last used."),
        moment("device_exposure_end_datetime", "Last used, with its time."),
        concept("device_type_concept_id", "Where the record comes from.", True),
        text("unique_device_id", "Never filled: a device identifier (164.514(b)(2)(i)(M))."),
        text("production_id", "Never filled: a serial or lot number."),
        number("quantity", "How many.", "INT"),
        _PROVIDER,
        *_VISIT,
        *coded("device", "Device"),
        concept("unit_concept_id", "Unit of the quantity."),
        text("unit_source_value", "Unit as sent."),
        concept("unit_source_concept_id", "Unit: concept of the source's own code."),
    ),
    (*_REFERENCES, ordered("device_exposure_start_date", "device_exposure_end_date")),
)

SPECIMEN = cdm_table(
    "specimen",
    "specimen taken of a person, and standard concept",
    (
        ref("specimen_id", "The silver key, or a hash of it.", True),
        _PERSON,
        concept("specimen_concept_id", "Standard concept, 0 where none.", True),
        concept("specimen_type_concept_id", "Where the record comes from.", True),
        day("specimen_date", "Collected, else received.", True),
        moment("specimen_datetime", "The same with its time."),
        number("quantity", "Amount collected, in the unit as sent."),
        concept("unit_concept_id", "Unit; null where none was sent, 0 where not known."),
        concept("anatomic_site_concept_id", "Where it was taken from."),
        concept("disease_status_concept_id", "Never filled: FHIR does not tell."),
        text("specimen_source_id", "Its surrogate key, never an accession number."),
        text("specimen_source_value", "Kind of specimen as the source codes it."),
        text("unit_source_value", "Unit as sent."),
        text("anatomic_site_source_value", "Body site as the source codes it."),
        text("disease_status_source_value", "Never filled: FHIR does not tell."),
    ),
    (refers_to("person_id", PERSON),),
)

PAYER_PLAN_PERIOD = cdm_table(
    "payer_plan_period",
    "person's coverage by a payer with a known first day",
    (
        ref("payer_plan_period_id", "silver.coverage.coverage_key.", True),
        _PERSON,
        day("payer_plan_period_start_date", "First day.", True),
        day("payer_plan_period_end_date", "Last day, else the run's.", True),
        concept("payer_concept_id", "0: no vocabulary of payers is looked up."),
        text("payer_source_value", "The payer's surrogate key."),
        concept("payer_source_concept_id", "0."),
        concept("plan_concept_id", "0: no vocabulary of plans is looked up."),
        text("plan_source_value", "Kind of coverage as sent."),
        concept("plan_source_concept_id", "0."),
        concept("sponsor_concept_id", "Never filled."),
        text("sponsor_source_value", "Never filled."),
        concept("sponsor_source_concept_id", "Never filled."),
        text("family_source_value", "Never filled: identifies."),
        concept("stop_reason_concept_id", "Never filled."),
        text("stop_reason_source_value", "Never filled."),
        concept("stop_reason_source_concept_id", "Never filled."),
    ),
    (
        refers_to("person_id", PERSON),
        ordered("payer_plan_period_start_date", "payer_plan_period_end_date"),
    ),
)

NOTE = cdm_table(
    "note",
    "note of a person, de-identified; empty while silver keeps no text",
    (
        ref("note_id", "The silver key.", True),
        _PERSON,
        day("note_date", "Written.", True),
        moment("note_datetime", "Written, with its time."),
        concept("note_type_concept_id", "Where the record comes from.", True),
        concept("note_class_concept_id", "Kind of note.", True),
        text("note_title", "Title."),
        Column("note_text", "STRING", "De-identified text.", False, Phi.QUASI),
        concept("encoding_concept_id", "Encoding of the text.", True),
        concept("language_concept_id", "Language of the text.", True),
        _PROVIDER,
        *_VISIT,
        text("note_source_value", "Kind of note as the source codes it."),
        ref("note_event_id", "A record it belongs to."),
        concept("note_event_field_concept_id", "Which table that record is in."),
    ),
    _REFERENCES,
)
