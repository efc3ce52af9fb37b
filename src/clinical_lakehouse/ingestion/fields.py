"""How FHIR data types become columns: codings, references, shifted times, quantities.

Every function works on a parsed resource (a struct column read with a narrow schema), so nothing
that a schema does not name can reach silver.
"""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

# Surrogate key of a resource: type and logical id to BIGINT.
KeyOf = Callable[[str, Column], Column]

CODING = "STRUCT<system: STRING, code: STRING, display: STRING>"
CONCEPT = f"STRUCT<coding: ARRAY<{CODING}>>"
REFERENCE = "STRUCT<reference: STRING>"
PERIOD = "STRUCT<`start`: STRING, `end`: STRING>"
QUANTITY = "STRUCT<value: DOUBLE, comparator: STRING, unit: STRING, system: STRING, code: STRING>"
UCUM = "http://unitsofmeasure.org"
_DAYS_OF = {"h": 1 / 24, "d": 1.0, "wk": 7.0, "mo": 30.4375, "a": 365.25}


def moment(text: Column) -> Column:
    """A FHIR date, dateTime or instant as TIMESTAMP (UTC); a partial date is its first day."""
    return text.try_cast("timestamp")


def shifted(text: Column) -> Column:
    """The same, moved by the person's date offset."""
    return F.timestamp_add("DAY", F.col("date_shift_days"), moment(text))


def first(array: Column) -> Column:
    """The first item, null of an empty or missing array."""
    return F.get(array, F.lit(0))


def coding_columns(prefix: str, coding: Column) -> dict[str, Column]:
    """code_system, code and display of a Coding."""
    lead = f"{prefix}_" if prefix else ""
    return {
        f"{lead}code_system": coding["system"],
        f"{lead}code": coding["code"],
        f"{lead}display": coding["display"],
    }


def coding(concept: Column) -> Column:
    """The first Coding of a CodeableConcept."""
    return first(concept["coding"])


def coding_of(concept: Column, system: str) -> Column:
    """The first Coding of that system."""
    return first(F.filter(concept["coding"], lambda c: c["system"] == system))


def coding_not_of(concept: Column, system: str) -> Column:
    """The first Coding of any other system, or without one."""
    return first(F.filter(concept["coding"], lambda c: ~c["system"].eqNullSafe(F.lit(system))))


def reference_key(key_of: KeyOf, resource_type: str, reference: Column) -> Column:
    """Surrogate key of what a Reference points to, null unless it can be of that type."""
    pattern = rf"^(?:{resource_type}/|urn:uuid:)([A-Za-z0-9.\-]{{1,64}})$"
    found = F.regexp_extract(reference["reference"], pattern, 1)
    return key_of(resource_type, F.nullif(found, F.lit("")))


def unit_code(quantity: Column) -> Column:
    """A Quantity's UCUM code; null where its code is of another system."""
    is_ucum = F.coalesce(quantity["system"], F.lit(UCUM)) == UCUM
    return F.when(is_ucum, quantity["code"])


def days(duration: Column) -> Column:
    """A Duration in days, null for units that are none of time."""
    value = duration["value"]
    made = F.when(F.lit(False), F.lit(0.0))
    for unit, factor in _DAYS_OF.items():
        made = made.when(duration["code"] == unit, value * F.lit(factor))
    return made
