"""Clinical silver rows as FHIR R4 resources."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.operators.fhir_elements import (
    HL7,
    SNOMED,
    UCUM,
    coded,
    coding,
    concept,
    listed,
    needed_concept,
    needed_reference,
    object_,
    period,
    quantity,
    reference,
)
from clinical_lakehouse.operators.fhir_shape import (
    WITHHELD,
    Elements,
    Shape,
    Written,
    encounter,
    span,
    subject,
)
from clinical_lakehouse.tables import silver

_VISIT = "https://clinical-lakehouse.example/visit"
_MEDDRA = "https://www.meddra.org"


def _encounters(w: Written) -> Elements:
    unnamed = F.lit(None).cast("string")
    visit = object_(system=_VISIT, code=F.col("visit_code"), display=unnamed)
    types = (concept("type"), object_(coding=listed(visit)))
    code = F.col("class_code")
    display = F.when(code.isNull(), F.lit("not known"))
    system = F.when(code.isNotNull(), F.lit(f"{HL7}v3-ActCode"))
    return {
        "status": F.col("status"),
        "class": object_(system=system, code=code, display=display),
        "type": listed(*types),
        **subject(),
        "participant": listed(object_(individual=reference("Practitioner", "practitioner_key"))),
        "period": period(w.when(F.col("started_at")), w.when(F.col("ended_at"))),
        "reasonCode": listed(concept("reason")),
        "location": listed(object_(location=reference("Location", "location_key"))),
        "serviceProvider": reference("Organization", "organization_key"),
        "partOf": reference("Encounter", "part_of_key"),
    }


def _conditions(w: Written) -> Elements:
    return {
        "clinicalStatus": coded("clinical_status", f"{HL7}condition-clinical"),
        "verificationStatus": coded("verification_status", f"{HL7}condition-ver-status"),
        "category": listed(coded("category_code", f"{HL7}condition-category")),
        "code": concept(),
        **subject(),
        **encounter(),
        "onsetDateTime": w.when(F.col("onset_at")),
        "abatementDateTime": w.when(F.col("abatement_at")),
        "recordedDate": w.when(F.col("recorded_at")),
    }


def _with_components(rows: DataFrame) -> DataFrame:
    """One row per Observation, with its components as an array in their order."""
    item = F.struct("component_index", F.struct(*_values()).alias("item"))
    inner = rows.filter("component_index > 0").groupBy("observation_key")
    parts = inner.agg(F.array_sort(F.collect_list(item)).alias("parts"))
    made = parts.select("observation_key", F.transform("parts", lambda p: p["item"]).alias("parts"))
    return rows.filter("component_index = 0").join(made, "observation_key", "left")


def _values() -> list[Column]:
    """What an Observation and a component of it have in common."""
    number = quantity("value_number", "unit_code", "unit", comparator=F.col("comparator"))
    coded_value, flag = concept("value"), F.col("value_boolean")
    is_kept = F.coalesce(F.col("value_number").cast("string"), F.col("value_code")).isNotNull()
    other = F.col("has_value") & ~is_kept & coded_value.isNull() & flag.isNull() & number.isNull()
    limits = {
        n: F.when(F.col(c).isNotNull(), quantity(c, "unit_code"))
        for n, c in (("low", "range_low"), ("high", "range_high"))
    }
    interpretation = coded("interpretation_code", f"{HL7}v3-ObservationInterpretation")
    return [
        needed_concept().alias("code"),
        number.alias("valueQuantity"),
        coded_value.alias("valueCodeableConcept"),
        flag.alias("valueBoolean"),
        F.when(other, F.lit(WITHHELD)).alias("valueString"),
        listed(interpretation).alias("interpretation"),
        listed(object_(**limits)).alias("referenceRange"),
    ]


def _observations(w: Written) -> Elements:
    names = ("code", "valueQuantity", "valueCodeableConcept", "valueBoolean", "valueString")
    values = dict(zip((*names, "interpretation", "referenceRange"), _values(), strict=True))
    return {
        "status": F.col("status"),
        "category": listed(coded("category_code", f"{HL7}observation-category")),
        **subject(),
        **encounter(),
        "effectiveDateTime": w.when(F.col("effective_at")),
        **values,
        "component": F.col("parts"),
    }


def _medication_requests(w: Written) -> Elements:
    dose = object_(doseQuantity=quantity("dose_value", "dose_unit"))
    days = F.col("supply_days")
    unit = {n: F.when(days.isNotNull(), F.lit(v)) for n, v in _DAY.items()}
    supply = object_(
        numberOfRepeatsAllowed=F.col("refills"),
        quantity=object_(value=F.col("quantity")),
        expectedSupplyDuration=object_(value=days, **unit),
    )
    return {
        "status": F.col("status"),
        "intent": F.col("intent"),
        "medicationCodeableConcept": needed_concept(),
        **subject(),
        **encounter(),
        "authoredOn": w.when(F.col("authored_at")),
        "dosageInstruction": listed(object_(doseAndRate=listed(dose))),
        "dispenseRequest": supply,
    }


_DAY = {"unit": "d", "system": UCUM, "code": "d"}


def _medication_administrations(w: Written) -> Elements:
    dose = quantity("dose_value", "dose_unit")
    return {
        "status": F.col("status"),
        "medicationCodeableConcept": needed_concept(),
        **subject(),
        **encounter("context"),
        **span("effective", w, is_needed=True),
        "dosage": F.when(dose.isNotNull() | F.col("route_code").isNotNull(), F.struct(
            dose.alias("dose"), coded("route_code", SNOMED).alias("route"))),
    }  # fmt: skip


def _procedures(w: Written) -> Elements:
    shared = {"status": F.col("status"), "code": concept(), **subject(), **encounter()}
    return {**shared, **span("performed", w)}


def _immunizations(w: Written) -> Elements:
    at = w.when(F.col("occurred_at"))
    return {
        "status": F.col("status"),
        "vaccineCode": needed_concept(),
        **subject("patient"),
        **encounter(),
        "occurrenceDateTime": at,
        "occurrenceString": F.when(at.isNull(), F.lit("not known")),
    }


def _allergies(w: Written) -> Elements:
    return {
        "clinicalStatus": coded("status", f"{HL7}allergyintolerance-clinical"),
        "category": listed(F.col("category_code")),
        "criticality": F.col("criticality"),
        "code": concept(),
        **subject("patient"),
        **encounter(),
        "recordedDate": w.when(F.col("recorded_at")),
    }


def _diagnostic_reports(w: Written) -> Elements:
    return {
        "status": F.col("status"),
        "code": needed_concept(),
        **subject(),
        **encounter(),
        "effectiveDateTime": w.when(F.col("effective_at")),
    }


def _documents(w: Written) -> Elements:
    title = F.struct(F.struct(F.lit(WITHHELD).alias("title")).alias("attachment"))
    return {
        "status": F.col("status"),
        "type": concept(),
        **subject(),
        "date": w.instant(F.col("authored_at")),
        "content": F.array(title),
        "context": object_(encounter=listed(reference("Encounter", "encounter_key"))),
    }


def _adverse_events(w: Written) -> Elements:
    unnamed = F.lit(None).cast("string")
    term = object_(system=_MEDDRA, code=F.col("meddra_code"), display=unnamed)
    return {
        "actuality": F.col("status"),
        "event": object_(coding=listed(coding(""), term)),
        **subject(),
        **encounter(),
        "date": w.when(F.col("occurred_at")),
        "recordedDate": w.when(F.col("recorded_at")),
        "seriousness": coded("seriousness_code", f"{HL7}adverse-event-seriousness"),
        "severity": coded("severity_code", f"{HL7}adverse-event-severity"),
        "outcome": coded("outcome_code", f"{HL7}adverse-event-outcome"),
        "study": listed(reference("ResearchStudy", "study_key")),
    }


def _devices(w: Written) -> Elements:
    return {"status": F.col("status"), "type": concept(), **subject("patient")}


def _device_uses(w: Written) -> Elements:
    device = needed_reference("Device", "device_key")
    return {"status": F.col("status"), **subject(), "device": device, **span("timing", w)}


def _specimens(w: Written) -> Elements:
    amount = quantity("quantity", "unit_code", "unit")
    taken = object_(
        collectedDateTime=w.when(F.col("collected_at")), quantity=amount, bodySite=concept("site")
    )
    return {"status": F.col("status"), "type": concept(), **subject(), "collection": taken}


CLINICAL = (
    Shape(silver.ENCOUNTER, "Encounter", _encounters),
    Shape(silver.CONDITION, "Condition", _conditions),
    Shape(silver.OBSERVATION, "Observation", _observations, _with_components),
    Shape(silver.MEDICATION_REQUEST, "MedicationRequest", _medication_requests),
    Shape(
        silver.MEDICATION_ADMINISTRATION, "MedicationAdministration", _medication_administrations
    ),
    Shape(silver.PROCEDURE, "Procedure", _procedures),
    Shape(silver.IMMUNIZATION, "Immunization", _immunizations),
    Shape(silver.ALLERGY_INTOLERANCE, "AllergyIntolerance", _allergies),
    Shape(silver.DIAGNOSTIC_REPORT, "DiagnosticReport", _diagnostic_reports),
    Shape(silver.DOCUMENT_REFERENCE, "DocumentReference", _documents),
    Shape(silver.ADVERSE_EVENT, "AdverseEvent", _adverse_events),
    Shape(silver.DEVICE, "Device", _devices),
    Shape(silver.DEVICE_USE, "DeviceUseStatement", _device_uses),
    Shape(silver.SPECIMEN, "Specimen", _specimens),
)
