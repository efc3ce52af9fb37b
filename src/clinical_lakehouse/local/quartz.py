"""Quartz cron expressions as Databricks takes them for schedules: read strictly, next firings.

Days on which clocks change are as in Quartz 2.3.2's CronExpression (it was run to find out): a
time that a day's clocks leap over is not fired, and a time that occurs twice is fired once, at its
second occurrence. An hourly schedule so pauses two hours in autumn; UTC alone has no such days.
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, product
from zoneinfo import ZoneInfo

from clinical_lakehouse.errors import BundleError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Field -> lowest, highest, names that stand for numbers from the lowest on.
_FIELDS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "seconds": (0, 59, ()),
    "minutes": (0, 59, ()),
    "hours": (0, 23, ()),
    "day of month": (1, 31, ()),
    "month": (1, 12, _MONTHS),
    "day of week": (1, 7, _DAYS),
    "year": (_FIRST_YEAR, _LAST_YEAR, ()),
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
    if slash and span[0].isalpha():
        return f"{item!r}: Quartz takes no notice of a step after a name; write numbers"
    if low == _FIRST_YEAR and len(values) == 2 and values != sorted(values, key=lambda v: v or 0):
        return f"{item!r} ends before it begins"
    outside = [value for value in values if value is not None and not low <= value <= high]
    return f"{item!r} is outside {low}-{high}" if outside else None


def _value(text: str, limits: tuple[int, int, tuple[str, ...]]) -> int | None:
    low, _, names = limits
    if text in names:
        return low + names.index(text)
    return int(text) if text.isdigit() else None


@dataclass(frozen=True)
class _Fields:
    """An expression read: sorted numbers, and the two day fields as they are written."""

    seconds: Sequence[int]
    minutes: Sequence[int]
    hours: Sequence[int]
    day_of_month: str
    months: Sequence[int]
    day_of_week: str
    years: Sequence[int]


def next_firings(expression: str, zone: str, after: datetime, count: int = 1) -> list[datetime]:
    """The next `count` firings later than `after`, in UTC; fewer where the expression ends.

    The set of firings does not depend on `after`. (Quartz' own does inside an hour that occurs
    twice: asked there, it leaves out what stands before the asking minute.) BundleError if the
    expression has a fault.
    """
    return list(islice(_firings(_read(expression), ZoneInfo(zone), after.astimezone(UTC)), count))


def _read(expression: str) -> _Fields:
    fault = quartz_fault(expression)
    if fault:
        raise BundleError(f"Quartz expression: {fault}")
    parts = [*expression.upper().split(), "*"][:7]
    named = dict(zip(_FIELDS, parts, strict=True))
    numbers = {
        name: _numbers(part, _FIELDS[name])
        for name, part in named.items()
        if not name.startswith("day")
    }
    return _Fields(
        *(numbers["seconds"], numbers["minutes"], numbers["hours"], named["day of month"]),
        *(numbers["month"], named["day of week"], numbers["year"]),
    )


def _numbers(part: str, limits: tuple[int, int, tuple[str, ...]]) -> list[int]:
    """What a list of values, ranges and steps stands for; a range may go past the highest value
    and on from the lowest (22-2)."""
    low, high, _ = limits
    found: set[int] = set()
    for item in part.split(","):
        span, slash, step = item.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else _value(first, limits) or 0
        until = high if span == "*" or (slash and not last) else start
        stop = _value(last, limits) or 0 if last else until
        size = high - low + 1
        stop += size if stop < start else 0
        found |= {(n - low) % size + low for n in range(start, stop + 1, int(step or 1))}
    return sorted(found)


def _firings(fields: _Fields, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Firings in UTC, in order. Taking every repeated time at its second occurrence keeps local
    and UTC order the same."""
    local = after.astimezone(zone)
    repeated = (local.replace(fold=0).utcoffset() or timedelta()) - (
        local.replace(fold=1).utcoffset() or timedelta()
    )
    start = local.replace(tzinfo=None) - max(repeated, timedelta())
    for wall in _walls(fields, start):
        moment = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        exists = moment.astimezone(zone).replace(tzinfo=None) == wall
        if exists and moment > after:
            yield moment


def _walls(fields: _Fields, start: datetime) -> Iterator[datetime]:
    """Local times from `start` on, whether they exist or not."""
    for day in _days(fields, start.date()):
        is_first = day == start.date()
        hours = fields.hours[bisect_left(fields.hours, start.hour if is_first else 0) :]
        for hour in hours:
            is_now = is_first and hour == start.hour
            minutes = fields.minutes[bisect_left(fields.minutes, start.minute if is_now else 0) :]
            for minute, second in product(minutes, fields.seconds):
                yield datetime(day.year, day.month, day.day, hour, minute, second)


def _days(fields: _Fields, first: date) -> Iterator[date]:
    for year in fields.years[bisect_left(fields.years, first.year) :]:
        for month in fields.months:
            if (year, month) < (first.year, first.month):
                continue
            days = (date(year, month, day) for day in _days_of(fields, year, month))
            yield from (day for day in days if day >= first)


def _days_of(fields: _Fields, year: int, month: int) -> list[int]:
    """The days of a month on which the expression fires."""
    if fields.day_of_week == "?":
        return _by_day_of_month(fields.day_of_month, year, month)
    return _by_day_of_week(fields.day_of_week, year, month)


def _by_day_of_month(part: str, year: int, month: int) -> list[int]:
    last = monthrange(year, month)[1]
    if part.endswith("W"):
        return _nearest_weekday(last if part == "LW" else int(part[:-1]), year, month)
    if part.startswith("L"):
        day = last - int(part[2:] or 0)
        return [day] if day >= 1 else []
    return [day for day in _numbers(part, _FIELDS["day of month"]) if day <= last]


def _nearest_weekday(day: int, year: int, month: int) -> list[int]:
    """The weekday nearest to a day, in the same month; no day at all if the month is too short."""
    last = monthrange(year, month)[1]
    if day > last:
        return []
    weekday = date(year, month, day).isoweekday()
    if weekday == 6:
        return [day - 1 if day > 1 else day + 2]
    if weekday == 7:
        return [day + 1 if day < last else day - 2]
    return [day]


def _by_day_of_week(part: str, year: int, month: int) -> list[int]:
    limits = _FIELDS["day of week"]
    if part == "L":
        part = "7"
    name, sharp, number = part.partition("#")
    is_last = part.endswith("L")
    wanted = (
        [_value(name.removesuffix("L"), limits)] if sharp or is_last else _numbers(part, limits)
    )
    days = [
        day
        for day in range(1, monthrange(year, month)[1] + 1)
        if date(year, month, day).isoweekday() % 7 + 1 in wanted
    ]
    if sharp:
        return days[int(number) - 1 : int(number)]
    return days[-1:] if is_last else days
