"""conf/alerting/escalations.yml: steps, waits, windows, reminders; loops are refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from clinical_lakehouse.alerting.on_call.schedule import (
    DAYS,
    FollowTheSun,
    OnCall,
    Person,
    Schedule,
)
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

FILE = "alerting/escalations.yml"
_POLICY = ("steps", "then", "repeat", "only", "remind_after_hours", "reminders")
_DAY_GROUPS = {"weekdays": DAYS[:5], "weekends": DAYS[5:]}
_LEAST_WAIT_MINUTES = 1.0


@dataclass(frozen=True)
class Window:
    """Days and wall times in which a policy may page; outside, its steps wait for the opening."""

    days: frozenset[str]
    since: time
    until: time
    zone: ZoneInfo

    def opening(self, at: datetime) -> datetime:
        """`at` itself where the window is open then, else when it opens next."""
        day = at.astimezone(self.zone).date() - timedelta(days=1)
        while True:
            over_midnight = timedelta(days=self.until <= self.since)
            opens = datetime.combine(day, self.since, self.zone).astimezone(UTC)
            closes = datetime.combine(day + over_midnight, self.until, self.zone).astimezone(UTC)
            if DAYS[day.weekday()] in self.days and at < closes:
                return max(at, opens)
            day += timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """After `wait` without an answer, page schedules' and people's targets over channels."""

    wait: timedelta
    schedules: tuple[str, ...]
    people: tuple[str, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """Steps in order, how often they are gone through, and which policy comes after them."""

    name: str
    steps: tuple[Step, ...]
    repeat: int = 0
    then: str | None = None
    only: Window | None = None
    remind_after: timedelta = timedelta(hours=4)
    reminders: int = 3


def load_policies(conf: Path, on_call: OnCall, channels: Mapping[str, bool]) -> dict[str, Policy]:
    """Read the file below conf/; SettingsError names file and line of the first fault.

    `channels` says of each channel whether it needs a contact of the person it goes to.
    """
    top = read_fields(conf / FILE, conf.parent).allow("escalations").inner("escalations")
    policies, places = {}, {}
    for name in top.content:
        fields = Fields(top.source, (*top.where, name)).allow(*_POLICY)
        policies[name], places[name] = _policy(name, fields, on_call, channels), fields
    for name, policy in policies.items():
        _refuse_loop(policy, policies, places[name])
    return policies


def _policy(name: str, fields: Fields, on_call: OnCall, channels: Mapping[str, bool]) -> Policy:
    steps = tuple(
        _step(one, on_call, channels, is_first=place == 0)
        for place, one in enumerate(fields.each("steps"))
    )
    if not steps:
        raise fields.refusal(f"{name!r} needs at least one step", "steps")
    window = fields.inner("only") if "only" in fields.content else None
    return Policy(
        name,
        steps,
        int(fields.number("repeat", 0)),
        fields.text("then", None),
        _window(window) if window else None,
        timedelta(hours=fields.number("remind_after_hours", 4, least=0.25)),
        int(fields.number("reminders", 3, least=1)),
    )


def _step(fields: Fields, on_call: OnCall, channels: Mapping[str, bool], *, is_first: bool) -> Step:
    fields.allow("wait_minutes", "schedules", "people", "channels")
    least = 0.0 if is_first else _LEAST_WAIT_MINUTES
    wait = timedelta(minutes=fields.number("wait_minutes", least=least))
    own = {
        "schedules": _known(fields, "schedules", on_call.schedules, "schedule"),
        "people": _known(fields, "people", on_call.people, "person"),
    }
    if not any(own.values()):
        raise fields.refusal("a step needs schedules or people to page")
    over = fields.known("channels", channels, "channel")
    reached = [on_call.people[p] for p in own["people"]]
    for schedule in own["schedules"]:
        reached += people_of(on_call.schedules[schedule])
    for person in reached:
        for at, channel in enumerate(over):
            if channels[channel] and channel not in person.contacts:
                text = f"pages {person.id!r}, who has no contact for {channel!r} in on_call.yml"
                raise fields.refusal(text, "channels", at)
    return Step(wait, own["schedules"], own["people"], over)


def _known(fields: Fields, name: str, options: Collection[str], what: str) -> tuple[str, ...]:
    return fields.known(name, options, what) if name in fields.content else ()


def people_of(schedule: Schedule) -> list[Person]:
    """Everybody a schedule may put on call, each once."""
    found = [override.person for override in schedule.overrides]
    for layer in schedule.layers:
        for rotation in layer:
            sites = rotation.sites if isinstance(rotation, FollowTheSun) else (rotation.turns,)
            found += [person for turns in sites for person in turns.people]
    return list({person.id: person for person in found}.values())


def _window(fields: Fields) -> Window:
    fields.allow("days", "since", "until", "zone")
    named = fields.words("days", DAYS)
    days: set[str] = set()
    for at, word in enumerate(named):
        if word not in (*DAYS, *_DAY_GROUPS):
            raise fields.refusal(f"names an unknown day {word!r}", "days", at)
        days |= set(_DAY_GROUPS.get(word, (word,)))
    if not days:
        raise fields.refusal("days must name at least one day", "days")
    since, until = fields.clock("since", time()), fields.clock("until", time())
    return Window(frozenset(days), since, until, fields.zone("zone"))


def _refuse_loop(policy: Policy, policies: Mapping[str, Policy], fields: Fields) -> None:
    seen = [policy.name]
    while policy.then is not None:
        if policy.then not in policies:
            raise fields.refusal(f"goes on to an unknown escalation {policy.then!r}", "then")
        policy = policies[policy.then]
        if policy.name in seen:
            loop = " -> ".join([*seen, policy.name])
            raise fields.refusal(f"goes round in a loop: {loop}", "then")
        seen.append(policy.name)
