"""lowBoundary() and highBoundary(): the least and greatest value that a partial one may mean.

Source: FHIRPath 2.0.0 (lowBoundary, highBoundary).
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.sql_on_fhir.operators import plain
from clinical_lakehouse.methods.sql_on_fhir.values import Value, one


def boundary(value: Value, is_low: bool) -> Value:
    """The boundary of a decimal, date, dateTime, instant or time, as text of the same type."""
    if value.type is None:
        return value
    if value.type == "date":
        return Value(_date(one(value), is_low), "date")
    if value.type in ("dateTime", "instant"):
        return Value(_date_time(one(value), is_low), value.type)
    if value.type == "time":
        return Value(_time(one(value), is_low), "time")
    if value.type in ("decimal", "integer"):
        return Value(plain(_decimal(one(value).cast("string"), is_low)), "decimal")
    raise UsageError(f"a {value.type} has no boundary")


def _decimal(written: Column, is_low: bool) -> Column:
    """Half a unit of the last digit written, away."""
    digits = F.length(F.regexp_extract(written, r"\.(\d+)", 1))
    step = F.concat(F.lit("0."), F.repeat(F.lit("0"), digits), F.lit("5"))
    step = step.try_cast("DECIMAL(38,12)")
    number = written.try_cast("DECIMAL(38,12)")
    return number - step if is_low else number + step


def _date(written: Column, is_low: bool) -> Column:
    first = F.concat(written, F.substring(F.lit("0000-01-01"), F.length(written) + 1, F.lit(10)))
    if is_low:
        return first
    month = F.concat(written, F.substring(F.lit("0000-12-01"), F.length(written) + 1, F.lit(10)))
    last = F.last_day(month.try_cast("date")).cast("string")
    return F.when(F.length(written) >= 10, written).otherwise(last)


def _date_time(written: Column, is_low: bool) -> Column:
    """Without a zone the earliest is that of +14:00 and the latest that of -12:00."""
    day = _date(F.substring_index(written, "T", 1), is_low)
    clock = F.regexp_extract(written, r"T([0-9:.]+)", 1)
    zone = F.regexp_extract(written, r"T.*?(Z|[+-]\d\d:\d\d)$", 1)
    zone = F.when(zone == "", F.lit("+14:00" if is_low else "-12:00")).otherwise(zone)
    return F.concat(day, F.lit("T"), _time(clock, is_low), zone)


def _time(written: Column, is_low: bool) -> Column:
    whole = "00:00:00.000" if is_low else "23:59:59.999"
    rest = F.substring(F.lit(whole), F.length(written) + 1, F.lit(12))
    return F.concat(written, rest)
