"""Who falls where: rows carry the first step that dropped them, and each step is counted."""

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import DataFrame


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


def only_labelled(rows: DataFrame) -> DataFrame:
    """The rows that no step dropped."""
    return rows.filter("dropped_by IS NULL").drop("dropped_by")
