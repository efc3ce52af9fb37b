"""Silver: flattened FHIR R4 and trial records, no direct identifiers, dates shifted per person.

Each contract is derived from a view in conf/views/silver; those that code names stand here, a
user's own are found by `tables.catalog` only.
"""

from clinical_lakehouse.tables.contract import Column, Table, key, refers_to
from clinical_lakehouse.tables.views import silver_table

PATIENT = silver_table("patient")
ENCOUNTER = silver_table("encounter")
CONDITION = silver_table("condition")
OBSERVATION = silver_table("observation")
MEDICATION_REQUEST = silver_table("medication_request")
MEDICATION_ADMINISTRATION = silver_table("medication_administration")
PROCEDURE = silver_table("procedure")
IMMUNIZATION = silver_table("immunization")
ALLERGY_INTOLERANCE = silver_table("allergy_intolerance")
DIAGNOSTIC_REPORT = silver_table("diagnostic_report")
DOCUMENT_REFERENCE = silver_table("document_reference")
DEVICE = silver_table("device")
SPECIMEN = silver_table("specimen")
DEVICE_USE = silver_table("device_use")
COVERAGE = silver_table("coverage")
ADVERSE_EVENT = silver_table("adverse_event")
STUDY = silver_table("study")
SUBJECT = silver_table("subject")
ORGANIZATION = silver_table("organization")
LOCATION = silver_table("location")
PRACTITIONER = silver_table("practitioner")

ENCOUNTER_COMPLETENESS = Table(
    name="silver.encounter_completeness",
    comment="One row per encounter: has every linked type been loaded up to its export time?",
    owner="data-engineering",
    key=("encounter_key",),
    columns=(
        key("encounter_key", "The encounter: silver.encounter."),
        Column("is_complete", "BOOLEAN", "Nothing that belongs to it is still to come.", False),
        Column("missing_types", "ARRAY<STRING>", "Linked types not loaded that far yet.", False),
    ),
    checks=(refers_to("encounter_key", ENCOUNTER),),
)
