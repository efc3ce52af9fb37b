"""Silver views of people, studies, sites and staff."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.fields import (
    CODING,
    CONCEPT,
    PERIOD,
    REFERENCE,
    KeyOf,
    coding,
    first,
    moment,
    reference_key,
    shifted,
)
from clinical_lakehouse.ingestion.versions import only_newest
from clinical_lakehouse.ingestion.view import View
from clinical_lakehouse.methods.zip3 import zip3
from clinical_lakehouse.tables import silver

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
_OLDEST = 89  # "all ages over 89", 45 CFR 164.514(b)(2)(i)(C)
_ADDRESS = "STRUCT<state: STRING>"
_PERSON_ADDRESS = "STRUCT<state: STRING, postalCode: STRING, country: STRING>"


def with_site(people: DataFrame, patients: DataFrame) -> DataFrame:
    """`people` with each person's managing organization as the Reference column `site`."""
    read = only_newest(patients).withColumn(
        "r", F.from_json("content", f"managingOrganization {REFERENCE}")
    )
    sites = read.select(
        F.col("resource_id").alias("patient_id"), F.col("r.managingOrganization").alias("site")
    )
    return people.join(sites, "patient_id", "left")


def patient_view(as_of: datetime, withheld: Sequence[str] = ()) -> View:
    """Patients; ages are counted at `as_of`, or at death; ZIP3 areas `withheld` are 000."""

    def columns(key_of: KeyOf) -> Mapping[str, Column]:
        race, ethnicity = _category("us-core-race"), _category("us-core-ethnicity")
        is_old = F.coalesce(_age_at(as_of) > _OLDEST, F.lit(False))
        died, address = F.col("r.deceasedDateTime"), first(F.col("r.address"))
        return {
            "subject_key": F.col("subject_key"),
            "sex": F.col("r.gender"),
            "birth_year": F.when(~is_old, F.year(shifted(F.col("r.birthDate")))),
            "is_over_89": is_old,
            "race_code": race["code"],
            "race": race["display"],
            "ethnicity_code": ethnicity["code"],
            "ethnicity": ethnicity["display"],
            "state": address["state"],
            "zip3": zip3(address["postalCode"], address["country"], withheld),
            "deceased_at": shifted(died),
            "is_deceased": F.coalesce(F.col("r.deceasedBoolean"), died.isNotNull()),
            "organization_key": reference_key(
                key_of, "Organization", F.col("r.managingOrganization")
            ),
        }

    fields = (
        f"extension ARRAY<STRUCT<url: STRING, extension: ARRAY<STRUCT<url: STRING, "
        f"valueCoding: {CODING}>>>>, gender STRING, birthDate STRING, deceasedBoolean BOOLEAN, "
        f"deceasedDateTime STRING, address ARRAY<{_PERSON_ADDRESS}>, "
        f"managingOrganization {REFERENCE}"
    )
    return View(silver.PATIENT, "Patient", fields, columns, retracted_by=())


def only_over_89(patients: DataFrame, as_of: datetime) -> DataFrame:
    """The newest Patient rows (bronze) of people older than 89 at `as_of` or when they died."""
    fields = "birthDate STRING, deceasedDateTime STRING"
    read = only_newest(patients).withColumn("r", F.from_json("content", fields))
    return read.filter(_age_at(as_of) > _OLDEST)


def _age_at(as_of: datetime) -> Column:
    """Whole years from birth to `as_of`, or to death if that was earlier."""
    end = F.least(F.lit(as_of).cast("timestamp"), moment(F.col("r.deceasedDateTime")))
    return F.floor(F.months_between(end, moment(F.col("r.birthDate"))) / 12)


def _category(name: str) -> Column:
    """The first ombCategory of a US Core race or ethnicity extension."""
    outer = first(F.filter("r.extension", lambda e: e["url"] == f"{_US_CORE}{name}"))
    inner = first(F.filter(outer["extension"], lambda e: e["url"] == "ombCategory"))
    return inner["valueCoding"]


def _studies(key_of: KeyOf) -> Mapping[str, Column]:
    return {
        "study_key": key_of("ResearchStudy", F.col("resource_id")),
        "title": F.col("r.title"),
        "status": F.col("r.status"),
        "phase_code": coding(F.col("r.phase"))["code"],
        "started_date": moment(F.col("r.period.start")),
        "ended_date": moment(F.col("r.period.end")),
    }


def _subjects(key_of: KeyOf) -> Mapping[str, Column]:
    return {
        "research_subject_key": key_of("ResearchSubject", F.col("resource_id")),
        "subject_key": F.col("subject_key"),
        "study_key": reference_key(key_of, "ResearchStudy", F.col("r.study")),
        "organization_key": reference_key(key_of, "Organization", F.col("site")),
        "status": F.col("r.status"),
        "arm": F.coalesce(F.col("r.actualArm"), F.col("r.assignedArm")),
        "started_at": shifted(F.col("r.period.start")),
        "ended_at": shifted(F.col("r.period.end")),
    }


def _organizations(key_of: KeyOf) -> Mapping[str, Column]:
    return {
        "organization_key": key_of("Organization", F.col("resource_id")),
        "name": F.col("r.name"),
        "type_code": coding(first(F.col("r.type")))["code"],
        "state": first(F.col("r.address"))["state"],
    }


def _locations(key_of: KeyOf) -> Mapping[str, Column]:
    return {
        "location_key": key_of("Location", F.col("resource_id")),
        "name": F.col("r.name"),
        "state": F.col("r.address.state"),
        "organization_key": reference_key(key_of, "Organization", F.col("r.managingOrganization")),
    }


def _practitioners(key_of: KeyOf) -> Mapping[str, Column]:
    return {
        "practitioner_key": key_of("Practitioner", F.col("resource_id")),
        "sex": F.col("r.gender"),
        "specialty_code": coding(first(F.col("r.qualification"))["code"])["code"],
    }


VIEWS = (
    View(
        silver.STUDY,
        "ResearchStudy",
        f"title STRING, status STRING, phase {CONCEPT}, period {PERIOD}",
        _studies,
        is_personal=False,
    ),
    View(
        silver.SUBJECT,
        "ResearchSubject",
        f"status STRING, study {REFERENCE}, period {PERIOD}, actualArm STRING, assignedArm STRING",
        _subjects,
    ),
    View(
        silver.ORGANIZATION,
        "Organization",
        f"name STRING, type ARRAY<{CONCEPT}>, address ARRAY<{_ADDRESS}>",
        _organizations,
        is_personal=False,
        retracted_by=(),
    ),
    View(
        silver.LOCATION,
        "Location",
        f"status STRING, name STRING, address {_ADDRESS}, managingOrganization {REFERENCE}",
        _locations,
        is_personal=False,
    ),
    View(
        silver.PRACTITIONER,
        "Practitioner",
        f"gender STRING, qualification ARRAY<STRUCT<code: {CONCEPT}>>",
        _practitioners,
        is_personal=False,
        retracted_by=(),
    ),
)
