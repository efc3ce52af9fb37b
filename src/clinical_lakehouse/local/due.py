"""What is due now? Pure: a trigger, what it remembers and what there is to see go in.

Local choices where Databricks' documentation is silent: a periodic trigger fires on whole multiples
of its interval since Monday 5 January 1970 UTC (Databricks picks a moment at deployment), so that a
restart moves nothing; files already there at the first look are new, table versions are not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from clinical_lakehouse.local.quartz import next_firings
from clinical_lakehouse.local.trigger import Trigger

TIMED = ("quartz", "periodic")
WATCHING = ("file_arrival", "table_update")
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_HOURS = {"HOURS": 1, "DAYS": 24, "WEEKS": 168}
_MOST_COUNTED = 1000  # missed firings are counted up to here
_FAR = timedelta(days=36525)
# Between runs of a continuous job; after failures it doubles from the second figure to the third.
_PAUSE_SECONDS, _RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 10, 30, 600


@dataclass(frozen=True)
class Memory:
    """What a trigger remembers from look to look, and over a restart."""

    trigger: str  # another trigger's memory is worth nothing
    since: datetime  # firings up to here are done with
    fired: datetime | None = None
    changed: datetime | None = None  # when files or tables were last seen to change
    listing: str = ""
    known: frozenset[str] = frozenset()  # files a firing has told of
    seen: Mapping[str, int] = field(default_factory=dict)
    handled: Mapping[str, int] = field(default_factory=dict)  # versions a firing has told of
    ended: datetime | None = None
    failures: int = 0


@dataclass(frozen=True)
class Sight:
    """What a trigger sees: files by the hash of their path, tables' latest data versions (-1: no
    table); `listing` changes with any name, size or time of a file."""

    files: frozenset[str] = frozenset()
    listing: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The memory to keep, the firing if one is due, and when to look again (None: any change)."""

    memory: Memory
    due: datetime | None = None
    why: str = ""
    again: datetime | None = None


def decide(
    trigger: Trigger, memory: Memory | None, sight: Sight, now: datetime, is_busy: bool
) -> Verdict:
    """Is the trigger due at `now`? `is_busy`: a firing would only wait behind another run.

    Firings missed since the last look become one. Files and tables do not fire while busy, nor
    does a continuous job: what they saw stays to be told of later.
    """
    if memory is None or memory.trigger != identity(trigger):
        memory = Memory(identity(trigger), now, seen=sight.versions, handled=sight.versions)
    if trigger.kind in TIMED:
        return _on_time(trigger, memory, now)
    if trigger.kind == "file_arrival":
        return _on_files(trigger, memory, sight, now, is_busy)
    if trigger.kind == "table_update":
        return _on_tables(trigger, memory, sight, now, is_busy)
    return _always(memory, now, is_busy)


def identity(trigger: Trigger) -> str:
    """What makes it this trigger; timers and pausing may change without a new start."""
    return f"{trigger.kind} {trigger.detail} {trigger.zone}"


def after_run(memory: Memory, ended: datetime, ok: bool) -> Memory:
    """The memory when a run of the job has ended; only a continuous job makes use of it."""
    return replace(memory, ended=ended, failures=0 if ok else memory.failures + 1)


