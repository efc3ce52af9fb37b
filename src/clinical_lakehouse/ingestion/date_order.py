"""Dates of one object that must not be reversed, compared no finer than both are known."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clinical_lakehouse.ingestion.primitives import Fault

# Model to (earlier element, later element, reason). Source: R4 invariants per-1 (Period) and
# app-/slot definitions ("end: when it is to conclude"); death after birth and abatement after
# onset follow from what the elements mean.
ORDERED: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "Period": (("start", "end", "period-reversed"),),
    "Patient": (("birthDate", "deceasedDateTime", "death-before-birth"),),
    "Condition": (("onsetDateTime", "abatementDateTime", "end-before-start"),),
    "Appointment": (("start", "end", "end-before-start"),),
    "Slot": (("start", "end", "end-before-start"),),
}
_DAY = len("2024-01-31")


def fault_of_order(
    rules: tuple[tuple[str, str, str], ...], value: Mapping[str, Any]
) -> Fault | None:
    """The first pair of dates in the wrong order; the path says the later element."""
    for earlier, later, reason in rules:
        first, last = value.get(earlier), value.get(later)
        if first is not None and last is not None and is_reversed(first, last):
            return (reason, f".{later}")
    return None


def is_reversed(first: str, last: str) -> bool:
    """Is one valid FHIR date, dateTime or instant surely after another?

    Days, months and years are compared as far as both are given; times by their instant.
    """
    if first <= last and (len(first) == len(last) and first[-6:] == last[-6:]):
        return False
    if len(first) > _DAY < len(last):
        return _instant(first) > _instant(last)
    known = min(len(first), len(last), _DAY)
    return first[:known] > last[:known]


def _instant(text: str) -> datetime:
    """The moment; a leap second (:60) counts as the second before it."""
    return datetime.fromisoformat(text.replace(":60", ":59") if text[17:19] == "60" else text)
