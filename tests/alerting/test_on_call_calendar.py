"""Shifts go out as iCalendar and come back; recurring events of a calendar become overrides."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from icalendar import Calendar

from clinical_lakehouse.alerting.on_call.calendar import from_ical, to_ical
from clinical_lakehouse.alerting.on_call.cover import with_overrides
from clinical_lakehouse.alerting.on_call.shifts import primary, shifts
from clinical_lakehouse.errors import SettingsError
from tests.alerting.rota import on_call, rota

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC))


@pytest.fixture
def data(tmp_path):
    return on_call(tmp_path, rota())


def _calendar(*lines: str) -> bytes:
    head = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//EN")
    return "\r\n".join((*head, *lines, "END:VCALENDAR", "")).encode()


def _event(*lines: str) -> tuple[str, ...]:
    return ("BEGIN:VEVENT", "DTSTAMP:20240101T000000Z", *lines, "END:VEVENT")


def test_calendar_comes_back_as_the_same_shifts(data):
    found = shifts(data.schedules["data"], *SPRING)
    text = to_ical(data.schedules["data"], found, SPRING[0])
    back = from_ical(text, data.people, BERLIN, SPRING)
    assert [(o.person.id, o.start, o.end) for o in back] == [
        (s.person.id, s.start, s.end) for s in found
    ]
    assert len(back) == 10


def test_calendar_is_valid_and_the_same_bytes_every_time(data):
    found = shifts(data.schedules["data"], *SPRING)
    text = to_ical(data.schedules["data"], found, SPRING[0])
    assert text == to_ical(data.schedules["data"], found, SPRING[0])
    assert all(len(line) <= 75 for line in text.split(b"\r\n"))  # RFC 5545, 3.1
    events = Calendar.from_ical(text).walk("VEVENT")
    assert len({str(e["UID"]) for e in events}) == len(events) == len(found)


def test_recurring_event_keeps_wall_time_over_the_clock_change(data):
    rule = "RRULE:FREQ=WEEKLY;BYDAY=MO,FR;UNTIL=20240412T160000Z"
    text = _calendar(
        *_event(
            "UID:1", "SUMMARY:ana covers the evening", rule,
            "DTSTART;TZID=Europe/Berlin:20240318T180000",
            "DTEND;TZID=Europe/Berlin:20240318T220000",
            "EXDATE;TZID=Europe/Berlin:20240325T180000",
        ),
        *_event(
            "UID:1", "SUMMARY:Evening", "ATTENDEE:mailto:BEN@example.org",
            "RECURRENCE-ID;TZID=Europe/Berlin:20240329T180000",
            "DTSTART;TZID=Europe/Berlin:20240329T190000", "DURATION:PT1H",
        ),
    )  # fmt: skip
    found = from_ical(text, data.people, BERLIN, SPRING)
    assert [(o.person.id, o.start.astimezone(BERLIN).strftime("%m-%d %H:%M")) for o in found] == [
        ("ana", "03-18 18:00"), ("ana", "03-22 18:00"), ("ben", "03-29 19:00"),
        ("ana", "04-01 18:00"), ("ana", "04-05 18:00"), ("ana", "04-08 18:00"),
        ("ana", "04-12 18:00"),
    ]  # fmt: skip
    assert {o.end - o.start for o in found} == {timedelta(hours=4), timedelta(hours=1)}


def test_whole_day_is_a_day_of_the_schedules_zone(data):
    text = _calendar(*_event("UID:1", "SUMMARY:chi", "DTSTART;VALUE=DATE:20240331"))
    (found,) = from_ical(text, data.people, BERLIN, SPRING)
    assert found.end - found.start == timedelta(hours=23)  # the day the clocks go forward


def test_calendar_puts_others_on_call_and_two_at_once_are_refused(data):
    evening = ("DTSTART:20240405T160000Z", "DTEND:20240405T200000Z")
    late = ("DTSTART:20240405T190000Z", "DTEND:20240405T220000Z")
    one = from_ical(
        _calendar(*_event("UID:1", "SUMMARY:chi", *evening)), data.people, BERLIN, SPRING
    )
    schedule = with_overrides(data.schedules["data"], one)
    assert primary(schedule, datetime(2024, 4, 5, 17, tzinfo=UTC)).id == "chi"
    assert primary(schedule, datetime(2024, 4, 5, 20, tzinfo=UTC)).id == "ben"
    both = _calendar(
        *_event("UID:1", "SUMMARY:chi", *evening), *_event("UID:2", "SUMMARY:ana", *late)
    )
    with pytest.raises(SettingsError, match="overlap from 2024-04-05 19:00 UTC"):
        with_overrides(data.schedules["data"], from_ical(both, data.people, BERLIN, SPRING))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"hello", "not iCalendar"),
        (_calendar(*_event("UID:1", "SUMMARY:zoe", "DTSTART:20240331T000000Z")), "event 1 of the"),
        (_calendar(*_event("UID:1", "SUMMARY:ana")), "has no DTSTART"),
    ],
)
def test_calendar_that_names_nobody_is_refused_without_quoting_it(data, text, said):
    with pytest.raises(SettingsError, match=said) as refused:
        from_ical(text, data.people, BERLIN, SPRING)
    assert "zoe" not in str(refused.value)
