"""Who is told what now: alerts in groups, each told once, again only when there is news."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from clinical_lakehouse.alerting.alert_state import FIRING, Alert, is_worse
from clinical_lakehouse.alerting.routing.alertmanager_config import Routing
from clinical_lakehouse.alerting.routing.matchers import Labels, in_braces
from clinical_lakehouse.alerting.routing.routes import Route
from clinical_lakehouse.alerting.routing.suppression import Quiet, Suppressions
from clinical_lakehouse.alerting.routing.time_intervals import containing

# Outcome, because, until.
_Outcome = tuple[str, str, datetime | None]


@dataclass(frozen=True)
class Told:
    """What a group's receiver last heard of an alert: which episode, and how bad it was."""

    starts_at: datetime
    severity: str


@dataclass(frozen=True)
class Group:
    """Alerts of one route with equal group labels; `told` is by fingerprint, of alerts whose end
    has not been told. `sequence` counts its notifications."""

    key: str
    next_at: datetime
    told_at: datetime | None = None
    sequence: int = 0
    told: Mapping[str, Told] = field(default_factory=dict)


@dataclass(frozen=True)
class Notification:
    """What to hand over. The same state gives the same `key`, whenever and wherever it is made."""

    key: str
    group_key: str
    receiver: str
    route: str
    reason: str  # new, worse, resolved or repeat
    at: datetime
    group_labels: Mapping[str, str]
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...]


@dataclass(frozen=True)
class Decision:
    """What became of one alert on one route: told, or the reason why not, and until when."""

    fingerprint: str
    route: str
    receiver: str
    group_key: str
    outcome: str
    because: str
    until: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """The groups as they are after the notifications, and a decision per open alert and route."""

    groups: Mapping[str, Group]
    notifications: tuple[Notification, ...]
    decisions: tuple[Decision, ...]


def plan(
    routing: Routing,
    suppressions: Suppressions,
    alerts: Mapping[str, Alert],
    groups: Mapping[str, Group],
    at: datetime,
) -> Plan:
    """What to tell at this moment, for all alerts by fingerprint and the groups as last left."""
    labels = {name: alert.routing_labels for name, alert in alerts.items()}
    open_now = {name for name, alert in alerts.items() if alert.is_open}
    # An alert that has ended may still have to be told so: what keeps it quiet counts as well.
    concerned = open_now.union(*(group.told for group in groups.values()))
    watched = {name: labels[name] for name in alerts if name in concerned}
    view = _View(routing, alerts, suppressions.quiet(watched, at, open_now), at)
    members = _members(routing.root, {name: labels[name] for name in open_now}, groups)
    routes = {(route.receiver, route.key): route for route in routing.root.walk()}
    after: dict[str, Group] = {}
    notifications: list[Notification] = []
    decisions: list[Decision] = []
    for key in sorted(members):
        receiver, route_key, named = json.loads(key)
        route = routes.get((receiver, route_key))
        if route is None:
            continue  # the route is gone from conf; its alerts are in other groups now
        turn = _Turn(view, route, named, [alerts[name] for name in members[key]])
        group, notification = _step(turn, _as_left(turn, groups.get(key), key))
        after.update({key: group} if group else {})
        notifications += [notification] if notification else []
        decisions += _decisions(turn, group, notification)
    return Plan(after, tuple(notifications), tuple(decisions))


@dataclass(frozen=True)
class _View:
    """All that is the same for every group."""

    routing: Routing
    alerts: Mapping[str, Alert]
    quiet: Mapping[str, Quiet]
    at: datetime


@dataclass(frozen=True)
class _Turn:
    """One group's turn: its route, its labels, its open alerts."""

    view: _View
    route: Route
    labels: Labels
    members: Sequence[Alert]

    @property
    def group_key(self) -> str:
        """As Alertmanager names the group."""
        return f"{self.route.key}:{in_braces(self.labels)}"

    @property
    def sends_resolved(self) -> bool:
        """Whether the receiver wants to hear of ends."""
        return self.view.routing.receivers[self.route.receiver].sends_resolved

    @property
    def muted_by(self) -> str | None:
        """The time interval that mutes the route now; or that none of its active ones holds."""
        intervals, at = self.view.routing.intervals or {}, self.view.at
        name = containing(self.route.mute_time_intervals, intervals, at)
        if name is not None:
            return f"time interval {name}"
        active = self.route.active_time_intervals
        if active and containing(active, intervals, at) is None:
            return f"active only in {', '.join(active)}"
        return None


@dataclass(frozen=True)
class _News:
    reason: str
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...]


def _members(
    root: Route, labels: Mapping[str, Labels], groups: Mapping[str, Group]
) -> dict[str, list[str]]:
    """Fingerprints of the open alerts of each group, and every group that is known already."""
    found: dict[str, list[str]] = defaultdict(list, {key: [] for key in groups})
    for name in sorted(labels):
        for route in root.match(labels[name]):
            group = found[_key(route, route.group_labels(labels[name]))]
            group += [name] if group[-1:] != [name] else []
    return found


def _key(route: Route, labels: Labels) -> str:
    """A group's name: the same after routes were put in another order, or others added."""
    return json.dumps([route.receiver, route.key, dict(labels)], sort_keys=True)


def _as_left(turn: _Turn, before: Group | None, key: str) -> Group:
    """The group as last left, or a new one: it waits for others from its first alert's start on."""
    if before is not None:
        told = {name: one for name, one in before.told.items() if name in turn.view.alerts}
        # Due later than it ever can be: the clock was set back since.
        longest = max(turn.route.group_wait, turn.route.group_interval)
        next_at = min(before.next_at, turn.view.at + longest)
        return replace(before, told=told, next_at=next_at)
    starts = min((alert.starts_at for alert in turn.members), default=turn.view.at)
    return Group(key, max(turn.view.at, starts + turn.route.group_wait))


