"""Notice before a shift: nobody finds out by the first page that they are on call."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.on_call.schedule import Schedule, Shift
from clinical_lakehouse.alerting.on_call.shifts import shifts

_LOOK_BACK = timedelta(days=8)  # longer than a week's turn
_MOMENT = timedelta(microseconds=1)  # a window ends before its end


@dataclass(frozen=True)
class ShiftNotice:
    """A shift somebody should know of; `key` is the same however often it is asked for.

    `is_late` says that the shift has begun without the notice having been due in time.
    """

    key: str
    schedule: str
    shift: Shift
    is_late: bool


def shift_notices(
    schedule: Schedule, now: datetime, lead: timedelta = timedelta(hours=24)
) -> Iterator[ShiftNotice]:
    """Notices that are due: of shifts that begin within `lead`, and of the one that runs.

    The outbox keeps each key once, so a notice missed while nothing ran is sent on the next call,
    and who takes over by a later override gets a notice of their own.
    """
    since = now - _LOOK_BACK
    for shift in shifts(schedule, since, now + lead + _MOMENT):
        # A shift that the window cuts began before it; its notice was due then.
        if shift.end > now and (shift.start > since or since <= schedule.starts_at):
            key = f"shift:{schedule.name}:{shift.start:%Y%m%dT%H%M%SZ}:{shift.person.id}"
            yield ShiftNotice(key, schedule.name, _whole(schedule, shift), shift.start <= now)


def _whole(schedule: Schedule, shift: Shift) -> Shift:
    """The shift with its real end, not that of the window."""
    return shifts(schedule, shift.start, shift.end + _LOOK_BACK)[0]
