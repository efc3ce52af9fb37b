"""One run of a job per interval of the past, each with its own clock; begun again, it goes on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.local.request import Request, called_jobs
from clinical_lakehouse.tables.contract import Table

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_MOST_RUNS = 5_000
CLOCK = "as_of"


class Declared(Protocol):
    """A task, as far as backfill goes."""

    @property
    def is_windowed(self) -> bool:
        """May it be run for past dates?"""

    @property
    def reads(self) -> tuple[Table, ...]:
        """The tables it reads."""

    @property
    def writes(self) -> tuple[Table, ...]:
        """The tables it writes."""


@dataclass(frozen=True)
class Plan:
    """What a backfill will do: its moments, which of them are done, tables it reads and writes."""

    job: str
    moments: tuple[datetime, ...]
    done: frozenset[datetime]
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def requests(self) -> Iterator[Request]:
        """The runs still to do, the oldest first."""
        for moment in self.moments:
            if moment not in self.done:
                cause = Cause("backfill", backfill_at=moment)
                yield Request(self.job, {CLOCK: moment.isoformat()}, cause=cause)


def make_plan(
    bundle: Bundle,
    name: str,
    moments: Sequence[datetime],
    tasks: Mapping[str, Declared],
    done: frozenset[datetime] = frozenset(),
) -> Plan:
    """The plan for a job; UsageError where a run for a past date would not be what it was then."""
    job = bundle.job(name)
    if CLOCK not in job.parameters:
        raise UsageError(f"job {job.key} has no parameter {CLOCK}; a backfill sets it")
    used = {
        step.entry_point: tasks[step.entry_point]
        for one in called_jobs(job, bundle).values()
        for task in one.tasks.values()
        for step in task.steps
        if step.entry_point in tasks
    }
    whole = sorted(entry for entry, task in used.items() if not task.is_windowed)
    if whole:
        raise UsageError(
            f"job {job.key} cannot be backfilled: {whole[0]} is not declared windowed"
            + (f" (nor {len(whole) - 1} more)" if len(whole) > 1 else "")
            + "; run the job once for the latest date instead"
        )
    reads = {table.name for task in used.values() for table in task.reads}
    writes = {table.name for task in used.values() for table in task.writes}
    inputs = tuple(sorted(reads - writes))
    return Plan(job.key, tuple(moments), done, inputs, tuple(sorted(writes)))


def moments_between(start: datetime, end: datetime, every: str) -> list[datetime]:
    """Every `6h`, `1d` or `2w` from start to end, both included."""
    found = re.fullmatch(r"([1-9]\d*)([hdw])", every)
    if not found:
        raise UsageError("--every must be a number and h, d or w, e.g. 6h, 1d, 1w")
    step = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if end < start:
        raise UsageError("--to must not be earlier than --from")
    count = (end - start) // step + 1
    if count > _MOST_RUNS:
        raise UsageError(f"that would be {count:,} runs; at most {_MOST_RUNS:,} at once")
    return [(start + n * step).astimezone(UTC) for n in range(count)]
