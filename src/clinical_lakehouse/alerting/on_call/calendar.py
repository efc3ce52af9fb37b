"""Shifts as iCalendar (RFC 5545) for any calendar app, and a calendar's events as overrides."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from icalendar import Calendar, Event

from clinical_lakehouse.alerting.on_call.schedule import Override, Person, Schedule, Shift
from clinical_lakehouse.errors import SettingsError

_PRODUCT = "-//clinical-lakehouse//on-call//EN"


def to_ical(schedule: Schedule, found: Iterable[Shift], stamp: datetime) -> bytes:
    """A calendar with one event per shift, in UTC; the same shifts and stamp give the same bytes.

    `stamp` is when the calendar is made (DTSTAMP, RFC 5545 3.8.7.2).
    """
    calendar = Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"On call: {schedule.name}")
    for shift in found:
        calendar.add_component(_event(schedule.name, shift, stamp))
    return calendar.to_ical()


def _event(name: str, shift: Shift, stamp: datetime) -> Event:
    event = Event()
    identity = f"{name}\x1f{shift.start.isoformat()}\x1f{shift.person.id}"
    event.add("uid", f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}@clinical-lakehouse")
    event.add("dtstamp", stamp.astimezone(UTC))
    event.add("dtstart", shift.start)
    event.add("dtend", shift.end)
    event.add("summary", f"{shift.person.id} on call: {name}")
    event.add("transp", "TRANSPARENT")
    return event


def from_ical(
    text: bytes, people: Mapping[str, Person], zone: ZoneInfo, window: tuple[datetime, datetime]
) -> tuple[Override, ...]:
    """A calendar's events within `window` as overrides, recurring ones expanded, in order.

    Whose event it is says an ATTENDEE's mail address, or the first word of the SUMMARY that is a
    person's id. `zone` is that of times without one. SettingsError names the event by its number.
    """
    try:
        calendar = Calendar.from_ical(text)
    except (ValueError, KeyError, IndexError):
        raise SettingsError("the calendar is not iCalendar (RFC 5545); export it again") from None
    events = [e for e in calendar.walk("VEVENT") if str(e.get("STATUS", "")) != "CANCELLED"]
    moved = {(str(e.get("UID")), _at(e["RECURRENCE-ID"].dt, zone)) for e in _moved(events)}
    found = []
    for number, event in enumerate(events, 1):
        person = _whose(event, people, number)
        for start, end in _times(event, zone, window, number):
            is_moved = (str(event.get("UID")), start) in moved and "RECURRENCE-ID" not in event
            if not is_moved and start < window[1] and window[0] < end:
                found.append(Override(person, start, end))
    return tuple(sorted(found, key=lambda o: (o.start, o.end, o.person.id)))


def _moved(events: Iterable[Any]) -> list[Any]:
    """Events that replace one instance of a recurring one."""
    return [event for event in events if "RECURRENCE-ID" in event]


def _whose(event: Any, people: Mapping[str, Person], number: int) -> Person:
    listed = event.get("ATTENDEE", [])
    attendees = listed if isinstance(listed, list) else [listed]
    mails = {str(a).lower().removeprefix("mailto:") for a in attendees}
    words = re.findall(r"[\w.-]+", str(event.get("SUMMARY", "")))
    for person in people.values():
        if person.contacts.get("email", "").lower() in mails - {""}:
            return person
    for word in words:
        if word in people:
            return people[word]
    raise SettingsError(
        f"event {number} of the calendar names nobody of on_call.yml; put a person's id first in "
        "its title, or their mail address among its attendees"
    )


def _times(
    event: Any, zone: ZoneInfo, window: tuple[datetime, datetime], number: int
) -> Iterator[tuple[datetime, datetime]]:
    """Start and end of each instance, by wall time where the event has a zone."""
    if "DTSTART" not in event:
        raise SettingsError(f"event {number} of the calendar has no DTSTART")
    first = event["DTSTART"].dt
    whole_day = not isinstance(first, datetime)
    own = zone if whole_day or first.tzinfo is None else first.tzinfo
    naive = datetime.combine(first, time()) if whole_day else first.replace(tzinfo=None)
    length = _length(event, naive, whole_day, zone)
    for start in _starts(event, naive, own, window):
        yield _at(start.replace(tzinfo=own), zone), _at((start + length).replace(tzinfo=own), zone)


def _length(event: Any, first: datetime, whole_day: bool, zone: ZoneInfo) -> timedelta:
    if "DTEND" in event:
        end = event["DTEND"].dt
        last = (
            end.replace(tzinfo=None) if isinstance(end, datetime) else datetime.combine(end, time())
        )
        return last - first
    if "DURATION" in event:
        return event["DURATION"].dt
    return timedelta(days=1) if whole_day else timedelta()


def _starts(
    event: Any, first: datetime, own: ZoneInfo, window: tuple[datetime, datetime]
) -> list[datetime]:
    """Wall times at which instances begin (RFC 5545 3.3.10), without the excluded ones."""
    starts = [first]
    if "RRULE" in event:
        rule = event["RRULE"].to_ical().decode()
        # UNTIL is in UTC where DTSTART has a zone; wall times are compared with wall times.
        rule = re.sub(r"UNTIL=(\d{8}T\d{6})Z", lambda m: f"UNTIL={_local(m[1], own)}", rule)
        last = window[1].astimezone(own).replace(tzinfo=None)
        early = window[0].astimezone(own).replace(tzinfo=None) - timedelta(days=31)
        starts = rrulestr(rule, dtstart=first).between(early, last, inc=True)
    listed = event.get("EXDATE", [])
    excluded = {
        _at(one.dt, own)
        for group in (listed if isinstance(listed, list) else [listed])
        for one in group.dts
    }
    return [start for start in starts if _at(start.replace(tzinfo=own), own) not in excluded]


def _local(text: str, zone: ZoneInfo) -> str:
    moment = datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return moment.astimezone(zone).strftime("%Y%m%dT%H%M%S")


def _at(moment: datetime | date, zone: ZoneInfo) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
