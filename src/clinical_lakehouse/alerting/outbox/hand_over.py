"""Which messages go out now, and which become "12 more"."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from clinical_lakehouse.alerting.outbox import transitions
from clinical_lakehouse.alerting.outbox.message import (
    LAST_RESORT,
    MORE,
    QUEUED,
    SENT,
    Message,
    message_id,
    payload,
)
from clinical_lakehouse.alerting.outbox.pace import Limit, probe_times, room

_LISTED = 30
_WORDS = {
    "en": ("{} more notifications", "Too many at once for one message each:", "and {} others"),
    "de": ("{} weitere Meldungen", "Zu viele für je eine Nachricht:", "und {} andere"),
}


@dataclass(frozen=True)
class Round:
    """What one round of the outbox does: rows to store first, then messages to send."""

    changed: list[Message]
    to_send: list[Message]


def step(
    known: Iterable[Message],
    new: Iterable[Message],
    limits: Mapping[str, Limit],
    now: datetime,
    languages: Mapping[str, str] | None = None,
) -> Round:
    """One round: store `changed` in one write, then send each of `to_send`, then `settle` it.

    Killed before the write, nothing happened; after it, `recover` hands the same keys over again
    once the lease is over. `known` is every message of a group that has an open one, and what was
    settled in the last day; `languages` are those of recipients.
    """
    every = {m.message_id: m for m in known}
    changed: dict[str, Message] = {}

    def keep(found: Iterable[Message]) -> None:
        for m in found:
            every[m.message_id] = changed[m.message_id] = m

    keep(transitions.enqueue(every.values(), new))
    keep(transitions.recover(every.values(), now))
    keep(transitions.expire(every.values(), now))
    keep(transitions.last_resort(every.values(), now))
    due, folded = _chosen(list(every.values()), limits, now, languages or {})
    sending = [replace(m, state=SENT, attempt=m.attempt + 1, sent_at=now) for m in due]
    keep(sending)
    keep(folded)
    return Round(list(changed.values()), sending)


def _chosen(
    messages: list[Message],
    limits: Mapping[str, Limit],
    now: datetime,
    languages: Mapping[str, str],
) -> tuple[list[Message], list[Message]]:
    """Messages to send, and those folded into one of them; critical ones first, then the oldest."""
    probes = probe_times(messages)
    waiting: dict[str, list[Message]] = defaultdict(list)
    gone: dict[tuple[str, str], list[Message]] = defaultdict(list)
    for m in messages:
        if m.state == QUEUED and m.due_at <= now:
            waiting[m.channel].append(m)
        if m.sent_at is not None:
            gone[(m.channel, m.recipient)].append(m)
    due: list[Message] = []
    folded: list[Message] = []
    for channel, own in sorted(waiting.items()):
        own.sort(key=lambda m: (not m.is_critical, m.created_at, m.message_id))
        if channel in probes:
            due += own[:1] if probes[channel] <= now else []
        elif channel == LAST_RESORT:
            due += own
        else:
            limit = limits.get(channel, Limit())
            for recipient, theirs in _by_recipient(own).items():
                space = room(gone[(channel, recipient)], limit, now)
                alone, rest = _split(theirs, space, limit)
                due += alone
                if rest:
                    more = _more(rest, now, languages.get(recipient, "en"))
                    due.append(more)
                    folded += [
                        replace(m, state=SENT, sent_at=now, folded_into=more.message_id)
                        for m in rest
                    ]
    return due, folded


def _by_recipient(messages: list[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = defaultdict(list)
    for m in messages:
        found[m.recipient].append(m)
    return found


def _split(
    messages: list[Message], space: int, limit: Limit
) -> tuple[list[Message], list[Message]]:
    """Those that go alone, and those that one message speaks for, within the space there is."""
    if not limit.folds:
        return messages[:space], []
    # A message that speaks for others goes first, and is not folded into another such one.
    mores = [m for m in messages if m.kind == MORE][:space]
    others = [m for m in messages if m.kind != MORE]
    space -= len(mores)
    if len(others) <= space or space == 0:
        return mores + others[:space], []
    return mores + others[: space - 1], others[space - 1 :]


def _more(rest: list[Message], now: datetime, language: str) -> Message:
    title, lead, others = _WORDS.get(language, _WORDS["en"])
    subjects = [json.loads(m.payload)["subject"] for m in rest]
    lines = [lead, "", *(f"- {subject}" for subject in subjects[:_LISTED])]
    if len(subjects) > _LISTED:
        lines.append(f"- {others.format(len(subjects) - _LISTED)}")
    first, own = rest[0], message_id(MORE, *sorted(m.message_id for m in rest))
    ends = [m.expires_at for m in rest if m.expires_at]
    severity = json.loads(first.payload).get("severity", "info")
    return Message(
        own, own, "", MORE, first.channel, first.recipient, any(m.is_critical for m in rest), now,
        now, max(ends) if ends else None,
        payload(title.format(len(rest)), "\n".join(lines), severity=severity),
    )  # fmt: skip
