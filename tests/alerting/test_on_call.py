"""Exactly one person is on call at any moment, and takes over at a wall time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from clinical_lakehouse.alerting.on_call.notice import shift_notices
from clinical_lakehouse.alerting.on_call.shifts import primary, shifts
from clinical_lakehouse.errors import SettingsError
from tests.alerting.rota import PEOPLE, on_call, rota

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",  # the last one changes by 30 min
    "Asia/Kathmandu", "Africa/Casablanca", "America/Santiago",
)  # fmt: skip
FIVE_YEARS = 5 * 366
PAGER = "    overrides: [{person: chi, from: 2024-03-30T12:00, to: 2024-03-31T12:00}]\n"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("rotation", "days"), [("daily", 1), ("weekly", 7)])
def test_five_years_have_one_primary_who_takes_over_at_wall_time(tmp_path, zone, rotation, days):
    schedule = on_call(tmp_path, rota(zone, rotation=rotation)).schedules["data"]
    # pandas makes the same wall times by its own arithmetic.
    expected = pd.date_range(
        "2024-01-01 09:00", periods=FIVE_YEARS // days, freq=f"{days}D", tz=ZoneInfo(zone)
    )
    found = shifts(schedule, expected[0].to_pydatetime(), expected[-1].to_pydatetime())
    assert [s.start for s in found] == [m.to_pydatetime() for m in expected[:-1]]
    assert [s.person.id for s in found] == [("ana", "ben", "chi")[i % 3] for i in range(len(found))]
    assert all(before.end == after.start for before, after in pairwise(found))
    hours = pd.date_range(expected[0], expected[-1], freq="311h", inclusive="left")
    by_start = {s.start: s.person.id for s in found}
    for hour in hours:  # asked one moment at a time, it says what the whole says
        start = max(m for m in expected[expected <= hour]).to_pydatetime()
        assert primary(schedule, hour.to_pydatetime()).id == by_start[start.astimezone(UTC)]


@pytest.mark.parametrize("zone", ZONES)
def test_handover_falls_on_wall_time_on_every_day_the_clock_changes(tmp_path, zone):
    """oncall 3261: after a clock change the rota stood an hour off."""
    own, day = ZoneInfo(zone), timedelta(days=1)
    schedule = on_call(tmp_path, rota(zone, rotation="daily")).schedules["data"]
    noons = [datetime(2024, 1, 2, 12, tzinfo=UTC) + n * day for n in range(FIVE_YEARS)]
    changed = [
        n for n in noons if (n - day).astimezone(own).utcoffset() != n.astimezone(own).utcoffset()
    ]
    assert len(changed) == {"Asia/Kathmandu": 0}.get(zone, 10)
    for noon in changed:
        found = shifts(schedule, noon - 2 * day, noon + 2 * day)[1:]
        assert {s.start.astimezone(own).strftime("%H:%M") for s in found} == {"09:00"}


def test_handover_in_the_skipped_hour_is_read_with_the_offset_before(tmp_path):
    """RFC 5545, 3.3.5: 02:30 of 31 March 2024 in Berlin is 01:30 UTC, when clocks show 03:30."""
    schedule = on_call(tmp_path, rota(handover="02:30", rotation="daily")).schedules["data"]
    found = shifts(schedule, datetime(2024, 3, 30, tzinfo=UTC), datetime(2024, 4, 2, tzinfo=UTC))
    assert [s.start.hour * 60 + s.start.minute for s in found[1:]] == [90, 90, 30]


def test_sites_follow_the_sun_without_gap_while_clocks_change_apart(tmp_path):
    """New York changes three weeks before Berlin; each takes over at 09:00 of its own."""
    sites = "".join(
        f'          - {{zone: {zone}, handover: "09:00", people: [{who}]}}\n'
        for zone, who in (
            ("Asia/Tokyo", "chi"),
            ("Europe/Berlin", "ana"),
            ("America/New_York", "ben"),
        )
    )
    text = "schedules:\n  data:\n    zone: UTC\n    starts_on: 2024-01-01\n    layers:\n"
    schedule = on_call(
        tmp_path, f"{text}      - rotation: follow_the_sun\n        sites:\n{sites}"
    ).schedules["data"]
    start = datetime(2024, 3, 1, tzinfo=UTC)
    found = shifts(schedule, start, start + timedelta(days=366))
    assert sum((s.end - s.start for s in found), timedelta()) == timedelta(days=366)
    for shift in found[1:]:
        zone = {"chi": "Asia/Tokyo", "ana": "Europe/Berlin", "ben": "America/New_York"}
        assert shift.start.astimezone(ZoneInfo(zone[shift.person.id])).hour == 9
    assert {s.end - s.start for s in found if s.person.id == "ana"} == {
        timedelta(hours=h) for h in (5, 6)
    }


def test_override_swap_and_absence_put_others_in(tmp_path):
    more = (
        PAGER + "    swaps: [{people: [ana, ben], from: 2024-01-03T09:00, to: 2024-01-10T09:00}]\n"
    )
    people = PEOPLE.replace(
        "chi@example.org}}",
        "chi@example.org}, away: [{from: 2024-01-20T00:00, to: 2024-01-21T00:00}]}",
    )
    schedule = on_call(tmp_path, rota(more=more), people).schedules["data"]
    at = lambda *when: primary(schedule, datetime(*when, tzinfo=ZoneInfo("Europe/Berlin"))).id  # noqa: E731
    assert (at(2024, 1, 2), at(2024, 1, 4), at(2024, 1, 9), at(2024, 1, 11)) == (
        "ana", "ben", "ana", "ben"
    )  # fmt: skip
    assert (at(2024, 3, 30, 11), at(2024, 3, 30, 12), at(2024, 3, 31, 12)) == ("ana", "chi", "ana")
    # Chi's absence is in Chi's own zone: midnight in Tokyo is 16:00 in Berlin.
    assert (at(2024, 1, 19, 15), at(2024, 1, 19, 16), at(2024, 1, 20, 16)) == ("chi", "ana", "chi")


def test_holiday_is_worked_by_who_works_holidays(tmp_path):
    text = """\
