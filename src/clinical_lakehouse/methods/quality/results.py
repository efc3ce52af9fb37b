"""Results of a run as rows of ops: of checks, of whole tables, by site, steps and scores."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clinical_lakehouse.methods.quality.asked import SLICES, Asked
from clinical_lakehouse.methods.quality.judgement import (
    FAILED,
    NOT_APPLICABLE,
    NOT_JUDGED,
    PASSED,
    Count,
    Counted,
    counted,
    is_over,
    passed_ratio,
    row_state,
    table_state,
)
from clinical_lakehouse.methods.quality.scores import Judged, Score, Weights, score
from clinical_lakehouse.tables.contract import Check, Measure, Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one check says of one table: a count of rows, or a figure of the whole table."""

    table: Table
    check: Check
    state: str
    count: Count | None = None
    measured: float | None = None
    against: float | None = None
    detail: str | None = None

    @property
    def passed(self) -> float:
        """Its share in a score, 0-1."""
        if self.check.scope == "table":
            return float(self.state == PASSED)
        return passed_ratio(self.count)

    @property
    def rule(self) -> tuple[str, str, str]:
        """Table, check and its version."""
        return self.table.name, self.check.name, self.check.version


@dataclass(frozen=True)
class Verdict:
    """Everything that one look at the lake said."""

    asked: Sequence[Asked]
    outcomes: Sequence[Outcome]
    by_slice: Mapping[tuple[str, str], Sequence[tuple[Outcome, Count]]]
    scores: Mapping[tuple[str, str], Score]

    @property
    def failing(self) -> list[Outcome]:
        """Outcomes over what is tolerated, and those that could not be judged."""
        return [one for one in self.outcomes if one.state in (FAILED, NOT_JUDGED)]


def verdict(
    tables: Sequence[Asked], found: Iterable[Mapping[str, Any]], weights: Weights
) -> Verdict:
    """The verdict from what the one aggregate gave."""
    rows: dict[str, list[Mapping[str, Any]]] = {one.table.name: [] for one in tables}
    for row in found:
        rows[row["table_name"]].append(row)
    counts = {one.table.name: counted(one, rows[one.table.name]) for one in tables}
    outcomes = [outcome for one in tables for outcome in _outcomes(one, counts)]
    by_slice = _by_slice(tables, counts, outcomes)
    return Verdict(tables, outcomes, by_slice, _scores(outcomes, by_slice, weights))


def _outcomes(one: Asked, counts: Mapping[str, Counted]) -> Iterator[Outcome]:
    own = counts[one.table.name]
    for check in one.checks:
        if check.kind == "schema":
            state = FAILED if one.drift.size else PASSED
            yield Outcome(one.table, check, state, None, one.drift.size, None, str(one.drift))
        elif check.measure is not None:
            yield _of_whole(one.table, check, counts)
        else:
            count = own.counts.get(check.name, Count(0, 0))
            yield Outcome(one.table, check, row_state(check, count), count)
    for check in one.unasked:
        yield Outcome(one.table, check, NOT_JUDGED)


def _of_whole(table: Table, check: Check, counts: Mapping[str, Counted]) -> Outcome:
    def figure(measure: Measure | None) -> float | None:
        if measure is None or (measure.table or table.name) not in counts:
            return None
        return counts[measure.table or table.name].measured.get(replace(measure, table=""))

    value, against = figure(check.measure), figure(check.against)
    if check.against is not None and check.against.table not in counts:
        return Outcome(table, check, NOT_APPLICABLE, measured=value)
    state = table_state(check, value, against)
    return Outcome(table, check, state, measured=value, against=against)


def _by_slice(
    tables: Sequence[Asked], counts: Mapping[str, Counted], outcomes: Sequence[Outcome]
) -> dict[tuple[str, str], list[tuple[Outcome, Count]]]:
    """By dimension and slice every check that judged rows of it."""
    known = {(one.table.name, one.check.name): one for one in outcomes}
    found: dict[tuple[str, str], list[tuple[Outcome, Count]]] = {}
    for one in tables:
        for place, own in counts[one.table.name].sliced.items():
            judged = [(known[one.table.name, n], count) for n, count in own.items() if count.judged]
            found.setdefault(place, []).extend(judged)
    return found


def _scores(
    outcomes: Sequence[Outcome],
    by_slice: Mapping[tuple[str, str], Sequence[tuple[Outcome, Count]]],
    weights: Weights,
) -> dict[tuple[str, str], Score]:
    judged: dict[tuple[str, str], list[Judged]] = {}
    for one in outcomes:
        if one.state != NOT_APPLICABLE:
            share = Judged(one.check.severity, one.passed, one.state != PASSED)
            judged.setdefault(("table", one.table.name), []).append(share)
    for place, counts in by_slice.items():
        judged[place] = [
            Judged(one.check.severity, passed_ratio(count),
                   is_over(count, one.check.max_failed_ratio))
            for one, count in counts
        ]  # fmt: skip
    found = {place: score(checks, weights) for place, checks in judged.items()}
    return {place: one for place, one in found.items() if one is not None}


def result_rows(found: Verdict, samples: Mapping[tuple[str, str, str], Sequence[str]]) -> list[Row]:
    """Rows of ops.quality_result (but run and moment): a check each that judges rows."""
    return [
        {
            **_named(one),
            "row_count": one.count.judged if one.count else 0,
            "failed_count": one.count.failed if one.count else 0,
            "passed_ratio": one.passed,
            "max_failed_ratio": float(one.check.max_failed_ratio),
            "sample_keys": list(samples.get(one.rule, ())),
        }
        for one in found.outcomes
        if one.check.scope != "table"
    ]


def table_rows(found: Verdict) -> list[Row]:
    """Rows of ops.quality_table_result (but run and moment)."""
    return [
        {
            **_named(one),
            "measured": _float(one.measured),
            "against": _float(one.against),
            "low": _float(one.check.low),
            "high": _float(one.check.high),
            "detail": one.detail or None,
        }
        for one in found.outcomes
        if one.check.scope == "table"
    ]


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _named(one: Outcome) -> Row:
    return {
        "table_name": one.table.name,
        "check_name": one.check.name,
        "severity": one.check.severity.value,
        "kind": one.check.kind,
        "category": one.check.category,
        "state": one.state,
        "rule_version": one.check.version,
        "owner": one.check.owner or one.table.owner,
    }


def slice_rows(found: Verdict) -> list[Row]:
    """Rows of ops.quality_slice (but run and moment): only where rows failed."""
    return [
        {
            "table_name": one.table.name,
            "check_name": one.check.name,
            "rule_version": one.check.version,
            "dimension": dimension,
            "slice": name,
            "row_count": count.judged,
            "failed_count": count.failed,
        }
        for (dimension, name), counts in found.by_slice.items()
        for one, count in counts
        if count.failed
    ]


def score_rows(found: Verdict) -> list[Row]:
    """Rows of ops.quality_score (but run and moment)."""
    order = ("table", *SLICES)
    places = sorted(found.scores, key=lambda place: (order.index(place[0]), place[1]))
    return [{"dimension": d, "slice": name, **vars(found.scores[d, name])} for d, name in places]
