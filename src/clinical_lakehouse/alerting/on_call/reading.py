"""conf/alerting/on_call.yml: people and schedules; whatever would leave a doubt is refused."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from clinical_lakehouse.alerting.channels.envelope import is_mail_address
from clinical_lakehouse.alerting.on_call.cover import Fault, gaps, overlaps
from clinical_lakehouse.alerting.on_call.schedule import (
    DAYS,
    EVERY_DAY,
    HOLIDAY,
    LENGTH_DAYS,
    Absence,
    FollowTheSun,
    OnCall,
    Override,
    Person,
    Rotation,
    Schedule,
    Swap,
    Turns,
)
from clinical_lakehouse.alerting.on_call.shifts import duties
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

FILE = "alerting/on_call.yml"
_FOLLOW = "follow_the_sun"
_KINDS = (*LENGTH_DAYS, _FOLLOW)
_PERSON = ("name", "zone", "language", "contacts", "away")
_SCHEDULE = ("zone", "starts_on", "holidays", "layers", "swaps", "overrides")
_ROTATION = ("name", "rotation", "people", "handover", "zone", "starts_on", "ends_on")
_HOURS = ("days", "since", "until")
_SITE = ("people", "handover", "zone", "turns")
_DAY_GROUPS = {"weekdays": DAYS[:5], "weekends": DAYS[5:]}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_FIRST_WEEKS = timedelta(days=21)


def load_on_call(conf: Path) -> OnCall:
    """Read the file below conf/; SettingsError names file and line of the first fault."""
    top = read_fields(conf / FILE, conf.parent).allow("people", "schedules")
    people = {name: _person(name, fields) for name, fields in top.named("people")}
    schedules = {name: _schedule(name, fields, people) for name, fields in top.named("schedules")}
    return OnCall(people, schedules)


def _person(name: str, fields: Fields) -> Person:
    fields.allow(*_PERSON)
    zone = fields.zone("zone")
    contacts = fields.inner("contacts")
    for channel in contacts.content:
        address = contacts.text(channel)
        if _CONTROL.search(address) or (channel == "email" and not is_mail_address(address)):
            raise contacts.refusal(f"the contact {channel!r} is not an address", channel)
    away = tuple(Absence(*_span(one.allow("from", "to"), zone)) for one in fields.each("away"))
    shown = fields.text("name")
    if _CONTROL.search(shown):
        raise fields.refusal("name must be one line of plain text", "name")
    language = fields.text("language", "en")
    return Person(name, shown, zone, language, dict(contacts.content), away)


def _schedule(name: str, fields: Fields, people: Mapping[str, Person]) -> Schedule:
    fields.allow(*_SCHEDULE)
    zone = fields.zone("zone")
    layers = tuple(
        tuple(_rotation(one, fields, people) for one in layer) for layer in _layers(fields)
    )
    holidays = fields.value("holidays", [])
    for at, day in enumerate(holidays):
        if not hasattr(day, "isocalendar") or isinstance(day, datetime):
            raise fields.refusal("holidays must be days, e.g. 2024-12-25", "holidays", at)
    swaps = tuple(_swap(one, zone, people) for one in fields.each("swaps"))
    overrides = tuple(_override(one, zone, people) for one in fields.each("overrides"))
    made = Schedule(
        name, zone, layers, datetime.min.replace(tzinfo=UTC), frozenset(holidays), swaps, overrides
    )
    made = replace(made, starts_at=_first_start(made, fields))
    _refuse_clashing_overrides(made, fields)
    _refuse_faults(made, fields)
    return made


def _layers(fields: Fields) -> Iterator[list[Fields]]:
    """Each layer's rotations; a layer may be one rotation or a list of them."""
    listed = fields.value("layers")
    if not isinstance(listed, list) or not listed:
        raise fields.refusal("layers must be a list of rotations", "layers")
    for place, layer in enumerate(listed):
        where = (*fields.where, "layers", place)
        if isinstance(layer, list):
            yield [Fields(fields.source, (*where, at)) for at in range(len(layer))]
        else:
            yield [Fields(fields.source, where)]


