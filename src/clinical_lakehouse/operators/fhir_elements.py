"""FHIR R4 data types as Columns made of silver columns; what is not known is left out.

FHIR allows no empty object or array, so each of these is null where nothing in it is known.
"""

from collections.abc import Callable
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

HL7 = "http://terminology.hl7.org/CodeSystem/"
UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
# How a time is written; null where the destination may not have it.
When = Callable[[Column], Column]
_UNKNOWN = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def to_the_second(at: Column) -> Column:
    """A time (UTC) as FHIR dateTime or instant, with a fraction only where there is one."""
    text = F.date_format(at, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
    return F.concat(F.regexp_replace(text, r"\.?0+$", ""), F.lit("Z"))


def only_year(at: Column) -> Column:
    """The year of a time: all that 45 CFR 164.514(b)(2)(i)(C) leaves of a date."""
    return F.date_format(at, "yyyy")


def object_(**parts: Column | str) -> Column:
    """A JSON object; fixed texts do not count as something known."""
    known = [part.isNotNull() for part in parts.values() if isinstance(part, Column)]
    fields = [_column(part).alias(name) for name, part in parts.items()]
    return F.when(reduce(Column.__or__, known), F.struct(*fields))


def _column(part: Column | str) -> Column:
    return F.lit(part) if isinstance(part, str) else part


def listed(*items: Column) -> Column:
    """A JSON array of what is known."""
    known = F.array_compact(F.array(*items))
    return F.when(F.size(known) > 0, known)


def concept(prefix: str = "") -> Column:
    """A CodeableConcept of the columns <prefix>_code_system, _code and _display."""
    lead = f"{prefix}_" if prefix else ""
    return object_(coding=listed(coding(lead)))


def coding(lead: str) -> Column:
    """A Coding of the columns <lead>code_system, <lead>code and <lead>display."""
    parts = {n: F.col(f"{lead}{c}") for n, c in (("system", "code_system"), ("code", "code"))}
    return object_(**parts, display=F.col(f"{lead}display"))


def needed_concept(prefix: str = "") -> Column:
    """The same where FHIR requires it: a text says that the code was not kept."""
    lead = f"{prefix}_" if prefix else ""
    missing = F.coalesce(*(F.col(f"{lead}{n}") for n in ("code", "display"))).isNull()
    text = F.when(missing, F.lit("not coded"))
    return object_(coding=listed(coding(lead)), text=text)


def coded(column: str, system: str) -> Column:
    """A CodeableConcept of a code whose system silver does not keep, because it is always one."""
    return object_(coding=listed(object_(system=system, code=F.col(column))))


def reference(resource_type: str, column: str) -> Column:
    """A Reference to a resource of this export, by its surrogate key."""
    key = F.col(column).cast("string")
    return object_(reference=F.concat(F.lit(f"{resource_type}/"), key))


def needed_reference(resource_type: str, column: str) -> Column:
    """The same where FHIR requires it: a display says that it is not known."""
    key = F.col(column)
    unknown = F.when(key.isNull(), F.lit("not known"))
    target = F.concat(F.lit(f"{resource_type}/"), key.cast("string"))
    return object_(reference=target, display=unknown)


def period(start: Column, end: Column) -> Column:
    """A Period of two times as written."""
    return object_(start=start, end=end)


def quantity(value: str, code: str, unit: str | None = None, **more: Column) -> Column:
    """A Quantity; its code is of UCUM, silver keeps no other."""
    system = F.when(F.col(code).isNotNull(), F.lit(UCUM))
    shown = {"unit": F.col(unit)} if unit else {}
    return object_(value=F.col(value), **more, **shown, system=system, code=F.col(code))


def unknown_if_null(value: Column) -> Column:
    """What stands beside a primitive (`_name`) that is needed and not known."""
    absent = F.struct(F.lit(_UNKNOWN).alias("url"), F.lit("unknown").alias("valueCode"))
    return F.when(value.isNull(), F.struct(F.array(absent).alias("extension")))
