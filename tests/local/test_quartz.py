"""Quartz expressions: what the Quartz tutorial gives as examples passes, what cannot fire fails."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger

from clinical_lakehouse.local.quartz import next_firings, quartz_fault


@pytest.mark.parametrize(
    "expression",
    # The examples of the Quartz scheduler's "CronTrigger Tutorial".
    [
        "0 0 12 * * ?",
        "0 15 10 ? * *",
        "0 15 10 * * ? 2005",
        "0 * 14 * * ?",
        "0 0/5 14,18 * * ?",
        "0 0-5 14 * * ?",
        "0 10,44 14 ? 3 WED",
        "0 15 10 ? * MON-FRI",
        "0 15 10 15 * ?",
        "0 15 10 L * ?",
        "0 15 10 L-2 * ?",
        "0 15 10 ? * 6L",
        "0 15 10 ? * 6L 2002-2005",
        "0 15 10 ? * 6#3",
        "0 0 12 1/5 * ?",
        "0 11 11 11 11 ?",
        "0 0 6 LW JAN-MAR ?",
        "0 0 6 15w * ?",
    ],
)
def test_expressions_of_the_quartz_tutorial_are_taken(expression):
    assert quartz_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 4 * * *", "6 or 7 fields"),
        ("0 0 4 * * ? 2024 1", "6 or 7 fields"),
        ("0 0 4 * * *", "exactly one of day of month and day of week"),
        ("0 0 4 ? * ?", "exactly one of day of month and day of week"),
        ("60 0 4 * * ?", "seconds: '60' is outside 0-59"),
        ("0 0 24 * * ?", "hours: '24' is outside 0-23"),
        ("0 0 4 0 * ?", "day of month: '0' is outside 1-31"),
        ("0 0 4 ? * 0", "day of week: '0' is outside 1-7"),
        ("0 0 4 ? * MO", "day of week: 'MO' is not understood"),
        ("0 0 4 * 13 ?", "month: '13' is outside 1-12"),
        ("0 0/0 4 * * ?", "minutes: '0/0' has a step outside 1-59"),
        ("0 1-2-3 4 * * ?", "minutes: '1-2-3' is not understood"),
        ("0 ? 4 * * ?", "minutes: '\\?' stands only in a day field"),
        ("0 0 4 L,15 * ?", "cannot be part of a list"),
        ("0 0 4 ? * 6#6", "day of week: '6#6' is not understood"),
        ("0 0 4 * * ? 1969", "year: '1969' is outside 1970-2199"),
        ("", "6 or 7 fields"),
    ],
)
def test_expressions_that_cannot_fire_are_refused_with_the_field(expression, said):
    import re

    assert re.search(said, quartz_fault(expression) or "nothing was found")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 0 4 ? * MON-FRI/2", "takes no notice of a step after a name"),
        ("0 0 4 1 JAN/3 ?", "takes no notice of a step after a name"),
        ("0 0 4 * * ? 2026-2024", "ends before it begins"),
    ],
)
def test_what_quartz_would_silently_read_otherwise_is_refused(expression, said):
    assert said in (quartz_fault(expression) or "")


def _recorded() -> list[tuple[str, str, str, int, list[str]]]:
    lines = (Path(__file__).parent / "quartz_firings.txt").read_text().splitlines()
    cut = [line.split("|") for line in lines if not line.startswith("#")]
    return [(e, zone, after, int(count), found.split()) for e, zone, after, count, found in cut]


def _fired(expression: str, zone: str, after: str, count: int) -> list[str]:
    found = next_firings(expression, zone, datetime.fromisoformat(after), count)
    return [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in found]


def test_firings_are_those_that_quartz_itself_computes():
    recorded = _recorded()
    assert len(recorded) > 140
    wrong = [row for row in recorded if _fired(*row[:4]) != row[4]]
    assert wrong == []


# Clocks: New York leaps from 2 to 3 on 10 March 2024 and back from 2 to 1 on 3 November; Berlin
# from 2 to 3 on 31 March and back from 3 to 2 on 27 October. Worked out by hand.
DST_DAYS = {
    "New York, spring: 02:30 does not exist and is not fired": (
        *("0 30 2 * * ?", "America/New_York", "2024-03-09T12:00:00Z"),
        ["2024-03-11T06:30:00Z", "2024-03-12T06:30:00Z"],
    ),
    "New York, autumn: 01:30 occurs twice and is fired the second time": (
        *("0 30 1 * * ?", "America/New_York", "2024-11-02T12:00:00Z"),
        ["2024-11-03T06:30:00Z", "2024-11-04T06:30:00Z"],
    ),
    "Berlin, spring: 02:00 does not exist, 03:00 is the next hour": (
        *("0 0 * * * ?", "Europe/Berlin", "2024-03-30T23:30:00Z"),
        ["2024-03-31T00:00:00Z", "2024-03-31T01:00:00Z", "2024-03-31T02:00:00Z"],
    ),
    "Berlin, autumn: an hourly schedule pauses two hours": (
        *("0 0 * * * ?", "Europe/Berlin", "2024-10-26T22:30:00Z"),
        ["2024-10-26T23:00:00Z", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z"],
    ),
    "Berlin, autumn: asked inside the repeated hour, the same set": (
        *("0 0/20 * * * ?", "Europe/Berlin", "2024-10-27T00:10:00Z"),
        ["2024-10-27T01:00:00Z", "2024-10-27T01:20:00Z", "2024-10-27T01:40:00Z"],
    ),
}


@pytest.mark.parametrize("case", DST_DAYS)
def test_days_on_which_clocks_change(case):
    expression, zone, after, expected = DST_DAYS[case]
    assert _fired(expression, zone, after, len(expected)) == expected


def test_far_from_clock_changes_apscheduler_agrees():
    """An independent implementation; its days of the week count from Monday 0."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for quartz, cron in (
        ("0 15 10 ? * MON-FRI", {"second": 0, "minute": 15, "hour": 10, "day_of_week": "mon-fri"}),
        ("30 0/7 3-5 1,15 * ?", {"second": 30, "minute": "*/7", "hour": "3-5", "day": "1,15"}),
        ("0 0 6 L * ?", {"second": 0, "minute": 0, "hour": 6, "day": "last"}),
        ("0 0 6 ? * 6#3", {"second": 0, "minute": 0, "hour": 6, "day": "3rd fri"}),
        ("0 0 6 ? 2 2L", {"minute": 0, "hour": 6, "day": "last mon", "month": 2}),
    ):
        other = CronTrigger(**cron, timezone="Asia/Kolkata")
        expected, moment = [], start
        for _ in range(60):
            moment = other.get_next_fire_time(None, moment + timedelta(seconds=1))
            expected.append(moment.astimezone(UTC))
        assert next_firings(quartz, "Asia/Kolkata", start, 60) == expected, quartz


def test_an_expression_that_never_fires_ends():
    assert next_firings("0 0 6 30 2 ?", "UTC", datetime(2024, 1, 1, tzinfo=UTC)) == []
