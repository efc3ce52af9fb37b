"""Silver views of clinical resources: encounters, conditions, medication, procedures, ..."""

from collections.abc import Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.fields import (
    CONCEPT,
    PERIOD,
    QUANTITY,
    REFERENCE,
    KeyOf,
    coding,
    coding_columns,
    coding_not_of,
    coding_of,
    days,
    first,
    reference_key,
    shifted,
    unit_code,
)
from clinical_lakehouse.ingestion.view import View
from clinical_lakehouse.tables import silver

VISIT = "https://clinical-lakehouse.example/visit"
MEDDRA = "https://www.meddra.org"


def _event(
    key_of: KeyOf, resource_type: str, key: str, encounter: Column, code: Column
) -> dict[str, Column]:
    """What every dated, coded event of a person has."""
    return {
        key: key_of(resource_type, F.col("resource_id")),
        "subject_key": F.col("subject_key"),
        "encounter_key": reference_key(key_of, "Encounter", encounter),
        **coding_columns("", code),
    }


def _encounters(key_of: KeyOf) -> Mapping[str, Column]:
    kinds = F.flatten(F.transform("r.type", lambda concept: concept["coding"]))
    kind = first(F.filter(kinds, lambda c: ~c["system"].eqNullSafe(F.lit(VISIT))))
    visit = first(F.filter(kinds, lambda c: c["system"] == VISIT))
    staff = first(F.col("r.participant"))["individual"]
    return {
        "encounter_key": key_of("Encounter", F.col("resource_id")),
        "subject_key": F.col("subject_key"),
        "status": F.col("r.status"),
        "class_code": F.col("r.class.code"),
        **coding_columns("type", kind),
        "visit_code": visit["code"],
        "started_at": shifted(F.col("r.period.start")),
        "ended_at": shifted(F.col("r.period.end")),
        **coding_columns("reason", coding(first(F.col("r.reasonCode")))),
        "organization_key": reference_key(key_of, "Organization", F.col("r.serviceProvider")),
        "practitioner_key": reference_key(key_of, "Practitioner", staff),
        "location_key": reference_key(key_of, "Location", first(F.col("r.location"))["location"]),
        "part_of_key": reference_key(key_of, "Encounter", F.col("r.partOf")),
    }


def _conditions(key_of: KeyOf) -> Mapping[str, Column]:
    onset = F.coalesce(F.col("r.onsetDateTime"), F.col("r.onsetPeriod.start"))
    abatement = F.coalesce(F.col("r.abatementDateTime"), F.col("r.abatementPeriod.end"))
    code = coding(F.col("r.code"))
    return {
        **_event(key_of, "Condition", "condition_key", F.col("r.encounter"), code),
        "clinical_status": coding(F.col("r.clinicalStatus"))["code"],
        "verification_status": coding(F.col("r.verificationStatus"))["code"],
        "category_code": coding(first(F.col("r.category")))["code"],
        "onset_at": shifted(onset),
        "abatement_at": shifted(abatement),
        "recorded_at": shifted(F.col("r.recordedDate")),
    }


def _medication_requests(key_of: KeyOf) -> Mapping[str, Column]:
    dose = first(first(F.col("r.dosageInstruction"))["doseAndRate"])["doseQuantity"]
    code = coding(F.col("r.medicationCodeableConcept"))
    supply = F.col("r.dispenseRequest")
    return {
        **_event(key_of, "MedicationRequest", "medication_request_key", F.col("r.encounter"), code),
        "status": F.col("r.status"),
        "authored_at": shifted(F.col("r.authoredOn")),
        "intent": F.col("r.intent"),
        "dose_value": dose["value"],
        "dose_unit": unit_code(dose),
        "supply_days": days(supply["expectedSupplyDuration"]),
        "quantity": supply["quantity"]["value"],
        "refills": supply["numberOfRepeatsAllowed"],
    }


def _medication_administrations(key_of: KeyOf) -> Mapping[str, Column]:
    key, code = "medication_administration_key", coding(F.col("r.medicationCodeableConcept"))
    start = F.coalesce(F.col("r.effectiveDateTime"), F.col("r.effectivePeriod.start"))
    dose = F.col("r.dosage.dose")
    return {
        **_event(key_of, "MedicationAdministration", key, F.col("r.context"), code),
        "status": F.col("r.status"),
        "started_at": shifted(start),
        "ended_at": shifted(F.col("r.effectivePeriod.end")),
        "dose_value": dose["value"],
        "dose_unit": unit_code(dose),
        "route_code": coding(F.col("r.dosage.route"))["code"],
    }