def _step(turn: _Turn, group: Group) -> tuple[Group | None, Notification | None]:
    """The group after this moment, and what it tells: when it is due, may speak and has news."""
    at, alerts = turn.view.at, turn.view.alerts
    if not turn.members and not group.told:
        return None, None
    if at < group.next_at or turn.muted_by:
        return group, None
    group = replace(group, next_at=at + turn.route.group_interval)
    if not turn.sends_resolved:
        # Forgotten without a word, so that the same alert is told again when it is back.
        told = {name: one for name, one in group.told.items() if alerts[name].is_open}
        group = replace(group, told=told)
    news = _news(turn, group)
    if news is None:
        return group, None
    ended = {alert.fingerprint for alert in news.resolved}
    told = {name: one for name, one in group.told.items() if name not in ended}
    told |= {one.fingerprint: Told(one.starts_at, one.severity) for one in news.firing}
    group = replace(group, told=told, told_at=at, sequence=group.sequence + 1)
    return group, _notification(turn, group, news)


def _news(turn: _Turn, group: Group) -> _News | None:
    """What the group's receiver does not know yet, or must be reminded of."""
    view, told = turn.view, group.told
    loud = tuple(alert for alert in turn.members if not view.quiet[alert.fingerprint])
    ended = tuple(
        view.alerts[name]
        for name in sorted(told)
        if not view.alerts[name].is_open and not view.quiet[name]
    )
    waiting = [alert for alert in loud if alert.state == FIRING]
    if any(_is_new(told, alert) for alert in waiting):
        return _News("new", loud, ended)
    if any(_is_worse(told, alert) for alert in waiting):
        return _News("worse", loud, ended)
    if ended:
        return _News("resolved", loud, ended)
    repeats_at = group.told_at and group.told_at + turn.route.repeat_interval
    if waiting and repeats_at and view.at >= repeats_at:
        return _News("repeat", loud, ())
    return None


def _is_new(told: Mapping[str, Told], alert: Alert) -> bool:
    """Never told, or told of an earlier episode: it ended without a word and is back."""
    before = told.get(alert.fingerprint)
    return before is None or before.starts_at != alert.starts_at


def _is_worse(told: Mapping[str, Told], alert: Alert) -> bool:
    before = told.get(alert.fingerprint)
    return before is not None and is_worse(alert.severity, before.severity)


def _notification(turn: _Turn, group: Group, news: _News) -> Notification:
    members = [(a.fingerprint, a.starts_at.isoformat(), a.severity) for a in news.firing]
    ended = [(a.fingerprint, a.starts_at.isoformat()) for a in news.resolved]
    named = json.dumps([group.key, group.sequence, members, ended])
    return Notification(
        hashlib.sha256(named.encode()).hexdigest(),
        turn.group_key,
        turn.route.receiver,
        turn.route.number,
        news.reason,
        turn.view.at,
        turn.labels,
        news.firing,
        news.resolved,
    )


def _decisions(
    turn: _Turn, group: Group | None, notification: Notification | None
) -> Iterator[Decision]:
    """What became of the group's open alerts."""
    told_now = {alert.fingerprint for alert in notification.firing} if notification else set()
    muted_by, group_key = turn.muted_by, turn.group_key
    number, receiver = turn.route.number, turn.route.receiver
    for alert in turn.members:
        if notification and alert.fingerprint in told_now:
            found: _Outcome = ("told", f"told now: {notification.reason}", None)
        else:
            found = _why_not(turn, group, alert, muted_by)
        yield Decision(alert.fingerprint, number, receiver, group_key, *found)


def _why_not(turn: _Turn, group: Group | None, alert: Alert, muted_by: str | None) -> _Outcome:
    """Why an open alert is not told now, in the order in which it is decided."""
    quiet = turn.view.quiet[alert.fingerprint]
    if quiet:
        return _why_quiet(turn.view, quiet)
    if alert.acknowledged:
        since = f"{alert.acknowledged.at:%Y-%m-%d %H:%M}"
        by = alert.acknowledged.by
        return "acknowledged", f"acknowledged by {by} at {since}", None
    if muted_by:
        return "muted", f"muted: {muted_by}", None
    told = group.told.get(alert.fingerprint) if group else None
    if group and group.told_at and told and told.starts_at == alert.starts_at:
        since = f"told at {group.told_at:%Y-%m-%d %H:%M}, not yet due again"
        return "told before", since, group.told_at + turn.route.repeat_interval
    others = len(turn.members) - 1
    with_others = f"grouped with {others} other{'s' * (others > 1)}, " if others else ""
    return "waits", f"{with_others}not yet due", group.next_at if group else None


def _why_quiet(view: _View, quiet: Quiet) -> _Outcome:
    """Outcome, reason and end of what keeps an alert quiet; all of it when there is more."""
    reasons, until = [], [one.ends_at for one in quiet.silenced_by]
    for name in quiet.inhibited_by:
        source = view.alerts[name]
        reasons.append(f"inhibited by {source.kind} {in_braces(source.labels)}")
    for one in quiet.silenced_by:
        reasons.append(f"silenced by {one.created_by}: {one.reason}")
    for work in quiet.maintained_by:
        reasons.append(f"maintenance {work.name}: {work.reason}")
    outcome = "inhibited" if quiet.inhibited_by else "silenced" if until else "maintenance"
    lasting = quiet.inhibited_by or quiet.maintained_by
    return outcome, "; ".join(reasons), None if lasting else max(until)
