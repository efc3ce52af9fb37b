"""What DQD says of a count: failed, passed, an error, or not applicable and why.

Rules: OHDSI DataQualityDashboard 2.8, R/evaluateThresholds.R and R/calculateNotApplicableStatus.R.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinical_lakehouse.quality.dqd_counts import Frames
from clinical_lakehouse.quality.dqd_suite import DqdCheck

PASSED, FAILED, ERROR, NOT_APPLICABLE = "passed", "failed", "error", "not_applicable"


@dataclass(frozen=True)
class Count:
    """Rows that violate a check and rows it was counted on; or why it could not be counted."""

    violated: int
    counted: int
    error: str | None = None


@dataclass(frozen=True)
class Verdict:
    """A check with its count, its status and, where it is not applicable, the reason."""

    check: DqdCheck
    count: Count
    status: str
    reason: str | None = None

    @property
    def ratio(self) -> float:
        """Violated rows of counted rows, 0 to 1; 0 where none is counted."""
        return self.count.violated / self.count.counted if self.count.counted else 0.0


def verdicts(checks: Sequence[DqdCheck], counts: Sequence[Count], frames: Frames) -> list[Verdict]:
    """One verdict per check, in their order; `counts` are theirs."""
    state = _state(checks, counts, frames)
    return [_verdict(check, count, state) for check, count in zip(checks, counts, strict=True)]


def shape_count(check: DqdCheck, frames: Frames) -> Count:
    """Is the table, or the field, there at all: one row is counted."""
    is_there = check.table in frames
    if is_there and check.field:
        is_there = check.field in {name.lower() for name in frames[check.table].columns}
    return Count(0 if is_there else 1, 1)


@dataclass(frozen=True)
class _State:
    """Which tables and fields are missing or empty."""

    missing_tables: frozenset[str]
    missing_fields: frozenset[tuple[str, str]]
    empty_tables: frozenset[str]
    empty_fields: frozenset[tuple[str, str]]


def _state(checks: Sequence[DqdCheck], counts: Sequence[Count], frames: Frames) -> _State:
    """DQD takes emptiness from measureValueCompleteness: no row, or nothing but nulls."""
    measured = [
        (check, count)
        for check, count in zip(checks, counts, strict=True)
        if check.kind.name == "measureValueCompleteness" and count.error is None
    ]
    named = {(check.table, check.field) for check in checks if check.field}
    return _State(
        missing_tables=frozenset(check.table for check in checks if check.table not in frames),
        missing_fields=frozenset(
            (table, field)
            for table, field in named
            if table in frames and field not in {c.lower() for c in frames[table].columns}
        ),
        empty_tables=frozenset(check.table for check, count in measured if not count.counted),
        empty_fields=frozenset(
            (check.table, check.field)
            for check, count in measured
            if count.violated == count.counted
        ),
    )


def _verdict(check: DqdCheck, count: Count, state: _State) -> Verdict:
    reason = _not_applicable(check, count, state)
    if reason is not None:
        return Verdict(check, count, NOT_APPLICABLE, reason)
    if count.error is not None:
        return Verdict(check, count, ERROR)
    return Verdict(check, count, FAILED if _fails(check, count) else PASSED)


def _fails(check: DqdCheck, count: Count) -> bool:
    """Without a threshold, or with 0%, a single violation fails."""
    if not check.threshold:
        return count.violated > 0
    return count.counted > 0 and 100 * count.violated / count.counted > check.threshold


def _not_applicable(check: DqdCheck, count: Count, state: _State) -> str | None:
    name, table = check.kind.name, check.table.upper()
    if name == "measureConditionEraCompleteness":
        gone = state.missing_tables | state.empty_tables
        return "Table CONDITION_OCCURRENCE is empty." if "condition_occurrence" in gone else None
    if name == "cdmTable":
        return None
    if check.table in state.missing_tables:
        return f"Table {table} does not exist."
    if name in ("measurePersonCompleteness", "cdmField"):
        return None
    if (check.table, check.field) in state.missing_fields:
        return f"Field {table}.{check.field.upper()} does not exist."
    if count.error is not None:
        return None
    if check.table in state.empty_tables:
        return f"Table {table} is empty."
    if name == "measureValueCompleteness":
        return None
    if (check.table, check.field) in state.empty_fields:
        return f"Field {table}.{check.field.upper()} is not populated."
    return _concept_is_missing(check, count)


def _concept_is_missing(check: DqdCheck, count: Count) -> str | None:
    if check.kind.level != "CONCEPT" or count.counted:
        return None
    found = f"{check.field.upper()}={check.words['conceptId']}"
    return f"{found} is missing from the {check.table.upper()} table."


def overview(found: Sequence[Verdict]) -> Mapping[str, float]:
    """DQD's summary (R/summarizeResults.R): what is not failed counts as passed in the whole, what
    passed by category is passed alone."""
    failed = [v for v in found if v.status == FAILED]
    errors = sum(v.status == ERROR for v in found)
    total, share = len(found), 100 * len(failed) / len(found) if found else 0.0
    parts = ("Plausibility", "Conformance", "Completeness")
    by_category = {
        "Total": Counter(v.check.category for v in found),
        "Failed": Counter(v.check.category for v in failed),
        "Passed": Counter(v.check.category for v in found if v.status == PASSED),
    }
    return {
        "countTotal": total,
        "countPassed": total - len(failed),
        "countErrorFailed": errors,
        "countThresholdFailed": len(failed),
        "countOverallFailed": len(failed),
        "percentPassed": round(100 - share, 2),
        "percentFailed": round(share, 2),
        **{f"count{what}{part}": n[part] for what, n in by_category.items() for part in parts},
    }
