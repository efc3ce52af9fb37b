"""The job notifications: people paged, step by step, and every message brought to its channel."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from clinical_lakehouse.alerting.alert_state import FIRING, Alert, Sighting
from clinical_lakehouse.alerting.alerting import alerting_conf
from clinical_lakehouse.alerting.audience import notices
from clinical_lakehouse.alerting.channels.dispatch import dispatch
from clinical_lakehouse.alerting.channels.envelope import (
    Channel,
    Envelope,
    Outcome,
    failed_for_good,
)
from clinical_lakehouse.alerting.channels.reading import ChannelSpec, open_channel
from clinical_lakehouse.alerting.escalation.progress import Call, advance
from clinical_lakehouse.alerting.messages.compose import (
    call_messages,
    notice_messages,
    shift_messages,
)
from clinical_lakehouse.alerting.office import Office, load_office
from clinical_lakehouse.alerting.on_call.notice import shift_notices
from clinical_lakehouse.alerting.outbox import transitions
from clinical_lakehouse.alerting.outbox.hand_over import step
from clinical_lakehouse.alerting.outbox.message import QUEUED, SENT, Message
from clinical_lakehouse.alerting.routing.suppression import Silence
from clinical_lakehouse.alerting.rules.observations import in_utc, seen_by
from clinical_lakehouse.alerting.state_rows import acknowledged, alerts_of, silences_of
from clinical_lakehouse.alerting.watchdog import Attempt, watch_alerting, watch_channels
from clinical_lakehouse.errors import LakehouseError, SettingsError
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.reading import later_than, latest_rows
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import referred_secret
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.ops import ALERT, ALERT_EVENT, BOOKMARK
from clinical_lakehouse.tables.ops_alerting import (
    ALERT_ACKNOWLEDGEMENT,
    ALERTING_ROUND,
    NOTIFICATION,
    SILENCE,
)
from clinical_lakehouse.tables.ops_notifications import ESCALATION, MESSAGE

_READER = "notifications-deliver"
_DAY = timedelta(days=1)  # settled messages of a day still count for caps and probes
_TOLD = timedelta(days=100)
_SHIFTS_BY = "email"
_NOBODY = "nobody"
_TAKEN = "acknowledged"

Row = dict[str, Any]
Messages = Mapping[str, Message]


@dataclass(frozen=True)
class _Stood:
    """What the tables say when the round begins; `told` has each alert with its escalation."""

    told: Mapping[str, tuple[Alert, str]]
    events: Sequence[Row]
    silences: Sequence[Silence]
    escalations: Sequence[Row]
    evaluated_at: datetime | None  # when alerting ran last


@task(
    reads=[NOTIFICATION, ALERT, ALERT_ACKNOWLEDGEMENT, SILENCE, ALERTING_ROUND],
    writes=[ESCALATION, MESSAGE, BOOKMARK, ALERT_EVENT],
)
def deliver(run: Run) -> Metrics:
    """Page who is due, tell audiences of new events, and hand over what waits in the outbox."""
    with run.alone(deliver.name):
        return _delivered(run, _office(run))


def _delivered(run: Run, office: Office) -> Metrics:
    now, version = in_utc(run.as_of), run.lake.version(ALERT_EVENT)
    stood = _stood(run, office)
    moved, calls = _escalated(run, office, stood, now)
    new = [
        *_pages(office, calls, stood.told, now),
        *_notices(office, stood.events, now),
        *_shifts(office, now),
    ]
    known = _known(run, new, now)
    taken_back = _by_id(_taken_back(known.values(), stood.told, now))
    turn = step((known | taken_back).values(), new, _limits(office), now, _languages(office))
    # The outbox before the escalations: a kill between them pages again under the same keys.
    kept = _store(run, [*taken_back.values(), *turn.changed])
    _move_on(run, moved, stood.events, version)
    to_send = [kept[one.message_id] for one in turn.to_send]
    settled = _hand_over(run, office, to_send, known | kept)
    _tell_of_trouble(run, settled, stood.evaluated_at)
    fresh = sum(one.message_id not in known for one in kept.values())
    return {"pages_due": len(calls), "messages_new": fresh, **_counted(settled)}


def _office(run: Run) -> Office:
    """A key that is missing costs the links in pages, never the pages."""
    office = load_office(conf_dir())
    try:
        return office.with_links(partial(_secret, run))
    except LakehouseError:
        return office


def _stood(run: Run, office: Office) -> _Stood:
    """Everything that the round needs to know."""
    rows, since = run.lake.rows, bookmarks(run, _READER).get(ALERT_EVENT.name, -1)
    told = rows(NOTIFICATION, later_than("decided_at", run.as_of - _TOLD))
    # At the first run, events of the last day.
    events = rows(ALERT_EVENT, later_than("seen_at", run.as_of - _DAY), since=since)
    receivers = _receivers(office, sorted(told, key=lambda row: row["decided_at"]))
    alerts = acknowledged(alerts_of(rows(ALERT)), rows(ALERT_ACKNOWLEDGEMENT))
    named = {name: (alerts[name], receivers[name]) for name in receivers if name in alerts}
    rounds = latest_rows(run.lake, ALERTING_ROUND, "evaluated_at", run.as_of)
    last = max((row["evaluated_at"] for row in rounds), default=None)
    return _Stood(named, events, silences_of(rows(SILENCE)), rows(ESCALATION), last)


def _receivers(office: Office, told: Iterable[Row]) -> dict[str, str]:
    """Which escalation each alert goes to that alerting decided to tell of."""
    receivers: dict[str, str] = {}
    for row in told:
        if row["receiver"] in (*office.policies, _NOBODY):
            receivers |= dict.fromkeys(json.loads(row["fingerprints"])["firing"], row["receiver"])
        else:
            raise SettingsError(
                f"conf/alerting/routing.yml: receiver {row['receiver']!r} must be an escalation of "
                f"escalations.yml, or {_NOBODY}"
            )
    return {name: one for name, one in receivers.items() if one != _NOBODY}


def _escalated(
    run: Run, office: Office, stood: _Stood, now: datetime
) -> tuple[list[Row], list[Call]]:
    """Escalations that move, and the calls that are due; what is kept quiet stands still."""
    loud = [_facts(one, policy) for one, policy in _not_quiet(run, stood, now)]
    return advance(office.policies, office.desk.on_call, stood.escalations, loud, now)


def _move_on(run: Run, moved: Sequence[Row], events: Sequence[Row], version: int) -> None:
    """Write down how far the escalations are, and which events are dealt with."""
    if moved:
        run.lake.upsert(ESCALATION, moved)
    if events:
        move_bookmarks(run, _READER, {ALERT_EVENT.name: version})


def _not_quiet(run: Run, stood: _Stood, now: datetime) -> list[tuple[Alert, str]]:
    """Those of the alerts that nothing keeps quiet now; what is over is told in any case."""
    labels = {name: alert.routing_labels for name, (alert, _) in stood.told.items()}
    is_open = {name for name, (alert, _) in stood.told.items() if alert.is_open}
    suppressions = alerting_conf(run.settings).suppressions(stood.silences)
    quiet = suppressions.quiet(labels, now, is_open)
    return [one for name, one in stood.told.items() if name not in is_open or not quiet[name]]


def _facts(alert: Alert, policy: str) -> Row:
    """What escalation and templates see of an alert; only allowed labels leave in a message."""
    taken = alert.acknowledged
    return {
        **alert.labels,
        "alert_id": alert.fingerprint,
        "episode": alert.starts_at.isoformat(),
        "policy": policy,
        "state": alert.state,
        "kind": alert.kind,
        "rule": alert.kind,
        "severity": alert.severity,
        "source": alert.source,
        "value": alert.value,
        "threshold": alert.limit,
        "runbook": alert.runbook,
        "started_at": alert.starts_at,
        "seen_at": alert.last_seen_at,
        "acknowledged_by": taken.by if taken else None,
        "acknowledged_at": taken.at if taken else None,
    }


def _pages(
    office: Office,
    calls: Iterable[Call],
    alerts: Mapping[str, tuple[Alert, str]],
    now: datetime,
) -> Iterator[Message]:
    facts = {name: _facts(alert, policy) for name, (alert, policy) in alerts.items()}
    yield from call_messages(office.desk, calls, facts, now)


def _notices(office: Office, new: Iterable[Row], now: datetime) -> Iterator[Message]:
    """Messages of events that came since the last run."""
    seen = seen_by(now, new)
    events = {row["event_id"]: {**json.loads(row["labels"]), **row} for row in seen}
    for event in events.values():
        found = notices(office.catalogue, office.desk.on_call, event, now)
        yield from notice_messages(office.desk, found, events, now)


def _shifts(office: Office, now: datetime) -> Iterator[Message]:
    for schedule in office.desk.on_call.schedules.values():
        found = (one for one in shift_notices(schedule, now) if _SHIFTS_BY in _contacts(one.shift))
        yield from shift_messages(office.desk, found, _SHIFTS_BY, now)


def _contacts(shift: Any) -> Mapping[str, str]:
    contacts: Mapping[str, str] = shift.person.contacts
    return contacts


def _known(run: Run, new: Iterable[Message], now: datetime) -> dict[str, Message]:
    """Messages of open groups, of the last day, and what there is of those that are new."""
    concerned = list(new)
    ids = {one.message_id for one in concerned}
    alerts = {one.alert_id for one in concerned if one.alert_id}
    stands = _as_it_stands(run.lake.rows(MESSAGE, later_than("created_at", now - _TOLD)))
    open_groups = {row["group_id"] for row in stands if row["state"] in (QUEUED, SENT)}

    def concerns(row: Row) -> bool:
        is_fresh = row["settled_at"] is not None and row["settled_at"] > now - _DAY
        named = row["message_id"] in ids or row["alert_id"] in alerts
        return is_fresh or named or row["group_id"] in open_groups

    return _by_id(Message.of(row) for row in stands if concerns(row))


def _as_it_stands(messages: Iterable[Row]) -> list[Row]:
    """Each message's last state; every change of one is a row of its own."""
    newest: dict[str, Row] = {}
    for row in messages:
        known = newest.get(row["message_id"])
        if known is None or row["revision"] > known["revision"]:
            newest[row["message_id"]] = row
    return list(newest.values())


