"""A schedule as data: people, rotations in layers, absences, swaps, overrides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"
EVERY_DAY = frozenset((*DAYS, HOLIDAY))
LENGTH_DAYS = {"daily": 1, "weekly": 7}


@dataclass(frozen=True)
class Absence:
    """When somebody cannot be on call; the next of the rotation stands in. `end` is excluded."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Person:
    """Somebody who can be told something: how to reach them, by channel, and in which language."""

    id: str
    name: str
    zone: ZoneInfo
    language: str
    contacts: Mapping[str, str] = field(repr=False)
    away: tuple[Absence, ...] = ()


@dataclass(frozen=True)
class Turns:
    """Whose turn it is: each of `people` in order, hand-over every 1 or 7 days at a wall time."""

    people: tuple[Person, ...]
    length_days: int
    starts_on: date
    handover: time
    zone: ZoneInfo


@dataclass(frozen=True)
class Rotation:
    """Turns that hold all the time, or only on some days and between two wall times.

    Where `until` is not after `since` the hours run over midnight; the day is that of their start.
    """

    name: str
    turns: Turns
    days: frozenset[str] = EVERY_DAY
    since: time | None = None
    until: time | None = None
    ends_on: date | None = None


@dataclass(frozen=True)
class FollowTheSun:
    """Sites that take over from each other, each at its own wall time and with its own turns.

    A site is on call until the next one begins, so clocks that change leave no gap between them.
    """

    name: str
    sites: tuple[Turns, ...]


@dataclass(frozen=True)
class Swap:
    """Two people stand in for each other from `start` to `end`."""

    people: tuple[Person, Person]
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Override:
    """One person is on call from `start` to `end`, whoever's turn it is."""

    person: Person
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Schedule:
    """Who is on call: layers of rotations (a later layer covers an earlier one), then swaps,
    then overrides. `holidays` are days of kind `holiday` in place of their weekday."""

    name: str
    zone: ZoneInfo
    layers: tuple[tuple[Rotation | FollowTheSun, ...], ...]
    starts_at: datetime
    holidays: frozenset[date] = frozenset()
    swaps: tuple[Swap, ...] = ()
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True)
class Shift:
    """One person on call from `start` to `end` (UTC, end excluded), by which rotation."""

    start: datetime
    end: datetime
    person: Person
    by: str


@dataclass(frozen=True)
class OnCall:
    """All people and all schedules, by name."""

    people: Mapping[str, Person]
    schedules: Mapping[str, Schedule]
