"""What moves a message from state to state; every function gives the rows that change."""

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.channels.envelope import Outcome, Result
from clinical_lakehouse.alerting.outbox.message import (
    ACCEPTED,
    EXPIRED,
    FAILED,
    LAST_RESORT,
    MORE,
    PAGE,
    QUEUED,
    RESOLVED,
    SENT,
    Message,
    message_id,
)
from clinical_lakehouse.alerting.outbox.pace import backoff

LEASE = timedelta(minutes=3)  # longer than any channel's timeout
PATIENCE = timedelta(minutes=15)  # a critical message that reached nobody goes to the last resort
_UNKNOWN = "handed over, but the process ended before the answer"


def enqueue(known: Iterable[Message], new: Iterable[Message]) -> list[Message]:
    """What is new; the same message again is none. Nobody hears that something is over who never
    heard of it."""
    before = list(known)
    ids = {m.message_id for m in before}
    pages: dict[tuple[str, str, str], bool] = {}
    for m in before:
        if m.kind == PAGE:
            pair = (m.alert_id, m.channel, m.recipient)
            pages[pair] = pages.get(pair, False) or m.sent_at is not None
    found: dict[str, Message] = {}
    for m in new:
        if m.message_id in ids:
            continue
        is_heard = pages.get((m.alert_id, m.channel, m.recipient), True)
        if m.kind == RESOLVED and not is_heard:
            m = _cancelled(m, m.created_at, "its page never went out")
        found.setdefault(m.message_id, m)
    return list(found.values())


def recover(messages: Iterable[Message], now: datetime) -> list[Message]:
    """Messages handed over by a process that ended before it knew the answer: again, under the
    same key (at least once)."""
    return [
        replace(m, state=QUEUED, due_at=now, reason=_UNKNOWN)
        for m in messages
        if m.state == SENT and m.folded_into is None and m.sent_at and m.sent_at <= now - LEASE
    ]


def expire(messages: Iterable[Message], now: datetime) -> list[Message]:
    """Messages whose time is over, and those that were folded into them."""
    every = list(messages)
    gone = {
        m.message_id: replace(m, state=EXPIRED, settled_at=now)
        for m in every
        if m.state == QUEUED and m.expires_at is not None and m.expires_at <= now
    }
    folded = [
        replace(m, state=EXPIRED, settled_at=now, reason=gone[m.folded_into].reason)
        for m in every
        if m.is_open and m.folded_into in gone
    ]
    return [*gone.values(), *folded]


def cancel(
    messages: Iterable[Message],
    alert_ids: Collection[str],
    now: datetime,
    why: str,
    kinds: Collection[str] = (PAGE,),
) -> list[Message]:
    """Take back what is not yet handed over, e.g. pages of an alert that somebody acknowledged.

    A message that only says "more" goes with the last of those it speaks for.
    """
    every = list(messages)
    gone = {
        m.message_id: _cancelled(m, now, why)
        for m in every
        if m.alert_id in alert_ids and m.kind in kinds
        and (m.state == QUEUED or (m.state == SENT and m.folded_into is not None))
    }  # fmt: skip
    spoken_for: dict[str, list[Message]] = {}
    for m in every:
        if m.folded_into is not None and m.is_open:
            spoken_for.setdefault(m.folded_into, []).append(m)
    for m in every:
        own = spoken_for.get(m.message_id, [])
        if m.state == QUEUED and own and all(f.message_id in gone for f in own):
            gone[m.message_id] = _cancelled(m, now, why)
    return list(gone.values())


def settle(
    message: Message, outcome: Outcome, now: datetime, folded: Iterable[Message] = ()
) -> list[Message]:
    """What an outcome makes of a message, and of those folded into it.

    The last resort never gives up: what others call failed for good, it tries again.
    """
    base = replace(
        message,
        settled_at=now,
        reason=outcome.reason,
        provider_id=outcome.provider_id,
        is_channel_fault=outcome.is_channel_fault,
        retry_at=None,
    )
    if outcome.result is Result.ACCEPTED:
        done = replace(base, state=ACCEPTED)
        return [done, *_alike(folded, done)]
    if outcome.result is Result.FAILED_FOR_GOOD and message.channel != LAST_RESORT:
        failed = replace(base, state=FAILED)
        return [failed, *_alike(folded, failed)]
    if outcome.result is Result.RETRY_AFTER:
        asked = now + timedelta(seconds=outcome.wait_seconds)
        return [replace(base, state=QUEUED, due_at=asked, retry_at=asked)]
    wait = backoff(message.message_id, message.attempt)
    return [replace(base, state=QUEUED, due_at=now + wait)]


def last_resort(messages: Iterable[Message], now: datetime) -> list[Message]:
    """A message on the last-resort channel for each group that reached nobody: at once when all of
    its messages failed, after 15 minutes when it is critical."""
    groups: dict[str, list[Message]] = {}
    for m in messages:
        if m.kind != MORE:  # those it speaks for have groups of their own
            groups.setdefault(m.group_id, []).append(m)
    found = []
    for group, own in groups.items():
        if any(m.channel == LAST_RESORT or m.state == ACCEPTED or m.is_cancelled for m in own):
            continue
        is_lost = all(m.state in (FAILED, EXPIRED) for m in own)
        first = min(m.created_at for m in own)
        if is_lost or (any(m.is_critical for m in own) and now - first >= PATIENCE):
            found.append(_last(group, own[0], now))
    return found


def dead_letters(messages: Iterable[Message]) -> list[Message]:
    """Messages that were given up, for a person to look at."""
    return [m for m in messages if m.state in (FAILED, EXPIRED) and not m.is_cancelled]


def _alike(folded: Iterable[Message], whole: Message) -> list[Message]:
    """Messages share the fate of the one that speaks for them."""
    if whole.kind != MORE:
        return []
    return [
        replace(
            m,
            state=whole.state,
            settled_at=whole.settled_at,
            provider_id=whole.provider_id,
            reason=whole.reason,
        )
        for m in folded
        if m.folded_into == whole.message_id and m.is_open
    ]


def _cancelled(message: Message, now: datetime, why: str) -> Message:
    return replace(message, state=EXPIRED, settled_at=now, reason=why, is_cancelled=True)


def _last(group: str, first: Message, now: datetime) -> Message:
    content = {**json.loads(first.payload), "html": "", "images": []}
    return replace(
        first,
        message_id=message_id(LAST_RESORT, group),
        channel=LAST_RESORT,
        recipient="",
        created_at=now,
        due_at=now,
        expires_at=None,
        payload=json.dumps(content, ensure_ascii=False, sort_keys=True),
        state=QUEUED,
        attempt=0,
        sent_at=None,
        settled_at=None,
        retry_at=None,
        provider_id="",
        reason="",
        is_channel_fault=False,
        folded_into=None,
    )
