"""Time intervals as Alertmanager has them: when a route is muted or active, in a time zone."""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clinical_lakehouse.alerting.conf_node import Node

Range = tuple[int, int]

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = tuple(name.lower() for name in calendar.month_name)
_MINUTES_A_DAY = 24 * 60
_KEYS = ("times", "weekdays", "days_of_month", "months", "years", "location")


@dataclass(frozen=True)
class TimeInterval:
    """Every part that is given must hold; `times` are minutes of the day, the end excluded."""

    times: tuple[Range, ...] = ()
    weekdays: tuple[Range, ...] = ()  # Sunday is 0
    days_of_month: tuple[Range, ...] = ()  # -1 is the month's last day
    months: tuple[Range, ...] = ()
    years: tuple[Range, ...] = ()
    zone: tzinfo = UTC

    def contains(self, moment: datetime) -> bool:
        """Whether the moment (with a time zone) lies in it."""
        local = moment.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        length = calendar.monthrange(local.year, local.month)[1]
        days = [_in_month(pair, length) for pair in self.days_of_month]
        return (
            (not self.times or any(start <= minute < end for start, end in self.times))
            and _within(self.weekdays, local.isoweekday() % 7)
            and (not days or any(first <= local.day <= last for first, last in days))
            and _within(self.months, local.month)
            and _within(self.years, local.year)
        )


Intervals = Mapping[str, tuple[TimeInterval, ...]]


def containing(names: Sequence[str], intervals: Intervals, moment: datetime) -> str | None:
    """The first of the named intervals that the moment lies in."""
    for name in names:
        if any(one.contains(moment) for one in intervals[name]):
            return name
    return None


def end_of(name: str, intervals: Intervals, moment: datetime) -> datetime | None:
    """The minute at which a named interval that holds at `moment` ends; None if not in a week."""
    minute = moment.replace(second=0, microsecond=0)
    for step in range(1, 7 * _MINUTES_A_DAY + 1):
        later = minute + timedelta(minutes=step)
        if not any(one.contains(later) for one in intervals[name]):
            return later
    return None


def read_intervals(nodes: Sequence[Node]) -> dict[str, tuple[TimeInterval, ...]]:
    """`time_intervals` (or `mute_time_intervals`) of alertmanager.yml, by name."""
    found: dict[str, tuple[TimeInterval, ...]] = {}
    for node in nodes:
        parts = node.mapping(("name", "time_intervals"), ("name", "time_intervals"))
        name = parts["name"].text()
        if name in found:
            raise parts["name"].refused(f"time interval {name!r} stands here a second time")
        found[name] = tuple(_read(item) for item in parts["time_intervals"].items())
    return found


def _read(node: Node) -> TimeInterval:
    parts = node.mapping(_KEYS)

    def ranges(key: str, words: Sequence[str] = ()) -> tuple[Range, ...]:
        return tuple(_range(item, words) for item in parts[key].items()) if key in parts else ()

    times = parts["times"].items() if "times" in parts else ()
    zone = _zone(parts["location"]) if "location" in parts else UTC
    return TimeInterval(
        tuple(_times(item) for item in times),
        ranges("weekdays", _DAYS),
        tuple(_days(item) for item in parts["days_of_month"].items())
        if "days_of_month" in parts
        else (),
        ranges("months", _MONTHS),
        ranges("years"),
        zone,
    )


def _range(node: Node, words: Sequence[str]) -> Range:
    """`a:b` or `a`; words or numbers, the first not after the last."""
    ends = [_number(node, part.strip().lower(), words) for part in str(node.value).split(":")]
    if len(ends) > 2 or ends[0] > ends[-1]:
        raise node.refused("a range must be first:last, the first not after the last")
    if words is _MONTHS and not 1 <= ends[0] <= ends[-1] <= 12:
        raise node.refused("a month must be january to december, or 1 to 12")
    return ends[0], ends[-1]


def _number(node: Node, text: str, words: Sequence[str]) -> int:
    if text and text in words:
        return list(words).index(text)
    if text.isdecimal() and words is not _DAYS:
        return int(text)
    raise node.refused("a range holds a word or number that is not known, e.g. monday:friday")


def _days(node: Node) -> Range:
    parts = str(node.value).split(":")
    if len(parts) > 2 or not all(part.strip().lstrip("-").isdecimal() for part in parts):
        raise node.refused("days_of_month must be numbers, e.g. 1:7 or -3:-1")
    first, last = int(parts[0]), int(parts[-1])
    crossing = first < 0 < last or ((first < 0) == (last < 0) and first > last)
    if crossing or not all(1 <= abs(day) <= 31 for day in (first, last)):
        raise node.refused("days_of_month must lie in 1 to 31 or -31 to -1, first before last")
    return first, last


def _times(node: Node) -> Range:
    keys = ("start_time", "end_time")
    parts = node.mapping(keys, keys)
    start, end = _minute(parts["start_time"]), _minute(parts["end_time"])
    if start >= end:
        raise node.refused("start_time must be before end_time; split an interval at midnight")
    return start, end


def _minute(node: Node) -> int:
    if isinstance(node.value, int) and 0 <= node.value <= _MINUTES_A_DAY:
        return node.value  # YAML 1.1 reads an unquoted 10:30 as base 60: the minutes already
    hours, colon, minutes = str(node.value).partition(":")
    fits = colon and len(hours) == len(minutes) == 2 and (hours + minutes).isdecimal()
    if not fits or int(minutes) > 59 or int(hours) * 60 + int(minutes) > _MINUTES_A_DAY:
        raise node.refused("a time must be in quotes, '00:00' to '24:00'")
    return int(hours) * 60 + int(minutes)


def _zone(node: Node) -> tzinfo:
    try:
        return ZoneInfo(node.text())
    except (ZoneInfoNotFoundError, ValueError):
        raise node.refused("location must be a time zone such as Europe/Berlin") from None


def _in_month(days: Range, length: int) -> Range:
    """Days of a month of this length; what starts after its end is empty."""
    first, last = (day + length + 1 if day < 0 else day for day in days)
    return max(first, 1), min(last, length)


def _within(ranges: Sequence[Range], number: int) -> bool:
    return not ranges or any(first <= number <= last for first, last in ranges)
