"""From what is to be told to rows of the outbox: escalation's calls, and audiences' notices."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from clinical_lakehouse.alerting.audience import Notice
from clinical_lakehouse.alerting.digest.content import DigestData
from clinical_lakehouse.alerting.digest.mail import render_digest
from clinical_lakehouse.alerting.escalation.progress import Call
from clinical_lakehouse.alerting.messages.acknowledgement import token
from clinical_lakehouse.alerting.messages.templates import Templates
from clinical_lakehouse.alerting.on_call.notice import ShiftNotice
from clinical_lakehouse.alerting.on_call.schedule import OnCall
from clinical_lakehouse.alerting.outbox.message import (
    LAST_RESORT,
    PAGE,
    Message,
    message_id,
    payload,
)

_CRITICAL_LIFETIME = timedelta(hours=24)
_LIFETIME = timedelta(hours=72)
_EVENTS = {PAGE: "trigger", "unanswered": "trigger", "resolved": "resolve"}


@dataclass(frozen=True)
class Desk:
    """What it takes to write a message: people, words, which channels need an address, and, where
    acknowledgement by link is wanted, the page's address and the key that signs."""

    on_call: OnCall
    templates: Templates
    channels: Mapping[str, bool]
    ack_page: str = ""
    ack_key: bytes = field(default=b"", repr=False)


def call_messages(
    desk: Desk, calls: Iterable[Call], alerts: Mapping[str, Mapping[str, Any]], now: datetime
) -> Iterator[Message]:
    """A message for each call; `alerts` by alert_id, with severity, episode and labels."""
    for call in calls:
        alert = alerts[call.alert_id]
        labels = {
            **alert,
            "late": "late" if call.is_late else "",
            "due_at": call.due_at,
            "ack_link": _ack_link(desk, call, alert, now) if call.kind == PAGE else "",
        }
        # One page reached is enough, so all pages of an alert's episode are one group.
        group = ":".join((call.kind, call.alert_id, str(alert["episode"])))
        group = group if call.channel != LAST_RESORT else f"{group}:{LAST_RESORT}"
        is_critical = alert["severity"] == "critical" and call.kind in (PAGE, "unanswered")
        yield _message(desk, call.key, call, labels, (group, is_critical, now))


def notice_messages(
    desk: Desk, found: Iterable[Notice], events: Mapping[str, Mapping[str, Any]], now: datetime
) -> Iterator[Message]:
    """A message for each notice; `events` by event_id, with severity and labels."""
    for notice in found:
        event = events[notice.event_id]
        call = Call(
            notice.key, "event", event.get("fingerprint", ""), notice.person, notice.channel,
            notice.due_at,
        )  # fmt: skip
        labels = {**event, "audience": notice.audience, "template": notice.template}
        group = f"event:{notice.event_id}:{notice.audience}"
        yield _message(desk, notice.key, call, labels, (group, notice.is_safety, now))


def shift_messages(
    desk: Desk, found: Iterable[ShiftNotice], channel: str, now: datetime
) -> Iterator[Message]:
    """A message for each notice of a shift."""
    for notice in found:
        person = notice.shift.person
        call = Call(notice.key, "shift", "", person.id, channel, now)
        local = notice.shift.start.astimezone(person.zone)
        labels = {
            "schedule": notice.schedule,
            "shift_from": notice.shift.start,
            "shift_until": notice.shift.end,
            "local_from": f"{local:%Y-%m-%d %H:%M} {person.zone}",
        }
        yield _message(desk, notice.key, call, labels, (notice.key, False, now))


def digest_message(
    desk: Desk, data: DigestData, person_id: str, channel: str, *, hides_small: bool
) -> Message:
    """A digest to one person, in their language; one for each end of its time."""
    person = desk.on_call.people[person_id]
    made = render_digest(data, hides_small=hides_small, language=person.language)
    key = f"digest:{data.period}:{data.audience}:{data.until.isoformat()}:{person_id}:{channel}"
    recipient = person.contacts[channel] if desk.channels.get(channel, False) else ""
    return Message(
        message_id(key), key, "", "digest", channel, recipient, False, data.until, data.until,
        data.until + _LIFETIME, payload(made.subject, made.text, made.html, images=made.images),
    )  # fmt: skip


def run_message(
    desk: Desk, occasion: str, labels: Mapping[str, Any], way: tuple[str, str], now: datetime
) -> Message:
    """A message that a job's run started, ended or is slow (`occasion`), by a channel to a
    recipient (`way`); one for each run and occasion."""
    channel, recipient = way
    words = desk.templates.render("en", f"run_{occasion}", labels)
    key = ":".join(("run", str(labels["job"]), str(labels["run_id"]), occasion, *way))
    severity = "info" if occasion in ("on_start", "on_success") else "warning"
    content = payload(words.subject, words.text, words.html, severity=severity)
    return Message(
        message_id(key), key, "", "run", channel, recipient, False, now, now, now + _LIFETIME,
        content,
    )  # fmt: skip


def _message(
    desk: Desk,
    key: str,
    call: Call,
    labels: Mapping[str, Any],
    about: tuple[str, bool, datetime],
) -> Message:
    group, is_critical, now = about
    person = desk.on_call.people[call.person] if call.person else None
    needs_address = person is not None and desk.channels.get(call.channel, False)
    recipient = person.contacts[call.channel] if person and needs_address else ""
    words = desk.templates.render(
        person.language if person else "en",
        str(labels.get("template", call.kind)),
        {**labels, "person": person.name if person else ""},
    )
    severity = str(labels.get("severity", "info"))
    content = payload(
        words.subject, words.text, words.html,
        severity=severity if severity in ("critical", "warning") else "info",
        event=_EVENTS.get(call.kind, "note"), alert_id=call.alert_id,
        link=str(labels.get("ack_link", "")),
    )  # fmt: skip
    lifetime = _CRITICAL_LIFETIME if is_critical else _LIFETIME
    ends = None if call.channel == LAST_RESORT else now + lifetime
    return Message(
        message_id(key), group, call.alert_id, call.kind, call.channel, recipient, is_critical,
        now, max(call.due_at, now), ends, content,
    )  # fmt: skip


def _ack_link(desk: Desk, call: Call, alert: Mapping[str, Any], now: datetime) -> str:
    if not desk.ack_page or not desk.ack_key or call.person is None:
        return ""
    made = token(desk.ack_key, call.alert_id, str(alert["episode"]), call.person, now)
    return f"{desk.ack_page}?t={made}"