def _rotation(
    fields: Fields, schedule: Fields, people: Mapping[str, Person]
) -> Rotation | FollowTheSun:
    kind = fields.choice("rotation", _KINDS)
    starts = fields.day("starts_on", None) or schedule.day("starts_on")
    if kind == _FOLLOW:
        fields.allow("name", "rotation", "sites", "starts_on")
        sites = tuple(
            replace(_turns(one.allow(*_SITE), one.zone("zone"), people), starts_on=starts)
            for one in fields.each("sites")
        )
        if len(sites) < 2:
            raise fields.refusal("follow_the_sun needs at least two sites", "sites")
        return FollowTheSun(fields.text("name", kind), sites)
    fields.allow(*_ROTATION, *_HOURS)
    turns = _turns(fields, fields.zone("zone", schedule.zone("zone")), people)
    return Rotation(
        fields.text("name", kind),
        replace(turns, length_days=LENGTH_DAYS[kind], starts_on=starts),
        _days(fields),
        fields.clock("since", None),
        fields.clock("until", None),
        fields.day("ends_on", None),
    )


def _turns(fields: Fields, zone: ZoneInfo, people: Mapping[str, Person]) -> Turns:
    own = tuple(people[name] for name in fields.known("people", people, "person"))
    length = LENGTH_DAYS[fields.choice("turns", LENGTH_DAYS, "weekly")]
    return Turns(own, length, datetime.min.date(), fields.clock("handover"), zone)


def _days(fields: Fields) -> frozenset[str]:
    named = fields.words("days", sorted(EVERY_DAY))
    found: set[str] = set()
    for at, word in enumerate(named):
        if word not in (*EVERY_DAY, *_DAY_GROUPS):
            known = ", ".join((*DAYS, HOLIDAY, *_DAY_GROUPS))
            raise fields.refusal(f"names an unknown day {word!r}; known: {known}", "days", at)
        found |= set(_DAY_GROUPS.get(word, (word,)))
    return frozenset(found)


def _swap(fields: Fields, zone: ZoneInfo, people: Mapping[str, Person]) -> Swap:
    names = fields.allow("people", "from", "to").known("people", people, "person")
    if len(set(names)) != 2:
        raise fields.refusal("a swap is between two people", "people")
    return Swap((people[names[0]], people[names[1]]), *_span(fields, zone))


def _override(fields: Fields, zone: ZoneInfo, people: Mapping[str, Person]) -> Override:
    names = fields.allow("person", "from", "to").known("person", people, "person")
    return Override(people[names[0]], *_span(fields, zone))


def _span(fields: Fields, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start, end = (fields.moment(edge, zone).astimezone(UTC) for edge in ("from", "to"))
    if start >= end:
        raise fields.refusal("ends before it begins", "to")
    return start, end


def _first_start(schedule: Schedule, fields: Fields) -> datetime:
    """When the first duty begins: from then on somebody must be on call."""
    day = fields.day("starts_on")
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
    found = [
        duty.start
        for layer in schedule.layers
        for duty in duties(schedule, layer, start, start + _FIRST_WEEKS)
    ]
    if not found:
        raise fields.refusal("has nobody on call in its first three weeks")
    return min(found)


def _refuse_clashing_overrides(schedule: Schedule, fields: Fields) -> None:
    for at, one in enumerate(schedule.overrides):
        for before in schedule.overrides[:at]:
            if one.start < before.end and before.start < one.end:
                raise fields.refusal("overlaps an earlier override; cut one", "overrides", at)


def _refuse_faults(schedule: Schedule, fields: Fields) -> None:
    for fault in overlaps(schedule):
        names = " and ".join(dict.fromkeys(fault.rotations))
        text = f"has overlapping rotations ({names}) {_when(fault)}; two would be on call"
        raise fields.refusal(text, "layers", fault.layer)
    for fault in gaps(schedule):
        text = f"leaves a gap in cover {_when(fault)}: nobody of {schedule.name!r} is on call"
        raise fields.refusal(text, "layers")


def _when(fault: Fault) -> str:
    return f"from {fault.start:%Y-%m-%d %H:%M} to {fault.end:%Y-%m-%d %H:%M} UTC"
