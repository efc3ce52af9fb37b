"""FHIR data types as schemas, and how an element becomes a silver cell: keys, times, ages."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

CODING = "STRUCT<system: STRING, code: STRING, display: STRING>"
CONCEPT = f"STRUCT<coding: ARRAY<{CODING}>>"
REFERENCE = "STRUCT<reference: STRING>"
PERIOD = "STRUCT<`start`: STRING, `end`: STRING>"

# Surrogate key of a resource: type and logical id to BIGINT.
KeyOf = Callable[[str, Column], Column]

_OLDEST = 89  # "all ages over 89", 45 CFR 164.514(b)(2)(i)(C)


def moment(text: Column) -> Column:
    """A FHIR date, dateTime or instant as TIMESTAMP (UTC); a partial date is its first day."""
    return text.try_cast("timestamp")


def shifted(text: Column, days: Column) -> Column:
    """The same, moved by a person's date offset."""
    return F.timestamp_add("DAY", days, moment(text))


def is_over_89(born: Column, died: Column, as_of: Column) -> Column:
    """Older than 89 whole years at `as_of`, or at death if that was earlier; false if unknown."""
    end = F.least(as_of, moment(died))
    years = F.floor(F.months_between(end, moment(born)) / 12)
    return F.coalesce(years > _OLDEST, F.lit(False))
