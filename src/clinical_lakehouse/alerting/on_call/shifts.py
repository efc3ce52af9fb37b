"""Shifts are a pure function of a schedule and a window; nothing about them is stored.

Hand-over is a wall time. One that a clock change skips is read with the offset before the change,
one that comes twice means the first (RFC 5545, 3.3.5), which is what `fold=0` does (PEP 495).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from clinical_lakehouse.alerting.on_call.schedule import (
    DAYS,
    EVERY_DAY,
    HOLIDAY,
    FollowTheSun,
    Person,
    Rotation,
    Schedule,
    Shift,
    Turns,
)

_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)
_OVERRIDE = "override"


def wall(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """The UTC moment of a wall time."""
    return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)


def primary(schedule: Schedule, at: datetime) -> Person | None:
    """Who is on call at a moment; None only before the schedule starts."""
    found = shifts(schedule, at, at + _MOMENT)
    return found[0].person if found else None


def shifts(schedule: Schedule, start: datetime, end: datetime) -> tuple[Shift, ...]:
    """Who is on call from `start` to `end`: in order, cut at both ends, never two at once."""
    start, end = max(start.astimezone(UTC), schedule.starts_at), end.astimezone(UTC)
    stacked: list[Shift] = []
    for layer in schedule.layers:
        stacked = _laid_over(stacked, duties(schedule, layer, start, end))
    for swap in schedule.swaps:
        stacked = list(_swapped(stacked, swap.people, swap.start, swap.end))
    own = [Shift(o.start, o.end, o.person, _OVERRIDE) for o in schedule.overrides]
    return tuple(_joined(_laid_over(stacked, _cut(own, start, end))))


def duties(
    schedule: Schedule,
    layer: Iterable[Rotation | FollowTheSun],
    start: datetime,
    end: datetime,
) -> list[Shift]:
    """What one layer's rotations say, in order of start; a good layer has no two at once."""
    found: list[Shift] = []
    for rotation in layer:
        if isinstance(rotation, FollowTheSun):
            found += _following(rotation, start, end)
        else:
            found += _rotating(rotation, schedule.holidays, start, end)
    return _cut(found, start, end)


def _rotating(
    rotation: Rotation, holidays: frozenset[date], start: datetime, end: datetime
) -> Iterator[Shift]:
    turns = rotation.turns
    for began, ended in _windows(rotation, holidays, start, end):
        for first, last, place in _turns(turns, began, ended):
            yield from _present(turns.people, place, (first, last), rotation.name)


def _windows(
    rotation: Rotation, holidays: frozenset[date], start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """When the rotation holds at all, between `start` and `end`."""
    turns = rotation.turns
    since, until = rotation.since or turns.handover, rotation.until or turns.handover
    if rotation.days == EVERY_DAY and since == until:
        if rotation.ends_on:
            end = min(end, wall(rotation.ends_on, turns.handover, turns.zone))
        yield max(start, wall(turns.starts_on, turns.handover, turns.zone)), end
        return
    day = max(start.astimezone(turns.zone).date() - 2 * _DAY, turns.starts_on)
    last = end.astimezone(turns.zone).date() + _DAY
    while day <= last and (rotation.ends_on is None or day < rotation.ends_on):
        kind = HOLIDAY if day in holidays else DAYS[day.weekday()]
        if kind in rotation.days:
            next_day = day + _DAY if until <= since else day
            yield wall(day, since, turns.zone), wall(next_day, until, turns.zone)
        day += _DAY


def _turns(
    turns: Turns, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, int]]:
    """Each turn between two moments, with the place in the row of people whose turn it is."""
    since = (start.astimezone(turns.zone).date() - turns.starts_on).days
    number = max(since // turns.length_days - 1, 0)
    while True:
        day = turns.starts_on + number * turns.length_days * _DAY
        begins = wall(day, turns.handover, turns.zone)
        ends = wall(day + turns.length_days * _DAY, turns.handover, turns.zone)
        if begins >= end:
            return
        if ends > start:
            yield max(begins, start), min(ends, end), number % len(turns.people)
        number += 1


def _following(rotation: FollowTheSun, start: datetime, end: datetime) -> Iterator[Shift]:
    starts = []
    for turns in rotation.sites:
        day = max(start.astimezone(turns.zone).date() - 2 * _DAY, turns.starts_on)
        while day <= end.astimezone(turns.zone).date() + 2 * _DAY:
            number = (day - turns.starts_on).days // turns.length_days
            starts.append((wall(day, turns.handover, turns.zone), number, turns))
            day += _DAY
    starts.sort(key=lambda found: found[0])
    moments = sorted({moment for moment, _, _ in starts})
    until = dict(pairwise(moments))
    for moment, number, turns in starts:
        if moment in until:
            span = (moment, until[moment])
            yield from _present(turns.people, number % len(turns.people), span, rotation.name)


def _present(
    people: Sequence[Person], place: int, span: tuple[datetime, datetime], by: str
) -> Iterator[Shift]:
    """The person whose turn it is, and while they are away the next one who is not."""
    edges = {m for p in people for a in p.away for m in (a.start, a.end) if span[0] < m < span[1]}
    for first, last in pairwise(sorted({*span, *edges})):
        for step in range(len(people)):
            person = people[(place + step) % len(people)]
            if not any(a.start < last and first < a.end for a in person.away):
                yield Shift(first, last, person, by)
                break


def _swapped(
    found: Iterable[Shift], pair: tuple[Person, Person], start: datetime, end: datetime
) -> Iterator[Shift]:
    stands_in = {pair[0].id: pair[1], pair[1].id: pair[0]}
    for shift in found:
        if shift.person.id not in stands_in or shift.end <= start or end <= shift.start:
            yield shift
            continue
        inside = (max(shift.start, start), min(shift.end, end))
        edges = [shift.start, *inside, shift.end]
        people = (shift.person, stands_in[shift.person.id], shift.person)
        for (first, last), person in zip(pairwise(edges), people, strict=True):
            if first < last:
                yield Shift(first, last, person, shift.by)


def _laid_over(lower: Sequence[Shift], upper: Sequence[Shift]) -> list[Shift]:
    """What is in force where `upper` covers `lower`."""
    if not upper:
        return list(lower)
    left: list[Shift] = []
    at = 0
    for shift in lower:
        first = shift.start
        while at < len(upper) and upper[at].end <= first:
            at += 1
        for cover in upper[at:]:
            if cover.start >= shift.end:
                break
            if first < cover.start:
                left.append(replace(shift, start=first, end=cover.start))
            first = max(first, cover.end)
        if first < shift.end:
            left.append(replace(shift, start=first))
    return sorted([*left, *upper], key=lambda found: found.start)


def _cut(found: Iterable[Shift], start: datetime, end: datetime) -> list[Shift]:
    cut = [
        replace(s, start=max(s.start, start).astimezone(UTC), end=min(s.end, end).astimezone(UTC))
        for s in found
    ]
    return sorted((s for s in cut if s.start < s.end), key=lambda s: (s.start, s.end))


def _joined(found: Iterable[Shift]) -> Iterator[Shift]:
    """Neighbours of one person are one shift: nobody hands over to themselves."""
    current: Shift | None = None
    for shift in found:
        if current and current.end == shift.start and current.person.id == shift.person.id:
            current = replace(current, end=shift.end)
            continue
        if current:
            yield current
        current = shift
    if current:
        yield current
