"""FHIR R4 primitive types: the rule of each, as a function from a JSON value to a fault or None.

Source: FHIR R4 (4.0.1), 2.24.0.1 Primitive Types.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

# Reason code and where below the judged value, e.g. ("bad-code", ".code[0]"); never a value.
Fault = tuple[str, str]
Rule = Callable[[Any], Fault | None]

MAX_STRING_CHARACTERS = 1 << 20
_INT32 = 1 << 31
_SHORT = 96  # characters of a value whose verdict may be remembered
_REMEMBERED = 8192
_WHITE = " \t\r\n"
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DATE = r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?"
_DAY = r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"

_WRONG_TYPE: Fault = ("wrong-type", "")


def text(value: Any) -> Fault | None:
    """string, markdown: not empty, not only white space, at most 1 Mi characters."""
    if type(value) is not str:
        return _WRONG_TYPE
    if not value or (value.isspace() and not value.strip(_WHITE)):
        return ("blank-string", "")
    return None if len(value) <= MAX_STRING_CHARACTERS else ("too-large", "")


def matching(pattern: str, reason: str, longest: int = MAX_STRING_CHARACTERS) -> Rule:
    """A string that a pattern matches whole; `reason` says what it is otherwise."""
    fits = re.compile(pattern, re.ASCII).fullmatch
    # Codes, systems and days repeat from resource to resource; long values do not.
    fits_short = lru_cache(_REMEMBERED)(lambda value: fits(value) is not None)

    def rule(value: Any) -> Fault | None:
        if type(value) is not str:
            return _WRONG_TYPE
        if len(value) <= _SHORT:
            return None if fits_short(value) and len(value) <= longest else (reason, "")
        return None if len(value) <= longest and fits(value) else (reason, "")

    return rule


def _calendar(pattern: str, reason: str) -> Rule:
    """A date or time whose day exists; the pattern's groups are year, month and day."""
    fits = re.compile(pattern, re.ASCII).fullmatch

    @lru_cache(_REMEMBERED)
    def is_possible(value: str) -> bool:
        found = fits(value)
        if found is None:
            return False
        year, month, day = found.groups()
        return year != "0000" and (day is None or day <= "28" or _exists(year, month, day))

    def rule(value: Any) -> Fault | None:
        if type(value) is not str:
            return _WRONG_TYPE
        return None if len(value) <= _SHORT and is_possible(value) else (reason, "")

    return rule


def _exists(year: str, month: str, day: str) -> bool:
    of_year = int(year)
    if month == "02" and day == "29":
        return of_year % 4 == 0 and (of_year % 100 != 0 or of_year % 400 == 0)
    return int(day) <= _DAYS[int(month) - 1]


def decimal(value: Any) -> Fault | None:
    """decimal: a JSON number."""
    return None if type(value) in (int, float) else _WRONG_TYPE


def boolean(value: Any) -> Fault | None:
    """boolean: true or false."""
    return None if type(value) is bool else _WRONG_TYPE


def whole(low: int) -> Rule:
    """integer, unsignedInt, positiveInt: a 32-bit whole number of at least `low`."""

    def rule(value: Any) -> Fault | None:
        if type(value) is not int:
            return _WRONG_TYPE
        return None if low <= value < _INT32 else ("out-of-range", "")

    return rule


def one_of(codes: frozenset[str]) -> Rule:
    """A code of a required binding."""

    def rule(value: Any) -> Fault | None:
        if type(value) is not str:
            return _WRONG_TYPE
        return None if value in codes else ("bad-code", "")

    return rule


def narrative(value: Any) -> Fault | None:
    """xhtml: one div element."""
    if type(value) is not str:
        return _WRONG_TYPE
    return None if value.lstrip().startswith("<div") else ("bad-narrative", "")


_URI = matching(r"\S+", "bad-uri")
RULES: Mapping[str, Rule] = {
    "string": text,
    "markdown": text,
    "code": matching(r"\S+(?:\s\S+)*", "bad-code-syntax"),
    "id": matching(r"[A-Za-z0-9\-.]{1,64}", "bad-id", 64),
    "uri": _URI,
    "url": _URI,
    "canonical": _URI,
    "oid": matching(r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+", "bad-oid"),
    "uuid": matching(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "bad-uuid"),
    "base64Binary": matching(r"[0-9A-Za-z+/=\s]+", "bad-base64", 1 << 26),
    "xhtml": narrative,
    "decimal": decimal,
    "boolean": boolean,
    "integer": whole(-_INT32),
    "unsignedInt": whole(0),
    "positiveInt": whole(1),
    "date": _calendar(_DATE, "bad-date"),
    "dateTime": _calendar(rf"{_DATE}(?:(?<=-\d\d-\d\d)T{_TIME}{_ZONE})?", "bad-date-time"),
    "instant": _calendar(rf"{_DAY}T{_TIME}{_ZONE}", "bad-instant"),
    "time": matching(_TIME, "bad-time"),
}
