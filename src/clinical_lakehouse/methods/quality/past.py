"""What earlier runs found, read as series: of each check, of its sites, of measured figures."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.asked import SLICES
from clinical_lakehouse.methods.quality.judgement import Count
from clinical_lakehouse.methods.quality.results import Outcome, Row, Verdict
from clinical_lakehouse.methods.quality.trends import (
    Point,
    Usual,
    measure_spread,
    measure_steps,
    share_spread,
    share_steps,
    usual,
)

WEEKS = timedelta(weeks=12)
_RULE = ("table_name", "check_name", "rule_version")
_SLICE = (*_RULE, "dimension", "slice")
_PLACE = ("table_name", "check_name", "dimension", "slice")
# Trends of these say what a limit cannot; an age or a gap is judged by its limit alone.
_MEASURED = ("volume", "distribution")

_FEW_SITES = 2

Key = tuple[str, ...]


def recent(rows: DataFrame, as_of: datetime) -> DataFrame:
    """Rows of the 12 weeks before this run; its own, of an earlier attempt, are not among them."""
    at = F.col("checked_at")
    return rows.filter((at < F.lit(as_of)) & (at >= F.lit(as_of - WEEKS)))


def series(results: DataFrame, measures: DataFrame, slices: DataFrame) -> list[DataFrame]:
    """Per check and version its runs' failing shares; the same of measured figures that were within
    their limits; per site the runs in which some of its rows failed."""
    share = F.col("failed_count") / F.col("row_count")
    fit = measures.filter("state = 'passed' AND measured IS NOT NULL")
    return [
        _series(results.filter("row_count > 0 AND rule_version IS NOT NULL"), share, _RULE),
        _series(fit.filter(F.col("kind").isin(*_MEASURED)), F.col("measured"), _RULE),
        _series(slices, share, _SLICE),
    ]


def _series(rows: DataFrame, value: Column, by: Sequence[str]) -> DataFrame:
    point = F.struct("checked_at", value.cast("double").alias("value"))
    return rows.groupBy(*by).agg(F.collect_list(point).alias("points"))


@dataclass(frozen=True)
class Past:
    """Earlier runs: points by check and version (and site); runs of each site; runs that stepped,
    which are nobody's usual."""

    shares: Mapping[Key, Sequence[Point]] = field(default_factory=dict)
    measures: Mapping[Key, Sequence[Point]] = field(default_factory=dict)
    slices: Mapping[Key, Sequence[Point]] = field(default_factory=dict)
    runs: Mapping[Key, Collection[datetime]] = field(default_factory=dict)
    stepped: Mapping[Key, Collection[datetime]] = field(default_factory=dict)

    def of_check(self, one: Outcome) -> list[Point]:
        """The check's earlier figures."""
        known = self.shares if one.count else self.measures
        return self._usual_ones(known.get(one.rule, ()), (*one.rule[:2], "table", one.rule[0]))

    def of_slice(self, one: Outcome, place: Key) -> list[Point]:
        """Its failing shares at one site; a run that judged the site and found nothing is a 0."""
        failing = {p.at: p.value for p in self.slices.get((*one.rule, *place), ())}
        judged = {p.at for p in self.shares.get(one.rule, ())} & set(self.runs.get(place, ()))
        points = [Point(at, failing.get(at, 0.0)) for at in sorted(judged)]
        return self._usual_ones(points, (*one.rule[:2], *place))

    def _usual_ones(self, points: Sequence[Point], place: Key) -> list[Point]:
        stepped = set(self.stepped.get(place, ()))
        return [point for point in points if point.at not in stepped]


def past(found: Sequence[Iterable[Mapping[str, Any]]]) -> Past:
    """From what was collected: three series, scores by site, steps."""
    shares, measures, slices, runs, steps = found
    return Past(
        _points(shares, _RULE), _points(measures, _RULE), _points(slices, _SLICE),
        _moments(runs, ("dimension", "slice")), _moments(steps, _PLACE),
    )  # fmt: skip


def _points(rows: Iterable[Mapping[str, Any]], by: Sequence[str]) -> dict[Key, list[Point]]:
    return {
        tuple(row[n] for n in by): [Point(_utc(p["checked_at"]), p["value"]) for p in row["points"]]
        for row in rows
    }


def _moments(rows: Iterable[Mapping[str, Any]], by: Sequence[str]) -> dict[Key, set[datetime]]:
    found: dict[Key, set[datetime]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in by), set()).add(_utc(row["checked_at"]))
    return found


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def step_rows(found: Verdict, earlier: Past, at: datetime) -> list[Row]:
    """Rows of ops.quality_step (but run and moment): what is not as usual in this run."""
    rows = []
    for one in found.outcomes:
        value = one.measured if one.check.kind in _MEASURED else None
        if one.count and one.count.judged:
            value = one.count.failed / one.count.judged
        expected = usual(earlier.of_check(one), at) if value is not None else None
        if value is not None and expected and _has_stepped(one, expected, value):
            rows.append(_row(one, ("table", one.table.name), value, _held(expected, one.count)))
    for place, counts in found.by_slice.items():
        for one, count in counts:
            expected = usual(earlier.of_slice(one, place), at) if count.failed else None
            share = count.failed / count.judged
            if expected and share_steps(expected, share, count.judged):
                rows.append(_row(one, place, share, _held(expected, count)))
    return rows


def told_steps(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each check the steps that somebody is told of, so that one fault is told once: at one or
    two sites theirs, for more sites the whole table's."""
    by_check: dict[Key, list[Mapping[str, Any]]] = {}
    for step in steps:
        by_check.setdefault((step["table_name"], step["check_name"]), []).append(step)
    return [step for mine in by_check.values() for step in _narrowest(mine)]


def _narrowest(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = {d: [s for s in steps if s["dimension"] == d] for d in ("table", *SLICES)}
    sites = found.pop("site")
    if 0 < len(sites) <= _FEW_SITES:
        return sites
    return next((some for some in found.values() if some), sites)


def _has_stepped(one: Outcome, expected: Usual, value: float) -> bool:
    if one.count:
        return share_steps(expected, value, one.count.judged)
    return measure_steps(expected, value)


def _held(expected: Usual, count: Count | None) -> Usual:
    """What is usual, with the spread that the figure was held against."""
    spread = share_spread(expected, count.judged) if count else measure_spread(expected)
    return replace(expected, spread=spread)


def _row(one: Outcome, place: Key, value: float, expected: Usual) -> Row:
    names = dict(zip(_RULE, one.rule, strict=True))
    return {
        **names, "dimension": place[0], "slice": place[1], "value": value,
        "usual": expected.centre, "spread": expected.spread, "point_count": expected.point_count,
    }  # fmt: skip
