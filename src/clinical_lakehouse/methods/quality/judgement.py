"""From what was counted to results: exact thresholds; nothing judged is nothing passed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from clinical_lakehouse.methods.quality.asked import KEYS, SLICES, SUMS, WHOLE, Asked
from clinical_lakehouse.tables.contract import Check, Measure

PASSED, FAILED = "passed", "failed"
NOT_APPLICABLE, NOT_JUDGED = "not_applicable", "not_judged"


@dataclass(frozen=True)
class Count:
    """Rows that a check judged, and those of them that failed."""

    judged: int
    failed: int


@dataclass(frozen=True)
class Counted:
    """Everything counted of one table: in all, by slice, and its measures (null: no rows)."""

    rows: int
    counts: Mapping[str, Count]
    sliced: Mapping[tuple[str, str], Mapping[str, Count]]
    measured: Mapping[Measure, float | None]


def is_over(count: Count, tolerated: str) -> bool:
    """Do more rows fail than are tolerated? Compared as fractions: 5 of 100 is not over 0.05, and
    3 of a million are over 0, though both look like 0.00%."""
    return Fraction(count.failed) > Fraction(tolerated) * count.judged


def counted(one: Asked, found: Sequence[Mapping[str, Any]]) -> Counted:
    """What the aggregate's rows of one table say; keys that repeat belong to no slice."""
    sums = [row for row in found if row["part"] == SUMS]
    total = _added([row["found"] for row in sums])
    counts = _counts(one, total) if total else {}
    rows = int(total[0]) if total else 0
    surplus = {int(row["found"][0]): int(row["found"][1]) for row in found if row["part"] == KEYS}
    for number, check in enumerate(one.of_scope("key")):
        counts[check.name] = Count(_judged(one, check, total), surplus.get(number, 0))
    whole = {r["part"]: list(r["found"]) for r in found if r["part"] not in (SUMS, KEYS)}
    return Counted(rows, counts, _sliced(one, sums), _measured(one, whole))


def _measured(one: Asked, whole: Mapping[str, list[float | None]]) -> dict[Measure, float | None]:
    places = {part: iter(values) for part, values in whole.items()}
    return {m: next(places[WHOLE if m.where == "true" else m.where]) for m in one.measures}


def _sliced(
    one: Asked, sums: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], dict[str, Count]]:
    """By dimension and name of slice."""
    added: dict[tuple[str, str], list[Sequence[float]]] = {}
    for row in sums:
        for dimension in SLICES:
            if row[dimension] is not None:
                added.setdefault((dimension, row[dimension]), []).append(row["found"])
    return {place: _counts(one, _added(rows)) for place, rows in added.items()}


def _added(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _counts(one: Asked, sums: Sequence[float]) -> dict[str, Count]:
    start = len(one.denominators())
    checks = one.of_scope("row", "reference")
    return {
        check.name: Count(_judged(one, check, sums), int(failed))
        for check, failed in zip(checks, sums[start:], strict=True)
    }


def _judged(one: Asked, check: Check, sums: Sequence[float]) -> int:
    return int(sums[one.denominators().index(check.where)]) if sums else 0


def row_state(check: Check, count: Count | None) -> str:
    """passed, failed, not_applicable (no row to judge), or not_judged (its column is gone)."""
    if count is None:
        return NOT_JUDGED
    if not count.judged:
        return NOT_APPLICABLE
    return FAILED if is_over(count, check.max_failed_ratio) else PASSED


def passed_ratio(count: Count | None) -> float:
    """Rows that passed over rows judged, 0-1; 1 where none was judged, 0 where none could be."""
    if count is None:
        return 0.0
    return float(1 - Fraction(count.failed, count.judged)) if count.judged else 1.0


def table_state(check: Check, value: float | None, against: float | None) -> str:
    """Is the measured figure within its limits? Of a reconciliation: do both figures agree?"""
    if check.against is not None:
        both = (value or 0.0, against or 0.0)
        largest = max(abs(both[0]), abs(both[1]))
        gap = abs(both[0] - both[1]) / largest if largest else 0.0
        return FAILED if gap > (check.high or 0.0) else PASSED
    if value is None:
        return NOT_APPLICABLE
    is_low = check.low is not None and value < check.low
    is_high = check.high is not None and value > check.high
    return FAILED if is_low or is_high else PASSED
