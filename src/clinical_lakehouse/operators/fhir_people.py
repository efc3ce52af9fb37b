"""People, their trials and insurance, places and staff: silver rows as FHIR R4 resources."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.operators.fhir_elements import (
    HL7,
    coded,
    concept,
    listed,
    needed_reference,
    object_,
    period,
    reference,
)
from clinical_lakehouse.operators.fhir_shape import Elements, Shape, Written, subject
from clinical_lakehouse.tables import silver

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
_OMB = "urn:oid:2.16.840.1.113883.6.238"
_OLDEST = 90


def _patient(w: Written) -> Elements:
    oldest = F.when(F.col("is_over_89"), F.lit(str(w.year - _OLDEST)))
    died = w.when(F.col("deceased_at"))
    return {
        "extension": listed(
            _category("us-core-race", "race"), _category("us-core-ethnicity", "ethnicity")
        ),
        "gender": F.col("sex"),
        "birthDate": F.coalesce(oldest, F.col("birth_year").cast("string")),
        "deceasedDateTime": died,
        "deceasedBoolean": F.when(died.isNull() & F.col("is_deceased"), F.lit(True)),
        "address": listed(object_(state=F.col("state"), postalCode=F.col("zip3"))),
        "managingOrganization": reference("Organization", "organization_key"),
    }


def _category(name: str, column: str) -> Column:
    """A US Core race or ethnicity extension; its text is required."""
    code, display = F.col(f"{column}_code"), F.col(column)
    is_known = code.isNotNull()
    value = F.struct(F.lit(_OMB).alias("system"), code.alias("code"), display.alias("display"))
    none = F.lit(None)
    parts = (
        ("ombCategory", F.when(is_known, value), none.cast("string")),
        ("text", none.cast(_CODING), F.coalesce(display, code)),
    )
    inner = [
        F.struct(F.lit(url).alias("url"), c.alias("valueCoding"), t.alias("valueString"))
        for url, c, t in parts
    ]
    made = F.struct(F.lit(f"{_US_CORE}{name}").alias("url"), F.array(*inner).alias("extension"))
    return F.when(is_known, made)


_CODING = "STRUCT<system: STRING, code: STRING, display: STRING>"


def _coverage(w: Written) -> Elements:
    return {
        "status": F.col("status"),
        "type": concept("type"),
        **subject("beneficiary"),
        "period": period(w.when(F.col("started_at")), w.when(F.col("ended_at"))),
        "payor": F.array(needed_reference("Organization", "payer_key")),
    }


def _research_subjects(w: Written) -> Elements:
    return {
        "status": F.col("status"),
        "period": period(w.when(F.col("started_at")), w.when(F.col("ended_at"))),
        "study": needed_reference("ResearchStudy", "study_key"),
        **subject("individual"),
        "actualArm": F.col("arm"),
    }


def _studies(w: Written) -> Elements:
    first, last = (F.col(name).cast("string") for name in ("started_date", "ended_date"))
    return {
        "title": F.col("title"),
        "status": F.col("status"),
        "phase": coded("phase_code", f"{HL7}research-study-phase"),
        "period": period(first, last),
    }


def _organizations(w: Written) -> Elements:
    return {
        "type": listed(coded("type_code", f"{HL7}organization-type")),
        "name": F.col("name"),
        "address": listed(object_(state=F.col("state"))),
    }


def _locations(w: Written) -> Elements:
    return {
        "name": F.col("name"),
        "address": object_(state=F.col("state")),
        "managingOrganization": reference("Organization", "organization_key"),
    }


def _practitioners(w: Written) -> Elements:
    skill = coded("specialty_code", f"{HL7}v2-0360")
    return {"gender": F.col("sex"), "qualification": listed(object_(code=skill))}


PEOPLE = (
    Shape(silver.PATIENT, "Patient", _patient),
    Shape(silver.SUBJECT, "ResearchSubject", _research_subjects),
    Shape(silver.COVERAGE, "Coverage", _coverage),
)
DIRECTORIES = (
    Shape(silver.STUDY, "ResearchStudy", _studies),
    Shape(silver.ORGANIZATION, "Organization", _organizations),
    Shape(silver.LOCATION, "Location", _locations),
    Shape(silver.PRACTITIONER, "Practitioner", _practitioners),
)
