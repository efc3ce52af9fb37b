"""How often: backoff of a message, probes of a channel that is down, the cap of a recipient."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.outbox.message import ACCEPTED, Message

_FIRST_SECONDS = 30.0
_LONGEST_SECONDS = 900.0
_LONGEST_PROBE_SECONDS = 300.0


@dataclass(frozen=True)
class Limit:
    """At most `most` messages within `within` to one recipient; `folds`: the rest become one
    message that says how many more there are (not for machines, which need each)."""

    most: int = 10
    within: timedelta = timedelta(minutes=10)
    folds: bool = True


def backoff(name: str, attempt: int, longest: float = _LONGEST_SECONDS) -> timedelta:
    """Wait after a failed attempt (1, 2, ...): 30 s doubled each time, at most `longest`, times
    0.5 to 1 by a hash of `name`, so that many do not come back at once, and a rerun is the same."""
    digest = hashlib.sha256(f"{name}:{attempt}".encode()).digest()
    share = 0.5 + int.from_bytes(digest[:4], "big") / 2**33
    return timedelta(seconds=min(_FIRST_SECONDS * 2.0 ** min(attempt - 1, 16), longest) * share)


def probe_times(messages: Iterable[Message]) -> dict[str, datetime]:
    """Channels that failed as a whole since they last accepted something, and when each may be
    tried again, with one message: an hour of silence ends neither in a flood nor in hammering."""
    by_channel: dict[str, list[Message]] = defaultdict(list)
    for one in messages:
        if one.settled_at is not None:
            by_channel[one.channel].append(one)
    found = {}
    for channel, settled in by_channel.items():
        fine = [m.settled_at for m in settled if m.state == ACCEPTED and m.settled_at]
        faults = [
            (m.settled_at, m) for m in settled
            if m.is_channel_fault and m.settled_at and (not fine or m.settled_at > max(fine))
        ]  # fmt: skip
        if faults:
            tries = sum(m.attempt for _, m in faults)
            last = max(settled for settled, _ in faults)
            asked = max((m.retry_at for _, m in faults if m.retry_at), default=None)
            found[channel] = asked or last + backoff(channel, tries, _LONGEST_PROBE_SECONDS)
    return found


def room(sent: Iterable[Message], limit: Limit, now: datetime) -> int:
    """How many more messages the recipient of `sent` may get now."""
    recent = [
        m for m in sent
        if m.folded_into is None and m.sent_at is not None and m.sent_at > now - limit.within
    ]  # fmt: skip
    return max(limit.most - len(recent), 0)