schedules:
  data:
    zone: Europe/Berlin
    starts_on: 2024-01-01
    holidays: [2024-05-01]
    layers:
      - - {name: w, rotation: weekly, people: [ana], handover: "09:00", days: [weekdays]}
        - {name: r, rotation: weekly, people: [ben], handover: "09:00", days: [weekends, holiday]}
"""
    schedule = on_call(tmp_path, text).schedules["data"]
    own = ZoneInfo("Europe/Berlin")
    assert primary(schedule, datetime(2024, 5, 1, 8, tzinfo=own)).id == "ana"
    assert primary(schedule, datetime(2024, 5, 1, 9, tzinfo=own)).id == "ben"
    assert primary(schedule, datetime(2024, 5, 2, 9, tzinfo=own)).id == "ana"


LAYER = '{rotation: daily, people: [ana], handover: "09:00", '
REFUSED = {
    "gap": (f'      - {LAYER}days: [weekdays]}}\n', ":9 leaves a gap in cover from 2024-01-06"),
    "hours": (f'      - {LAYER}since: "09:00", until: "17:00"}}\n', ":9 leaves a gap in cover"),
    "end": (f"      - {LAYER}ends_on: 2024-06-01}}\n", ":9 leaves a gap in cover from 2024-06-01"),
    "overlap": (
        f'      - - {LAYER}name: a}}\n        - {LAYER}name: b, days: [sat]}}\n',
        "on_call.yml:10 has overlapping rotations (a and b) from 2024-01-06 08:00",
    ),
    "unknown_person": (
        '      - {rotation: daily, people: [ana, zoe], handover: "09:00"}\n',
        "on_call.yml:10 names an unknown person 'zoe'",
    ),
    "unknown_zone": (
        f"      - {LAYER}zone: Europe/Berlín}}\n", ":10 zone must be an IANA time zone"
    ),
    "number_for_time": (
        "      - {rotation: daily, people: [ana], handover: 10:30}\n", ":10 handover must be a wall"
    ),
    "unknown_field": (f"      - {LAYER}hand_over: x}}\n", ":10 has an unknown field 'hand_over'"),
    "override_twice": (
        f"      - {LAYER[:-2]}}}\n{PAGER.rstrip()[:-1]}, {PAGER.strip()[12:]}\n",
        ":11 overlaps an earlier override",
    ),
    "nobody_there": (
        f"      - {LAYER[:-2]}}}\n    swaps: [{{people: [ana, ana], from: 2024-01-01T00:00, "
        "to: 2024-01-02T00:00}]\n",
        ":11 a swap is between two people",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_doubtful_rota_is_refused_with_file_and_line(tmp_path, case):
    layers, said = REFUSED[case]
    text = "schedules:\n  data:\n    zone: Europe/Berlin\n    starts_on: 2024-01-01\n    layers:\n"
    with pytest.raises(SettingsError) as refused:
        on_call(tmp_path, text + layers)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_gap_that_only_a_clock_change_opens_is_found(tmp_path):
    """Berlin begins when New York ends and the other way round, but for the three weeks when only
    one of them has changed its clocks."""
    text = """\
