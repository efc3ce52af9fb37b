"""What was known of a window when: figures said anew are kept beside those said before."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Row = Mapping[str, Any]
_FIGURE = ("window_end_date", "population", "metric")
_SAID = ("value", "low", "high", "row_count", "event_count", "verdict")
_MODEL = ("model_name", "model_version")
_SAME = 1e-9  # rows summed in another order give another last digit


def as_known(revisions: DataFrame, moment: datetime) -> DataFrame:
    """gold.performance_revision as it was known at a moment: the last word on each figure up to
    then, one row per model version, window, population and metric; figures taken back are left out.
    """
    key = [*_MODEL, *_FIGURE]
    told = [name for name in revisions.columns if name not in key]
    until = revisions.filter(F.col("known_at") <= F.lit(moment))
    last = until.groupBy(*key).agg(F.max_by(F.struct(*told), "known_at").alias("last"))
    return last.select(*key, "last.*").select(*revisions.columns).filter("row_count > 0")


def revised(
    known: Iterable[Row], figures: Iterable[Row], verdicts: Iterable[Row]
) -> list[dict[str, Any]]:
    """gold.performance_revision rows, without model and clock, of what is said for the first time
    or otherwise than in `known` (see `as_known`), and of what is said no more.

    `figures` are rows of gold.model_performance, `verdicts` of gold.performance_verdict.
    """
    meant = {row["window_end_date"]: row["verdict"] for row in verdicts}
    before = {_key(row): row for row in known}
    now = {_key(row): {**row, "verdict": meant[row["window_end_date"]]} for row in figures}
    changed = [row for key, row in now.items() if not _is_same(before.get(key), row)]
    gone = [_taken_back(row) for key, row in before.items() if key not in now]
    names = ("window_start_date", *_FIGURE, *_SAID)
    return [{name: row[name] for name in names} for row in (*changed, *gone)]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _FIGURE)


def _is_same(before: Row | None, now: Row) -> bool:
    return before is not None and all(_equal(before[name], now[name]) for name in _SAID)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)
    return bool(one == other)


def _taken_back(row: Row) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(("value", "low", "high"))
    return {**row, **nothing, "row_count": 0, "event_count": 0}
