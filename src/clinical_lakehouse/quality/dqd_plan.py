"""DQD from its checks to its verdicts: what to count, in few aggregates, and what it means."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from pyspark.sql import DataFrame

from clinical_lakehouse.quality.dqd_concepts import concept_counts, target_counts
from clinical_lakehouse.quality.dqd_counts import Frames, Plan, row_counts
from clinical_lakehouse.quality.dqd_groups import (
    era_counts,
    key_counts,
    period_counts,
    person_counts,
    value_counts,
)
from clinical_lakehouse.quality.dqd_suite import DqdCheck
from clinical_lakehouse.quality.dqd_verdict import Count, Verdict, shape_count, verdicts

_WAYS = (
    *(row_counts, key_counts, value_counts, person_counts, era_counts, period_counts),
    *(concept_counts, target_counts),
)


def aggregates(checks: Sequence[DqdCheck], frames: Frames, today: date) -> list[DataFrame]:
    """What must be counted for these checks: at most eight frames of `number` (place of the check),
    `violated` and `counted`, a row per check. `today` is DQD's GETDATE()."""
    plan = Plan(frames, tuple(enumerate(checks)), today)
    able = tuple(one for one in plan.checks if plan.lacks(one[1]) is None)
    ready = Plan(frames, able, today)
    return [made for made in (way(ready) for way in _WAYS) if made is not None]


def judged(
    checks: Sequence[DqdCheck], frames: Frames, rows: Iterable[Mapping[str, Any]]
) -> list[Verdict]:
    """A verdict per check, from the rows of `aggregates`; a check without a row has counted none,
    one whose table or field is missing is an error, or not applicable."""
    found = {row["number"]: Count(row["violated"], row["counted"]) for row in rows}
    counts = [
        _count(check, frames, found.get(number, Count(0, 0))) for number, check in enumerate(checks)
    ]
    return verdicts(checks, counts, frames)


def _count(check: DqdCheck, frames: Frames, counted: Count) -> Count:
    if check.way == "shape":
        return shape_count(check, frames)
    lacking = Plan(frames, (), date(2000, 1, 1)).lacks(check)
    return Count(0, 0, lacking) if lacking else counted