schedules:
  data:
    zone: UTC
    starts_on: 2024-01-01
    layers:
      - - {rotation: daily, zone: America/New_York, people: [ben], handover: "09:00",
           since: "02:00", until: "17:00"}
        - {rotation: daily, zone: Europe/Berlin, people: [ana], handover: "09:00", since: "23:00",
           until: "08:00"}
"""
    with pytest.raises(SettingsError, match="overlapping rotations .* from 2024-03-11 06:00"):
        on_call(tmp_path, text)


def test_everybody_away_is_a_gap(tmp_path):
    away = ", away: [{from: 2024-02-01T00:00, to: 2024-02-02T00:00}]}"
    people = PEOPLE.replace('chat: "#ana"}}', f'chat: "#ana"}}{away}')
    with pytest.raises(SettingsError, match="gap in cover from 2024-01-31 23:00"):
        on_call(tmp_path, rota(people="[ana]"), people)


def test_contact_that_could_carry_a_header_is_refused(tmp_path):
    people = PEOPLE.replace("ana@example.org", '"ana@example.org\\nBcc: eve@example.org"')
    with pytest.raises(SettingsError, match="on_call.yml:2 the contact 'email' is not an address"):
        on_call(tmp_path, rota(), people)


def test_notice_comes_a_day_before_the_shift_and_once(tmp_path):
    """oncall 2953: no notice before the shift."""
    schedule = on_call(tmp_path, rota()).schedules["data"]
    begins = datetime(2024, 1, 8, 8, tzinfo=UTC)  # 09:00 in Berlin, Ben's first
    keys: dict[str, tuple[datetime, bool]] = {}
    for hour in range(24 * 14):
        now = datetime(2024, 1, 2, tzinfo=UTC) + timedelta(hours=hour)
        for notice in shift_notices(schedule, now):
            keys.setdefault(notice.key, (now, notice.is_late))
            assert notice.shift.end - notice.shift.start == timedelta(days=7)
    ben = [found for key, found in keys.items() if key.endswith(":ben")]
    assert ben == [(begins - timedelta(hours=24), False)]
    assert [found[1] for found in keys.values()] == [
        True,
        False,
        False,
    ]  # Ana's runs


def test_notice_that_was_missed_is_given_late(tmp_path):
    schedule = on_call(tmp_path, rota()).schedules["data"]
    found = list(shift_notices(schedule, datetime(2024, 1, 8, 12, tzinfo=UTC)))
    assert [(n.shift.person.id, n.is_late) for n in found] == [("ben", True)]


def test_shipped_schedules_load():
    from pathlib import Path

    from clinical_lakehouse.alerting.on_call.reading import load_on_call

    found = load_on_call(Path(__file__).parents[2] / "conf")
    assert {"data_platform", "safety"} <= set(found.schedules)
