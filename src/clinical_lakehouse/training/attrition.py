"""Who falls where: rows carry the first step that dropped them, and each step is counted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame

from clinical_lakehouse.errors import AccountingError

BEYOND_BOUND = "more than the driver holds"


@dataclass(frozen=True)
class Step:
    """One step of the attrition: rows before it, what it dropped, and what was left."""

    name: str
    before: int
    dropped: int
    after: int


def counted(steps: Iterable[str], rows: DataFrame) -> list[Step]:
    """The steps in order; each begins with what the one before it left. `dropped_by` of a row is
    the step that dropped it, null if none did."""
    grouped = rows.groupBy("dropped_by").count().collect()
    dropped = {row["dropped_by"]: row["count"] for row in grouped}
    left, told = sum(dropped.values()), []
    for name in steps:
        fell = dropped.get(name, 0)
        told.append(Step(name, left, fell, left - fell))
        left -= fell
    return told


def attrition_rows(
    label: str, steps: Sequence[Step], taken: int, at: datetime
) -> list[dict[str, Any]]:
    """Rows of gold.label_attrition: the steps, then what of the rest was taken where the driver
    holds no more. AccountingError where a step does not begin with what the one before it left."""
    told = [*steps]
    left = told[-1].after
    if taken < left:
        told.append(Step(BEYOND_BOUND, left, left - taken, taken))
    for one, then in zip(told, told[1:], strict=False):
        if one.after != then.before:
            raise AccountingError(f"attrition of {label} does not add up at the step {then.name!r}")
    return [
        {
            "label_name": label,
            "made_at": at,
            "position": position,
            "step": one.name,
            "before_count": one.before,
            "dropped_count": one.dropped,
            "after_count": one.after,
        }
        for position, one in enumerate(told, 1)
    ]


def only_labelled(rows: DataFrame) -> DataFrame:
    """The rows that no step dropped."""
    return rows.filter("dropped_by IS NULL").drop("dropped_by")