def _taken_back(
    known: Iterable[Message], alerts: Mapping[str, tuple[Alert, str]], now: datetime
) -> list[Message]:
    """Pages that wait, of alerts that somebody took or that are over."""
    done = {name for name, (alert, _) in alerts.items() if alert.state != FIRING}
    return transitions.cancel(known, done, now, "acknowledged or over")


def _hand_over(
    run: Run, office: Office, messages: Iterable[Message], current: Messages
) -> list[Message]:
    """Send, a thread a channel, and write down what became of it."""
    now, sending, settled = in_utc(run.as_of), _by_id(messages), list[Message]()
    names = {one.channel for one in sending.values()}
    channels = {name: _Attentive(run, _opened(run, office.channels[name])) for name in names}
    letters = [(one.channel, one.envelope) for one in sending.values()]
    for key, outcome in dispatch(letters, channels, now):
        message = sending[key]
        if outcome.reason == _TAKEN:
            waiting = replace(message, state=QUEUED)
            settled += transitions.cancel([waiting], [message.alert_id], now, _TAKEN)
        else:
            settled += transitions.settle(message, outcome, now, current.values())
    _store(run, settled)
    return settled


def _tell_of_trouble(run: Run, settled: Iterable[Message], evaluated_at: datetime | None) -> None:
    """A channel on which the last message failed is an event, so that another one tells of it; so
    is the silence of alerting, once: the next round here tells of it without alerting's help."""
    at = in_utc(run.as_of)
    tried = [Attempt(one.channel, at, not one.is_channel_fault) for one in settled]
    last = in_utc(evaluated_at) if evaluated_at else None
    silence = watch_alerting(last, at, alerting_conf(run.settings).interval)
    began = last or at.replace(hour=0, minute=0, second=0, microsecond=0)
    seen = [*watch_channels(tried, at, _DAY), replace(silence, window_at=began)]
    emit(run, _READER, [_finding(one) for one in seen if one.is_firing])


