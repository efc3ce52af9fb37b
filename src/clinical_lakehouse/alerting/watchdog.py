"""The alerting watched: clocks that jump, evaluations that stop, channels that fail."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.alert_state import Sighting, alert_fingerprint
from clinical_lakehouse.alerting.conf_node import in_words

SOURCE = "alerting-watchdog"
CLOCK_JUMPED, EVALUATION_MISSED = "clock_jumped", "evaluation_missed"
CHANNEL_FAILING, ALERTING_SILENT = "channel_failing", "alerting_silent"


@dataclass(frozen=True)
class Tick:
    """When an evaluation ran: by the wall clock (with a time zone), and by one that only goes
    forward, in seconds (CLOCK_MONOTONIC), where the same machine ran both."""

    at: datetime
    monotonic_seconds: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One try to deliver by a channel."""

    channel: str
    at: datetime
    is_delivered: bool


def watch_clock(before: Tick | None, now: Tick, interval: timedelta) -> Iterator[Sighting]:
    """Whether the wall clock jumped since the last evaluation, or evaluations were missed.

    A clock set back shows by itself. A jump forward looks like a pause; where the steady clock is
    known it tells which of the two it was. Either is an alert at the first evaluation after it,
    and no later evaluation says that it is over: it ends by its timeout, when it has been told.
    """
    if before is None:
        return
    elapsed, steady = now.at - before.at, _steady(before, now)
    drift = elapsed - steady if steady is not None else min(elapsed, timedelta())
    passed = steady if steady is not None else elapsed
    if abs(drift) > interval:
        word = "ahead" if drift > timedelta() else "back"
        by = in_words(abs(drift))
        said = f"the clock jumped {word} by {by}; times since are not to be trusted"
        yield _timed(CLOCK_JUMPED, said, now.at, drift, interval, is_firing=True)
    if passed > 2 * interval:
        said = f"no evaluation for {in_words(passed)}, one is due every {in_words(interval)}"
        yield _timed(EVALUATION_MISSED, said, now.at, passed, 2 * interval, is_firing=True)


def watch_channels(
    attempts: Iterable[Attempt], at: datetime, window: timedelta
) -> Iterator[Sighting]:
    """Per channel tried within the window whether its latest attempt failed.

    The alert carries the label `channel`, so that a route can lead it to another one.
    """
    latest: dict[str, list[Attempt]] = defaultdict(list)
    for one in attempts:
        if at - window < one.at <= at:
            latest[one.channel].append(one)
    for channel, tried in sorted(latest.items()):
        tried.sort(key=lambda one: (one.at, one.is_delivered))
        failed = _failed_in_a_row(tried)
        said = f"channel {channel} has failed {failed} times in a row"
        labels = {"channel": channel}
        is_failing = failed > 0
        yield _sighting(
            CHANNEL_FAILING, said, at, is_firing=is_failing, value=failed, limit=0, labels=labels
        )


def watch_alerting(last: datetime | None, at: datetime, interval: timedelta) -> Sighting:
    """The dead man's switch: whether alerting itself has been silent for over two intervals.

    To be asked by another process (scheduler, doctor); `last` is the last finished evaluation.
    """
    known = last is not None
    passed = at - last if last is not None else timedelta.max
    said = f"alerting has not run for {in_words(passed)}" if known else "alerting has never run"
    is_silent = passed > 2 * interval
    return _timed(ALERTING_SILENT, said, at, passed, 2 * interval, is_firing=is_silent)


def _steady(before: Tick, now: Tick) -> timedelta | None:
    """Time passed by the steady clock; None where it is not known or has started anew."""
    first, last = before.monotonic_seconds, now.monotonic_seconds
    if first is None or last is None or last < first:
        return None
    return timedelta(seconds=last - first)


def _failed_in_a_row(tried: Sequence[Attempt]) -> int:
    failed = 0
    for one in reversed(tried):
        if one.is_delivered:
            break
        failed += 1
    return failed


def _timed(
    kind: str, said: str, at: datetime, passed: timedelta, allowed: timedelta, *, is_firing: bool
) -> Sighting:
    value, limit = passed.total_seconds(), allowed.total_seconds()
    return _sighting(kind, said, at, is_firing=is_firing, value=value, limit=limit)


def _sighting(
    kind: str,
    said: str,
    at: datetime,
    *,
    is_firing: bool,
    value: float,
    limit: float,
    labels: Mapping[str, str] | None = None,
) -> Sighting:
    """Whoever watches the alerting is always told at once."""
    named = dict(labels or {})
    return Sighting(
        fingerprint=alert_fingerprint(SOURCE, kind, named),
        source=SOURCE,
        kind=kind,
        severity="critical",
        labels=named,
        value=value,
        limit=limit,
        message=said,
        at=at,
        window_at=at,
        is_firing=is_firing,
    )
