"""conf/alerting/notifications.yml: which event goes to whom, how, when and in which words.

A safety event reaches its audiences whatever anybody who owns data rules may want: it is never
digested, delayed or muted by them, and the file that tries is refused.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from clinical_lakehouse.alerting.messages.labels import FORMS
from clinical_lakehouse.alerting.messages.templates import Templates
from clinical_lakehouse.alerting.on_call.schedule import OnCall, Person
from clinical_lakehouse.alerting.on_call.shifts import primary
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

FILE = "alerting/notifications.yml"
OTHER = "other"  # the event whose rules hold for kinds that nobody thought of
_TOP = ("labels", "audiences", "events", "mutes")
_DIGESTS = ("daily", "weekly")
_OWNERS = ("data", "safety")
_LONGEST_SAFETY_DELAY = 0.0


@dataclass(frozen=True)
class Audience:
    """People who hear of the same events: named, on call, or those of the event's site.

    `hides_small`: numbers of people below 11 are not shown to them.
    """

    name: str
    people: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    sites: Mapping[str, tuple[str, ...]] | None = None
    digest: str | None = None
    hides_small: bool = True


@dataclass(frozen=True)
class Delivery:
    """How one audience hears of one event: on channels after a delay, or in its digest."""

    audience: str
    channels: tuple[str, ...]
    delay: timedelta
    template: str
    in_digest: bool


@dataclass(frozen=True)
class Mute:
    """Somebody's wish not to hear of events for a while."""

    owner: str
    events: tuple[str, ...]
    audiences: tuple[str, ...]
    ends_at: datetime
    reason: str


@dataclass(frozen=True)
class Catalogue:
    """Everything notifications.yml says."""

    labels: Mapping[str, str]
    audiences: Mapping[str, Audience]
    deliveries: Mapping[str, tuple[Delivery, ...]]
    safety: frozenset[str]
    mutes: tuple[Mute, ...]

    def may_be_muted(self, kind: str, owner: str) -> bool:
        """May somebody who owns `data` or `safety` rules silence this kind of event?"""
        return owner == "safety" or kind not in self.safety


@dataclass(frozen=True)
class Notice:
    """One person is to be told of one event on one channel, not before `due_at`."""

    key: str
    event_id: str
    audience: str
    person: str
    channel: str
    template: str
    language: str
    due_at: datetime
    is_safety: bool


def load_labels(conf: Path) -> dict[str, str]:
    """The allow-list of labels with their forms; templates are checked against it."""
    fields = read_fields(conf / FILE, conf.parent).allow(*_TOP).inner("labels")
    return {name: fields.choice(name, FORMS) for name in fields.content}


def load_catalogue(
    conf: Path, on_call: OnCall, channels: Mapping[str, bool], templates: Templates
) -> Catalogue:
    """Read the file below conf/; SettingsError names file and line of the first fault."""
    top = read_fields(conf / FILE, conf.parent).allow(*_TOP)
    audiences = {name: _audience(name, f, on_call) for name, f in top.named("audiences")}
    languages = {p.language for p in on_call.people.values()}
    deliveries, safety = {}, set()
    for kind, fields in top.named("events"):
        fields.allow("is_safety", "to")
        is_safety = fields.flag("is_safety", False)
        safety |= {kind} if is_safety else set()
        deliveries[kind] = tuple(
            _delivery(one, audiences, on_call, channels, is_safety=is_safety)
            for one in fields.each("to")
        )
        for delivery, one in zip(deliveries[kind], fields.each("to"), strict=True):
            _refuse_missing_words(delivery, one, templates, languages)
        if not deliveries[kind]:
            raise fields.refusal(f"{kind!r} needs at least one audience in `to`")
    if OTHER not in deliveries:
        raise top.refusal("needs an event `other`, for kinds that are not listed", "events")
    mutes = tuple(_mute(one, deliveries, safety, audiences) for one in top.each("mutes"))
    return Catalogue(load_labels(conf), audiences, deliveries, frozenset(safety), mutes)


def notices(
    catalogue: Catalogue, on_call: OnCall, event: Mapping[str, Any], now: datetime
) -> Iterator[Notice]:
    """Who is to be told of an event (event_id, kind, seen_at and its labels), apart from digests.

    The same event gives the same keys whenever it is asked for.
    """
    kind = event["kind"] if event["kind"] in catalogue.deliveries else OTHER
    seen = event["seen_at"]
    seen = seen.replace(tzinfo=UTC) if seen.tzinfo is None else seen
    for delivery in catalogue.deliveries[kind]:
        if delivery.in_digest or _is_muted(catalogue, kind, delivery.audience, now):
            continue
        for person in _people(catalogue.audiences[delivery.audience], on_call, event, now):
            for channel in delivery.channels:
                yield Notice(
                    f"event:{event['event_id']}:{person.id}:{channel}",
                    event["event_id"], delivery.audience, person.id, channel, delivery.template,
                    person.language, seen + delivery.delay, kind in catalogue.safety,
                )  # fmt: skip