def _procedures(key_of: KeyOf) -> Mapping[str, Column]:
    start = F.coalesce(F.col("r.performedDateTime"), F.col("r.performedPeriod.start"))
    code = coding(F.col("r.code"))
    return {
        **_event(key_of, "Procedure", "procedure_key", F.col("r.encounter"), code),
        "status": F.col("r.status"),
        "started_at": shifted(start),
        "ended_at": shifted(F.col("r.performedPeriod.end")),
    }


def _immunizations(key_of: KeyOf) -> Mapping[str, Column]:
    code = coding(F.col("r.vaccineCode"))
    return {
        **_event(key_of, "Immunization", "immunization_key", F.col("r.encounter"), code),
        "status": F.col("r.status"),
        "occurred_at": shifted(F.col("r.occurrenceDateTime")),
    }


def _allergies(key_of: KeyOf) -> Mapping[str, Column]:
    key, code = "allergy_intolerance_key", coding(F.col("r.code"))
    return {
        **_event(key_of, "AllergyIntolerance", key, F.col("r.encounter"), code),
        "status": coding(F.col("r.clinicalStatus"))["code"],
        "recorded_at": shifted(F.col("r.recordedDate")),
        "category_code": first(F.col("r.category")),
        "criticality": F.col("r.criticality"),
    }


def _diagnostic_reports(key_of: KeyOf) -> Mapping[str, Column]:
    at = F.coalesce(F.col("r.effectiveDateTime"), F.col("r.effectivePeriod.start"))
    code = coding(F.col("r.code"))
    return {
        **_event(key_of, "DiagnosticReport", "diagnostic_report_key", F.col("r.encounter"), code),
        "status": F.col("r.status"),
        "effective_at": shifted(at),
    }


def _documents(key_of: KeyOf) -> Mapping[str, Column]:
    encounter, code = first(F.col("r.context.encounter")), coding(F.col("r.type"))
    return {
        **_event(key_of, "DocumentReference", "document_reference_key", encounter, code),
        "status": F.col("r.status"),
        "authored_at": shifted(F.col("r.date")),
    }


def _adverse_events(key_of: KeyOf) -> Mapping[str, Column]:
    event = F.col("r.event")
    code = coding_not_of(event, MEDDRA)
    return {
        **_event(key_of, "AdverseEvent", "adverse_event_key", F.col("r.encounter"), code),
        "status": F.col("r.actuality"),
        "occurred_at": shifted(F.col("r.date")),
        "meddra_code": coding_of(event, MEDDRA)["code"],
        "seriousness_code": coding(F.col("r.seriousness"))["code"],
        "severity_code": coding(F.col("r.severity"))["code"],
        "outcome_code": coding(F.col("r.outcome"))["code"],
        "recorded_at": shifted(F.col("r.recordedDate")),
        "suspect_code": F.lit(None),
        "study_key": reference_key(key_of, "ResearchStudy", first(F.col("r.study"))),
    }


def _devices(key_of: KeyOf) -> Mapping[str, Column]:
    code = coding(F.col("r.type"))
    return {
        **_event(key_of, "Device", "device_key", F.lit(None).cast(REFERENCE), code),
        "status": F.col("r.status"),
        "used_at": F.lit(None),
    }


def _device_uses(key_of: KeyOf) -> Mapping[str, Column]:
    timing, period = F.col("r.timingDateTime"), F.col("r.timingPeriod")
    return {
        "device_use_key": key_of("DeviceUseStatement", F.col("resource_id")),
        "subject_key": F.col("subject_key"),
        "device_key": reference_key(key_of, "Device", F.col("r.device")),
        "status": F.col("r.status"),
        "started_at": shifted(F.coalesce(timing, period["start"], F.col("r.recordedOn"))),
        "ended_at": shifted(period["end"]),
    }


def _specimens(key_of: KeyOf) -> Mapping[str, Column]:
    taken, code = F.col("r.collection"), coding(F.col("r.type"))
    at = F.coalesce(taken["collectedDateTime"], taken["collectedPeriod"]["start"])
    return {
        **_event(key_of, "Specimen", "specimen_key", F.lit(None).cast(REFERENCE), code),
        "status": F.col("r.status"),
        "collected_at": shifted(F.coalesce(at, F.col("r.receivedTime"))),
        "quantity": taken["quantity"]["value"],
        "unit_code": unit_code(taken["quantity"]),
        "unit": taken["quantity"]["unit"],
        **coding_columns("site", coding(taken["bodySite"])),
    }


def _coverage(key_of: KeyOf) -> Mapping[str, Column]:
    return {
        "coverage_key": key_of("Coverage", F.col("resource_id")),
        "subject_key": F.col("subject_key"),
        "status": F.col("r.status"),
        **coding_columns("type", coding(F.col("r.type"))),
        "started_at": shifted(F.col("r.period.start")),
        "ended_at": shifted(F.col("r.period.end")),
        "payer_key": reference_key(key_of, "Organization", first(F.col("r.payor"))),
    }


