"""Is somebody on call, and only one, at every moment of the years ahead?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from clinical_lakehouse.alerting.on_call.schedule import Override, Schedule, Shift
from clinical_lakehouse.alerting.on_call.shifts import duties, shifts
from clinical_lakehouse.errors import SettingsError

# Long enough for every clock change and every weekday of a fixed day (a year has 52 weeks and a
# day, so five years move a date through the week), and for Ramadan, which moves Morocco's clocks.
HORIZON = timedelta(days=5 * 366)


@dataclass(frozen=True)
class Fault:
    """A time (UTC) when nobody is on call, or two are: the layer's place, and the rotations."""

    start: datetime
    end: datetime
    layer: int
    rotations: tuple[str, ...] = ()


def overlaps(schedule: Schedule, horizon: timedelta = HORIZON) -> Iterator[Fault]:
    """The first time in each layer when two rotations, or two people, are on call at once."""
    for place, layer in enumerate(schedule.layers):
        found = duties(schedule, layer, schedule.starts_at, _end(schedule, horizon))
        clash = next((pair for pair in pairwise(found) if pair[1].start < pair[0].end), None)
        if clash:
            end = min(clash[0].end, clash[1].end)
            yield Fault(clash[1].start, end, place, (clash[0].by, clash[1].by))


def gaps(schedule: Schedule, horizon: timedelta = HORIZON) -> Iterator[Fault]:
    """Times when nobody is on call, from the schedule's start on."""
    end = _end(schedule, horizon)
    found = shifts(schedule, schedule.starts_at, end)
    yield from _between(schedule.starts_at, found, end)


def with_overrides(schedule: Schedule, more: Iterable[Override]) -> Schedule:
    """The schedule with further overrides, e.g. of a calendar; SettingsError where two overlap,
    for then two people would be on call."""
    found = sorted([*schedule.overrides, *more], key=lambda o: (o.start, o.end))
    for before, after in pairwise(found):
        if after.start < before.end:
            raise SettingsError(
                f"two overrides of {schedule.name!r} overlap from "
                f"{after.start:%Y-%m-%d %H:%M} UTC; cut one of them"
            )
    return replace(schedule, overrides=tuple(found))


def _between(start: datetime, found: tuple[Shift, ...], end: datetime) -> Iterator[Fault]:
    covered = start
    for shift in found:
        if covered < shift.start:
            yield Fault(covered, shift.start, 0)
        covered = max(covered, shift.end)
    if covered < end:
        yield Fault(covered, end, 0)


def _end(schedule: Schedule, horizon: timedelta) -> datetime:
    """The end of the check: also well after everything the schedule dates itself."""
    dated = [o.end for o in schedule.overrides] + [s.end for s in schedule.swaps]
    return max([schedule.starts_at, *dated]) + horizon
