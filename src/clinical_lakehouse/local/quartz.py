"""Strict reading of Quartz cron expressions, as Databricks takes them for job schedules."""

import re

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Field -> lowest, highest, names that stand for numbers from the lowest on.
_FIELDS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "seconds": (0, 59, ()),
    "minutes": (0, 59, ()),
    "hours": (0, 23, ()),
    "day of month": (1, 31, ()),
    "month": (1, 12, _MONTHS),
    "day of week": (1, 7, _DAYS),
    "year": (1970, 2199, ()),
}
# What only these two fields know: last day, nearest weekday, n-th weekday of the month.
_SPECIAL = {
    "day of month": re.compile(r"L(-([1-9]|[12]\d|30))?|LW|([1-9]|[12]\d|3[01])W"),
    "day of week": re.compile(r"L|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])"),
}


def quartz_fault(expression: str) -> str | None:
    """What is wrong with a Quartz expression, in one sentence; None if nothing is."""
    parts = expression.upper().split()
    if len(parts) not in (6, 7):
        return f"needs 6 or 7 fields (seconds first), has {len(parts)}"
    for (name, limits), part in zip(_FIELDS.items(), parts, strict=False):
        fault = _field_fault(name, part, limits)
        if fault:
            return f"{name}: {fault}"
    if (parts[3] == "?") == (parts[5] == "?"):
        return "exactly one of day of month and day of week must be '?'"
    return None


def _field_fault(name: str, part: str, limits: tuple[int, int, tuple[str, ...]]) -> str | None:
    if part == "?":
        return None if name.startswith("day") else "'?' stands only in a day field"
    items = part.split(",")
    if name in _SPECIAL and any(_SPECIAL[name].fullmatch(item) for item in items):
        return None if len(items) == 1 else "L, W and # cannot be part of a list"
    return next((fault for item in items if (fault := _item_fault(item, limits))), None)


def _item_fault(item: str, limits: tuple[int, int, tuple[str, ...]]) -> str | None:
    """One list item: `*`, a value or a range, with or without a step."""
    low, high, _ = limits
    span, slash, step = item.partition("/")
    if slash and not (step.isdigit() and 1 <= int(step) <= high):
        return f"{item!r} has a step outside 1-{high}"
    if span == "*":
        return None
    values = [_value(text, limits) for text in span.split("-")]
    if len(values) > 2 or any(value is None for value in values):
        return f"{item!r} is not understood"
    outside = [value for value in values if value is not None and not low <= value <= high]
    return f"{item!r} is outside {low}-{high}" if outside else None


def _value(text: str, limits: tuple[int, int, tuple[str, ...]]) -> int | None:
    low, _, names = limits
    if text in names:
        return low + names.index(text)
    return int(text) if text.isdigit() else None
