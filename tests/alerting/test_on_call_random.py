"""Whatever is swapped, overridden and away: one person at a time, however the time is cut."""

import random
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from clinical_lakehouse.alerting.on_call.shifts import primary, shifts
from tests.alerting.rota import PEOPLE, on_call

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo", "UTC")
LAYERS = (
    '- {{rotation: weekly, people: [ana, ben, chi], handover: "09:00", zone: {zone}}}',
    '- {{rotation: daily, people: [ben, ana, chi], handover: "{hour}:30", zone: {zone}}}',
    '- {{rotation: daily, people: [chi, ana, ben], handover: "09:00", zone: {zone}, '
    'since: "2{last}:00", until: "06:00", days: [weekends, wed]}}',
    "- {{rotation: follow_the_sun, sites: [{{zone: Asia/Tokyo, handover: '09:00', "
    "people: [chi, ana]}}, {{zone: {zone}, handover: '1{last}:15', people: [ana, ben, chi]}}]}}",
)


def _moment(hours: int) -> str:
    return (datetime(2024, 1, 2) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")


def _text(chance: random.Random) -> str:
    used = [0, *sorted(chance.sample(range(1, 4), chance.randint(0, 2)))]
    lines = [
        LAYERS[place].format(
            zone=chance.choice(ZONES),
            hour=f"{chance.randint(0, 23):02d}",
            last=chance.randint(0, 3),
        )
        for place in used
    ]
    edges = sorted(chance.sample(range(0, 366 * 24), 12))
    overrides = [
        f"{{person: {chance.choice(('ana', 'ben', 'chi'))}, from: {_moment(a)}, to: {_moment(b)}}}"
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b - a < 24 * 20
    ]
    swaps = [
        f"{{people: [{', '.join(chance.sample(('ana', 'ben', 'chi'), 2))}], "
        f"from: {_moment(a)}, to: {_moment(a + chance.randint(1, 200))}}}"
        for a in chance.sample(range(0, 366 * 24), 4)
    ]
    return (
        f"schedules:\n  data:\n    zone: {chance.choice(ZONES)}\n    starts_on: 2024-01-01\n"
        "    layers:\n" + "".join(f"      {line}\n" for line in lines)
        + f"    swaps: [{', '.join(swaps)}]\n    overrides: [{', '.join(overrides)}]\n"
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_any_schedule_has_one_primary_at_any_moment(tmp_path, seed):
    chance = random.Random(seed)
    away = "".join(
        f"{{from: {_moment(a)}, to: {_moment(a + chance.randint(1, 300))}}}, "
        for a in chance.sample(range(0, 366 * 24), 3)
    )
    people = PEOPLE.replace('chat: "#ana"}}', f'chat: "#ana"}}, away: [{away[:-2]}]}}')
    schedule = on_call(tmp_path, _text(chance), people).schedules["data"]
    start = datetime(2024, 1, 5, tzinfo=ZoneInfo("UTC"))
    whole = shifts(schedule, start, start + timedelta(days=366))
    assert (whole[0].start, whole[-1].end) == (start, start + timedelta(days=366))
    assert all(a.end == b.start and a.person.id != b.person.id for a, b in pairwise(whole))
    for _ in range(30):
        first = start + timedelta(minutes=chance.randint(0, 360 * 24 * 60))
        last = first + timedelta(minutes=chance.randint(1, 5 * 24 * 60))
        part = shifts(schedule, first, last)
        assert [(s.end, s.person.id) for s in part[:-1]] == [
            (s.end, s.person.id) for s in whole if first < s.end < last
        ]
        (now,) = [s.person.id for s in whole if s.start <= first < s.end]
        assert primary(schedule, first).id == part[0].person.id == now
