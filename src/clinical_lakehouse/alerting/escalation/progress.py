"""One step forward: known rows, alerts and the time in; new rows and what to send out.

Nothing waits in memory. What is next stands in the row with its due time, so a process that is
killed at any point, and started again hours later, goes on from the row.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from clinical_lakehouse.alerting.escalation.policy import Policy, Step
from clinical_lakehouse.alerting.on_call.schedule import OnCall
from clinical_lakehouse.alerting.on_call.shifts import primary

RUNNING, ACKNOWLEDGED, RESOLVED, UNANSWERED = "running", "acknowledged", "resolved", "unanswered"
LAST_RESORT = "last_resort"  # the channel of calls that no person is left for
LATE_AFTER = timedelta(minutes=5)
_MOMENTS = ("due_at", "remind_at")


@dataclass(frozen=True)
class Escalation:
    """One alert's way through its policy. `told` are pairs of person and channel."""

    alert_id: str
    episode: str
    policy: str
    state: str
    step: int = 0
    round: int = 0
    due_at: datetime | None = None
    remind_at: datetime | None = None
    reminders: int = 0
    told: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Escalation":
        """From a table's row: `told` is JSON there, and times without a zone are UTC."""
        fields = {name: row[name] for name in cls.__dataclass_fields__}
        fields["told"] = tuple((str(p), str(c)) for p, c in json.loads(row["told"]))
        return cls(**{**fields, **{name: _utc(row[name]) for name in _MOMENTS}})

    @property
    def row(self) -> dict[str, Any]:
        """As a table's row; one per alert (`alert_id`)."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "told": json.dumps(self.told)}


@dataclass(frozen=True)
class Call:
    """Something to send: `key` is the same each time the same step is worked out.

    `kind` is page, reminder, resolved or unanswered; person is None on the last-resort channel.
    """

    key: str
    kind: str
    alert_id: str
    person: str | None
    channel: str
    due_at: datetime
    is_late: bool = False


def advance(
    policies: Mapping[str, Policy],
    on_call: OnCall,
    known: Iterable[Mapping[str, Any]],
    alerts: Iterable[Mapping[str, Any]],
    now: datetime,
) -> tuple[list[dict[str, Any]], list[Call]]:
    """The rows that change, and the calls that are due at `now`.

    An alert is a mapping of alert_id, episode (another one starts the policy anew), policy, state
    (firing, acknowledged, resolved), started_at, acknowledged_by and acknowledged_at. Its state is
    what counts: an acknowledged or resolved alert pages nobody, however late this runs. Store the
    calls (by key) before or together with the rows, and a crash between loses nothing.
    """
    before = {row["alert_id"]: Escalation.of(row) for row in known}
    rows, calls = [], []
    for alert in sorted(alerts, key=lambda found: found["alert_id"]):
        old = before.get(alert["alert_id"])
        new, due = _Pager(policies, on_call, now).moved(alert, old)
        if new is not None and new != old:
            rows.append(new.row)
        calls += due
    unique = {call.key: call for call in calls}
    return rows, list(unique.values())


@dataclass(frozen=True)
class _Pager:
    policies: Mapping[str, Policy]
    on_call: OnCall
    now: datetime

    def moved(
        self, alert: Mapping[str, Any], old: Escalation | None
    ) -> tuple[Escalation | None, list[Call]]:
        is_known = old is not None and old.policy in self.policies  # conf may have lost it since
        if old is None or not is_known or old.episode != alert["episode"]:
            if alert["state"] == RESOLVED:
                return old, []
            old = self._started(alert)
        if alert["state"] == RESOLVED:
            return self._resolved(old)
        if alert["state"] == ACKNOWLEDGED:
            return self._acknowledged(old, alert)
        if old.state == ACKNOWLEDGED:  # somebody took the acknowledgement back
            old = self._waiting(old, self.now + self._step(old).wait)
        return self._paged(old) if old.state == RUNNING else (old, [])

    def _started(self, alert: Mapping[str, Any]) -> Escalation:
        policy = self.policies[alert["policy"]]
        fresh = Escalation(alert["alert_id"], alert["episode"], policy.name, RUNNING)
        started = _utc(alert["started_at"]) or self.now
        return self._waiting(fresh, started + policy.steps[0].wait)

    def _waiting(self, one: Escalation, due: datetime) -> Escalation:
        """Due then, or when the policy's window opens; the row holds it, so a restart keeps it."""
        only = self.policies[one.policy].only
        due = only.opening(due) if only else due
        return replace(one, state=RUNNING, due_at=due, remind_at=None, reminders=0)

    def _step(self, one: Escalation) -> Step:
        """The step that is next; conf may have lost steps since the row was written."""
        steps = self.policies[one.policy].steps
        return steps[min(one.step, len(steps) - 1)]

    def _paged(self, one: Escalation) -> tuple[Escalation, list[Call]]:
        if one.due_at is None or one.due_at > self.now:
            return one, []
        only = self.policies[one.policy].only
        if only and only.opening(self.now) > self.now:
            return self._waiting(one, self.now), []
        calls = list(self._calls(one, self._step(one)))
        told = {*one.told, *((c.person, c.channel) for c in calls if c.person is not None)}
        one = replace(one, told=tuple(sorted(told)))
        after, more = self._next(one)
        return after, calls + more

    def _calls(self, one: Escalation, step: Step) -> Iterator[Call]:
        people = [*step.people]
        for name in step.schedules:
            found = primary(self.on_call.schedules[name], self.now)
            people += [found.id] if found else []
        is_late = self.now - (one.due_at or self.now) > LATE_AFTER
        pairs: list[tuple[str | None, str]]
        pairs = [(p, c) for p in dict.fromkeys(people) for c in step.channels]
        for person, channel in pairs or [(None, LAST_RESORT)]:
            key = self._key(one, "page", f"{one.policy}:{one.round}:{one.step}", person, channel)
            due = one.due_at or self.now
            yield Call(key, "page", one.alert_id, person, channel, due, is_late)

    def _next(self, one: Escalation) -> tuple[Escalation, list[Call]]:
        """Waits count from when the last step ran, so that who was paged late has time to answer
        before the next is."""
        policy = self.policies[one.policy]
        if one.step + 1 < len(policy.steps):
            one = replace(one, step=one.step + 1)
        elif one.round < policy.repeat:
            one = replace(one, step=0, round=one.round + 1)
        elif policy.then is not None:
            one = replace(one, step=0, round=0, policy=policy.then)
        else:
            key = self._key(one, UNANSWERED, one.policy, None, LAST_RESORT)
            call = Call(key, UNANSWERED, one.alert_id, None, LAST_RESORT, self.now)
            return replace(one, state=UNANSWERED, due_at=None), [call]
        wait = max(self._step(one).wait, timedelta(minutes=1))
        return self._waiting(one, self.now + wait), []

    def _acknowledged(
        self, one: Escalation, alert: Mapping[str, Any]
    ) -> tuple[Escalation, list[Call]]:
        """No page any more; whoever acknowledged is reminded while the alert stays open."""
        policy = self.policies[one.policy]
        if one.state != ACKNOWLEDGED:
            since = _utc(alert.get("acknowledged_at")) or self.now
            first = since + policy.remind_after
            one = replace(one, state=ACKNOWLEDGED, due_at=None, remind_at=first, reminders=0)
        if one.remind_at is None or one.remind_at > self.now:
            return one, []
        number = one.reminders + 1
        is_last = number >= policy.reminders
        calls = list(self._reminders(one, alert.get("acknowledged_by"), number, is_last=is_last))
        following = None if is_last else self.now + policy.remind_after
        return replace(one, reminders=number, remind_at=following), calls

    def _reminders(
        self, one: Escalation, by: str | None, number: int, *, is_last: bool
    ) -> Iterator[Call]:
        """The last one also goes to who is on call now: who acknowledged may be off by then."""
        first = self.policies[one.policy].steps[0]
        people = [by] if by in self.on_call.people else []
        if is_last or not people:
            found = [primary(self.on_call.schedules[name], self.now) for name in first.schedules]
            people += [*first.people, *(person.id for person in found if person)]
        due = one.remind_at or self.now
        for person in dict.fromkeys(people):
            for channel in first.channels:
                key = self._key(one, "reminder", f"{number}:{due.isoformat()}", person, channel)
                is_late = self.now - due > LATE_AFTER
                yield Call(key, "reminder", one.alert_id, person, channel, due, is_late)

    def _resolved(self, one: Escalation) -> tuple[Escalation, list[Call]]:
        """Whoever was told hears once, over the same channel, that it is over."""
        if one.state == RESOLVED:
            return one, []
        calls = [
            Call(
                self._key(one, RESOLVED, "", person, channel),
                RESOLVED, one.alert_id, person, channel, self.now,
            )
            for person, channel in one.told
        ]  # fmt: skip
        return replace(one, state=RESOLVED, due_at=None, remind_at=None), calls

    def _key(
        self, one: Escalation, kind: str, detail: str, person: str | None, channel: str
    ) -> str:
        return ":".join((kind, one.alert_id, one.episode, detail, person or "", channel))


def _utc(moment: datetime | None) -> datetime | None:
    """Spark gives UTC times without a zone."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