def moments(trigger: Trigger, after: datetime) -> Iterator[datetime]:
    """When a timed trigger fires after a moment, in UTC, in order."""
    if trigger.kind == "periodic":
        step = timedelta(hours=trigger.interval * _HOURS[trigger.unit])
        moment = _MONDAY + ((after - _MONDAY) // step + 1) * step
        while True:
            yield moment
            moment += step
    while found := next_firings(trigger.expression, trigger.zone, after):
        after = found[0]
        yield after


def _on_time(trigger: Trigger, memory: Memory, now: datetime) -> Verdict:
    passed = 0
    for moment in moments(trigger, memory.since):
        if moment > now:
            return _timed(trigger, memory, passed, moment)
        passed += 1
        memory = replace(memory, since=moment, fired=moment)
        if passed == _MOST_COUNTED:  # after a long sleep of a busy schedule: go on near its end
            memory = replace(memory, since=_latest(trigger, moment, now))
            memory = replace(memory, fired=memory.since)
            following = list(islice(moments(trigger, memory.since), 1))
            return _timed(trigger, memory, passed, following[0] if following else now + _FAR)
    return _timed(trigger, memory, passed, now + _FAR)


def _timed(trigger: Trigger, memory: Memory, passed: int, again: datetime) -> Verdict:
    if not passed:
        return Verdict(memory, again=again)
    zone = "" if trigger.zone == "UTC" else f" {trigger.zone}"
    missed = f"; {passed - 1} earlier missed" if passed > 1 else ""
    why = f"{trigger.kind} {trigger.detail}{zone}{missed}"
    return Verdict(memory, memory.fired, why, again)


def _latest(trigger: Trigger, found: datetime, now: datetime) -> datetime:
    """The last firing up to `now`, given an earlier one: looked for in ever longer spans."""
    span = timedelta(minutes=1)
    while now - span > found:
        late = [m for m in _until(moments(trigger, now - span), now)]
        if late:
            return late[-1]
        span *= 10
    return [found, *_until(moments(trigger, found), now)][-1]


def _until(found: Iterator[datetime], end: datetime) -> Iterator[datetime]:
    for moment in found:
        if moment > end:
            return
        yield moment


def _on_files(
    trigger: Trigger, memory: Memory, sight: Sight, now: datetime, is_busy: bool
) -> Verdict:
    changed = memory.changed if sight.listing == memory.listing else now
    known = memory.known & sight.files  # a file that went and comes again is new
    memory = replace(memory, changed=changed, listing=sight.listing, known=known)
    fresh = len(sight.files - known)
    ready = _ready(trigger, memory)
    if not fresh or is_busy or ready > now:
        return Verdict(memory, again=ready if fresh and ready > now else None)
    memory = replace(memory, since=now, fired=now, known=sight.files)
    return Verdict(memory, now, f"{fresh} new file{'s' if fresh > 1 else ''} in {trigger.url}")


def _on_tables(
    trigger: Trigger, memory: Memory, sight: Sight, now: datetime, is_busy: bool
) -> Verdict:
    changed = memory.changed if sight.versions == memory.seen else now
    memory = replace(memory, changed=changed, seen=sight.versions)
    told, names = memory.handled, trigger.table_names
    updated = [n for n in names if 0 <= sight.versions.get(n, -1) != told.get(n, -1)]
    enough = len(updated) == len(names) if trigger.condition == "ALL_UPDATED" else bool(updated)
    ready = _ready(trigger, memory)
    if not enough or is_busy or ready > now:
        return Verdict(memory, again=ready if enough and ready > now else None)
    memory = replace(memory, since=now, fired=now, handled=sight.versions)
    return Verdict(memory, now, f"{', '.join(updated)} updated")


def _ready(trigger: Trigger, memory: Memory) -> datetime:
    """The first moment that both timers allow."""
    quiet = timedelta(seconds=trigger.wait_after_last_change_seconds)
    apart = timedelta(seconds=trigger.min_time_between_triggers_seconds)
    after_change = (memory.changed or memory.since) + quiet
    return max(after_change, memory.fired + apart) if memory.fired else after_change


def _always(memory: Memory, now: datetime, is_busy: bool) -> Verdict:
    if is_busy:
        return Verdict(memory)
    pause = _PAUSE_SECONDS
    if memory.failures:
        doubled = _RETRY_SECONDS * 2 ** min(memory.failures - 1, 10)
        pause = min(doubled, _LONGEST_RETRY_SECONDS)
    ready = memory.ended + timedelta(seconds=pause) if memory.ended else now
    if ready > now:
        return Verdict(memory, again=ready)
    failed = f", after {memory.failures} failed runs" if memory.failures else ""
    return Verdict(replace(memory, since=now, fired=now), now, f"continuous{failed}")