def _finding(seen: Sighting) -> Finding:
    value, limit = float(seen.value or 0), float(seen.limit or 0)
    return Finding(
        seen.kind, seen.severity, seen.labels, value, limit, seen.message, seen.window_at
    )


@dataclass(frozen=True)
class _Attentive:
    """A channel that sends no page of an alert which somebody takes while the round goes on."""

    run: Run
    channel: Channel

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once."""
        if envelope.event == "trigger" and self._is_taken(envelope.alert_id):
            return failed_for_good(_TAKEN)
        return self.channel.send(envelope, now)

    def _is_taken(self, alert_id: str) -> bool:
        is_it = f"fingerprint = '{alert_id}'"
        taken = self.run.lake.rows(ALERT_ACKNOWLEDGEMENT, is_it)
        return any(row["acknowledged_at"] >= self.run.as_of for row in taken)


@dataclass(frozen=True)
class _Closed:
    """A channel that cannot be opened, e.g. because its secret is missing."""

    reason: str

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Nobody is reached this way."""
        return failed_for_good(self.reason, is_channel_fault=True)


def _secret(run: Run, reference: str) -> str:
    return referred_secret(run, reference, "a secret of conf/alerting/channels.yml")


def _opened(run: Run, spec: ChannelSpec) -> Channel:
    try:
        return open_channel(spec, partial(_secret, run), run.lake.root)
    except LakehouseError as error:
        return _Closed(str(error))


def _limits(office: Office) -> dict[str, Any]:
    return {name: spec.limit for name, spec in office.channels.items()}


def _languages(office: Office) -> dict[str, str]:
    """Each address's language."""
    people = office.desk.on_call.people.values()
    return {address: one.language for one in people for address in one.contacts.values()}


def _store(run: Run, messages: Iterable[Message]) -> dict[str, Message]:
    """Add a row for each message's new state: what a MERGE would do in four times the time."""
    kept = {
        one.message_id: replace(one, revision=one.revision + 1) for one in _by_id(messages).values()
    }
    run.lake.append(MESSAGE, [one.row for one in kept.values()])
    return kept


def _by_id(messages: Iterable[Message]) -> dict[str, Message]:
    return {one.message_id: one for one in messages}


def _counted(settled: Iterable[Message]) -> dict[str, int]:
    states = [one.state for one in settled]
    return {f"messages_{state}": states.count(state) for state in sorted(set(states))}