def _people(
    audience: Audience, on_call: OnCall, event: Mapping[str, Any], now: datetime
) -> list[Person]:
    names = [*audience.people]
    if audience.sites is not None:
        names += audience.sites.get(str(event.get("site", "")), ())
    for schedule in audience.schedules:
        found = primary(on_call.schedules[schedule], now)
        names += [found.id] if found else []
    return [on_call.people[name] for name in dict.fromkeys(names)]


def _is_muted(catalogue: Catalogue, kind: str, audience: str, now: datetime) -> bool:
    return any(
        catalogue.may_be_muted(kind, mute.owner)
        and now < mute.ends_at
        and audience in mute.audiences
        and any(fnmatchcase(kind, pattern) for pattern in mute.events)
        for mute in catalogue.mutes
    )


def _audience(name: str, fields: Fields, on_call: OnCall) -> Audience:
    fields.allow("people", "schedules", "sites", "digest", "hides_small")
    people = fields.known("people", on_call.people, "person") if "people" in fields.content else ()
    schedules: tuple[str, ...] = ()
    if "schedules" in fields.content:
        schedules = fields.known("schedules", on_call.schedules, "schedule")
    sites = None
    if "sites" in fields.content:
        below = fields.inner("sites")
        sites = {site: below.known(site, on_call.people, "person") for site in below.content}
    if not people and not schedules and not sites:
        raise fields.refusal(f"the audience {name!r} reaches nobody")
    digest = fields.choice("digest", _DIGESTS, None)
    return Audience(name, people, schedules, sites, digest, fields.flag("hides_small", True))


def _delivery(
    fields: Fields,
    audiences: Mapping[str, Audience],
    on_call: OnCall,
    channels: Mapping[str, bool],
    *,
    is_safety: bool,
) -> Delivery:
    fields.allow("audience", "channels", "delay_minutes", "template", "digest")
    (name,) = fields.known("audience", audiences, "audience")[:1]
    in_digest = fields.flag("digest", False)
    delay = fields.number("delay_minutes", 0)
    if is_safety and in_digest:
        raise fields.refusal("a safety event must not wait for a digest", "digest")
    if is_safety and delay > _LONGEST_SAFETY_DELAY:
        raise fields.refusal("a safety event must not be delayed", "delay_minutes")
    if in_digest and audiences[name].digest is None:
        raise fields.refusal(f"the audience {name!r} has no digest", "digest")
    over = () if in_digest else fields.known("channels", channels, "channel")
    for person in _everybody(audiences[name], on_call):
        for at, channel in enumerate(over):
            if channels[channel] and channel not in person.contacts:
                text = f"goes to {person.id!r}, who has no contact for {channel!r} in on_call.yml"
                raise fields.refusal(text, "channels", at)
    template = fields.text("template", "event")
    return Delivery(name, over, timedelta(minutes=delay), template, in_digest)


def _everybody(audience: Audience, on_call: OnCall) -> list[Person]:
    names = [*audience.people, *(n for own in (audience.sites or {}).values() for n in own)]
    return [on_call.people[name] for name in dict.fromkeys(names)]


def _refuse_missing_words(
    delivery: Delivery, fields: Fields, templates: Templates, languages: Collection[str]
) -> None:
    if delivery.in_digest:
        return
    for language in sorted(languages):
        if not templates.has(language, delivery.template):
            text = f"needs the template {language}/{delivery.template}.txt, which is missing"
            raise fields.refusal(text, "template")


def _mute(
    fields: Fields,
    deliveries: Mapping[str, Any],
    safety: Collection[str],
    audiences: Mapping[str, Audience],
) -> Mute:
    fields.allow("owner", "events", "audiences", "ends_on", "reason")
    owner = fields.choice("owner", _OWNERS)
    patterns = fields.words("events")
    for at, pattern in enumerate(patterns):
        hit = sorted(kind for kind in deliveries if fnmatchcase(kind, pattern))
        if not hit:
            raise fields.refusal(f"mutes {pattern!r}, which no event is called", "events", at)
        guarded = [kind for kind in hit if kind in safety]
        if guarded and owner != "safety":
            text = f"a data rule must not mute the safety event {guarded[0]!r}"
            raise fields.refusal(text, "events", at)
    ends = fields.day("ends_on")
    return Mute(
        owner,
        patterns,
        fields.known("audiences", audiences, "audience"),
        datetime(ends.year, ends.month, ends.day, tzinfo=UTC),
        fields.text("reason"),
    )
