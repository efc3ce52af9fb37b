"""Sends a round's messages, a thread a channel: a slow channel keeps no other one waiting."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from clinical_lakehouse.alerting.channels.envelope import (
    Channel,
    Envelope,
    Outcome,
    failed_for_good,
    failed_for_now,
)

# Less than the outbox's lease, after which another process hands the same messages over again.
LONGEST_SECONDS = 120.0


def dispatch(
    letters: Iterable[tuple[str, Envelope]],
    channels: Mapping[str, Channel],
    now: datetime,
    longest_seconds: float = LONGEST_SECONDS,
) -> Iterator[tuple[str, Outcome]]:
    """Each message's key with its outcome, as they come; every message gets one.

    `letters` are pairs of channel and envelope. Whatever has no answer when the time is up failed
    for now, also on a connection that hangs in a way no timeout of a socket sees.
    """
    waiting: dict[str, list[Envelope]] = defaultdict(list)
    for name, envelope in letters:
        waiting[name].append(envelope)
    answers: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
    is_over = threading.Event()
    for name, own in waiting.items():
        work = (channels.get(name), own, now, answers, is_over)
        threading.Thread(target=_send_each, args=work, name=f"channel {name}", daemon=True).start()
    missing = {envelope.key for own in waiting.values() for envelope in own}
    until = time.monotonic() + longest_seconds
    while missing and (left := until - time.monotonic()) > 0:
        try:
            key, outcome = answers.get(timeout=left)
        except queue.Empty:
            break
        missing.discard(key)
        yield key, outcome
    is_over.set()
    for key in sorted(missing):
        yield key, failed_for_now("no answer in time")


def _send_each(
    channel: Channel | None,
    envelopes: list[Envelope],
    now: datetime,
    answers: queue.SimpleQueue[tuple[str, Outcome]],
    is_over: threading.Event,
) -> None:
    for envelope in envelopes:
        if is_over.is_set():
            return
        answers.put((envelope.key, _sent(channel, envelope, now)))


def _sent(channel: Channel | None, envelope: Envelope, now: datetime) -> Outcome:
    """A fault of ours in one message must not keep the others; its text may hold data."""
    if channel is None:
        return failed_for_good("the channel is no longer in channels.yml", is_channel_fault=True)
    try:
        return channel.send(envelope, now)
    except Exception as error:
        kind = type(error).__name__
        return failed_for_now(f"the message could not be sent ({kind})", is_channel_fault=False)
