"""Where every event goes, counted once, so that each table reads only the sources that reach it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from clinical_lakehouse.standardization import routing
from clinical_lakehouse.standardization.events import Reader, together
from clinical_lakehouse.standardization.persons import lost_persons
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import CODE_MAP


@dataclass(frozen=True)
class Routes:
    """Events by source table, what decides where they go, and how many go where."""

    events: Mapping[str, DataFrame]
    code_map: DataFrame
    lost: DataFrame
    counts: Sequence[Row] = ()

    def routed(self, sources: Iterable[str]) -> DataFrame:
        """The routed events of these sources."""
        chosen = together(self.events[source] for source in sorted(sources))
        return routing.routed(chosen, self.code_map, self.lost)

    def reaching(self, table: Table) -> DataFrame | None:
        """The routed events that belong to the table; only sources that have any are read."""
        here = {c["source_table"] for c in self.counts if _is_placed(c, table)}
        is_here = (F.col("target_table") == table.short_name) & F.col("reason").isNull()
        return self.routed(here).filter(is_here) if here else None

    def unplaced(self) -> DataFrame:
        """gold.unplaced_record rows; only sources that have any are read."""
        sources = {count["source_table"] for count in self.counts if count["reason"]}
        return routing.unplaced(self.routed(sources or self.events))

    def row_count(self, table: Table) -> int:
        """OMOP rows that belong to the table."""
        return sum(count["row_count"] for count in self.counts if _is_placed(count, table))

    def event_count(self, source: str | None = None, reason: str | None = None) -> int:
        """Silver records of one source, or of one reason."""
        chosen = [c for c in self.counts if source in (None, c["source_table"])]
        return sum(c["event_count"] for c in chosen if reason in (None, c["reason"]))

    def surveyed(self) -> "Routes":
        """The same with its counts: at most sources x targets x reasons rows are collected."""
        return replace(self, counts=routing.survey(self.routed(self.events)).collect())


def route(read: Reader, events: Mapping[str, DataFrame]) -> Routes:
    """Where these events go; visits are read only where a date is missing."""
    codes = read(CODE_MAP)
    known = codes.filter("source_concept_id > 0 OR concept_id > 0")
    maps = codes.filter("false") if known.isEmpty() else known
    routes = Routes(events, maps, lost_persons(read(silver.PATIENT))).surveyed()
    undated = {c["source_table"] for c in routes.counts if c["reason"] == "undated"}
    if not undated:
        return routes
    encounters = read(silver.ENCOUNTER)
    dated = {name: routing.with_visit_dates(events[name], encounters) for name in undated}
    kept = [c for c in routes.counts if c["source_table"] not in undated]
    again = replace(routes, events=dated).surveyed()
    return replace(routes, events={**events, **dated}, counts=[*kept, *again.counts])


def received(read: Reader, tables: Iterable[Table]) -> dict[str, int]:
    """Rows of each table, counted in one job."""
    return counted({table.name: read(table) for table in tables})


def counted(rows: Mapping[str, DataFrame]) -> dict[str, int]:
    """How many rows each has, counted in one job."""
    named = [r.agg(F.count(F.lit(1))).select(F.lit(name), "*") for name, r in rows.items()]
    return {row[0]: row[1] for row in reduce(DataFrame.union, named).collect()}


def _is_placed(count: Row, table: Table) -> bool:
    return count["reason"] is None and count["target_table"] == table.short_name