VIEWS = (
    View(
        silver.ENCOUNTER,
        "Encounter",
        f"status STRING, class STRUCT<code: STRING>, type ARRAY<{CONCEPT}>, period {PERIOD}, "
        f"reasonCode ARRAY<{CONCEPT}>, serviceProvider {REFERENCE}, partOf {REFERENCE}, "
        f"participant ARRAY<STRUCT<individual: {REFERENCE}>>, "
        f"location ARRAY<STRUCT<location: {REFERENCE}>>",
        _encounters,
    ),
    View(
        silver.CONDITION,
        "Condition",
        f"clinicalStatus {CONCEPT}, verificationStatus {CONCEPT}, category ARRAY<{CONCEPT}>, "
        f"code {CONCEPT}, encounter {REFERENCE}, onsetDateTime STRING, onsetPeriod {PERIOD}, "
        f"abatementDateTime STRING, abatementPeriod {PERIOD}, recordedDate STRING",
        _conditions,
        retracted_by=("verificationStatus",),
    ),
    View(
        silver.MEDICATION_REQUEST,
        "MedicationRequest",
        f"status STRING, intent STRING, medicationCodeableConcept {CONCEPT}, "
        f"encounter {REFERENCE}, authoredOn STRING, dosageInstruction "
        f"ARRAY<STRUCT<doseAndRate: ARRAY<STRUCT<doseQuantity: {QUANTITY}>>>>, "
        f"dispenseRequest STRUCT<numberOfRepeatsAllowed: INT, quantity: {QUANTITY}, "
        f"expectedSupplyDuration: {QUANTITY}>",
        _medication_requests,
    ),
    View(
        silver.MEDICATION_ADMINISTRATION,
        "MedicationAdministration",
        f"status STRING, medicationCodeableConcept {CONCEPT}, context {REFERENCE}, "
        f"effectiveDateTime STRING, effectivePeriod {PERIOD}, "
        f"dosage STRUCT<dose: {QUANTITY}, route: {CONCEPT}>",
        _medication_administrations,
    ),
    View(
        silver.PROCEDURE,
        "Procedure",
        f"status STRING, code {CONCEPT}, encounter {REFERENCE}, performedDateTime STRING, "
        f"performedPeriod {PERIOD}",
        _procedures,
    ),
    View(
        silver.IMMUNIZATION,
        "Immunization",
        f"status STRING, vaccineCode {CONCEPT}, encounter {REFERENCE}, occurrenceDateTime STRING",
        _immunizations,
    ),
    View(
        silver.ALLERGY_INTOLERANCE,
        "AllergyIntolerance",
        f"clinicalStatus {CONCEPT}, verificationStatus {CONCEPT}, category ARRAY<STRING>, "
        f"criticality STRING, code {CONCEPT}, encounter {REFERENCE}, recordedDate STRING",
        _allergies,
        retracted_by=("verificationStatus",),
    ),
    View(
        silver.DIAGNOSTIC_REPORT,
        "DiagnosticReport",
        f"status STRING, code {CONCEPT}, encounter {REFERENCE}, effectiveDateTime STRING, "
        f"effectivePeriod {PERIOD}",
        _diagnostic_reports,
    ),
    View(
        silver.DOCUMENT_REFERENCE,
        "DocumentReference",
        f"status STRING, type {CONCEPT}, date STRING, "
        f"context STRUCT<encounter: ARRAY<{REFERENCE}>>",
        _documents,
    ),
    View(
        silver.ADVERSE_EVENT,
        "AdverseEvent",
        f"actuality STRING, event {CONCEPT}, encounter {REFERENCE}, date STRING, "
        f"recordedDate STRING, seriousness {CONCEPT}, severity {CONCEPT}, outcome {CONCEPT}, "
        f"study ARRAY<{REFERENCE}>",
        _adverse_events,
        retracted_by=(),
    ),
    View(silver.DEVICE, "Device", f"status STRING, type {CONCEPT}", _devices),
    View(
        silver.DEVICE_USE,
        "DeviceUseStatement",
        f"status STRING, device {REFERENCE}, timingDateTime STRING, timingPeriod {PERIOD}, "
        f"recordedOn STRING",
        _device_uses,
    ),
    View(
        silver.SPECIMEN,
        "Specimen",
        f"status STRING, type {CONCEPT}, receivedTime STRING, "
        f"collection STRUCT<collectedDateTime: STRING, collectedPeriod: {PERIOD}, "
        f"quantity: {QUANTITY}, bodySite: {CONCEPT}>",
        _specimens,
    ),
    View(
        silver.COVERAGE,
        "Coverage",
        f"status STRING, type {CONCEPT}, period {PERIOD}, payor ARRAY<{REFERENCE}>",
        _coverage,
    ),
)
