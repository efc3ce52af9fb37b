"""The tables of events: all made anew, or only the rows of what has changed."""

from collections.abc import Mapping
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.standardization import persons, routing, visits, vocabulary_change
from clinical_lakehouse.standardization.clinical import SHAPES
from clinical_lakehouse.standardization.events import (
    EVENT_TABLES,
    SOURCES,
    all_events,
)
from clinical_lakehouse.standardization.increments import RECORD, Increment, of_records, with_gone
from clinical_lakehouse.standardization.routes import Routes, counted, received, route_all
from clinical_lakehouse.standardization.writing import (
    in_two_threads,
    list_unplaced,
    rebuild,
    require,
)
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import (
    CODE_MAP,
    GONE_ROW,
    RESTATED_RECORD,
    UNPLACED_RECORD,
    VOCABULARY_CHANGE,
)
from clinical_lakehouse.tables.omop_clinical import VISIT_OCCURRENCE
from clinical_lakehouse.tables.omop_records import NOTE, VISIT_DETAIL

_ELSEWHERE = "source_table NOT IN ('silver.patient', 'silver.encounter', 'silver.coverage')"
INPUTS = (silver.PATIENT, silver.ENCOUNTER, silver.PRACTITIONER, *EVENT_TABLES, CODE_MAP)
OUTPUTS = tuple(table for table, _ in SHAPES.values())


def map_all(run: Run) -> Metrics:
    """Make all tables of events, and the list of events without a place; rows by table."""
    read = run.lake.read
    routes, links = route_all(read), visits.links(read(VISIT_OCCURRENCE), read(VISIT_DETAIL))
    for name, count in received(read, [source.table for source in SOURCES]).items():
        require(name, routes.event_count(name) == count)
    in_two_threads([partial(_write, run, table, routes, links) for table in OUTPUTS])
    for table in (NOTE, VOCABULARY_CHANGE):
        run.lake.ensure(table)
    reasons = sorted({count["reason"] for count in routes.counts if count["reason"]})
    lost = {f"{r}_count": routes.event_count(reason=r) for r in reasons}
    list_unplaced(run, _ELSEWHERE, routes.unplaced(), sum(lost.values()))
    placed = {f"{t.short_name}_count": routes.row_count(t) for t in OUTPUTS}
    return {**placed, **lost}


def versions(run: Run) -> dict[str, int]:
    """Delta versions of what the events' tables are made of, and of these tables themselves."""
    return {t.name: run.lake.version(t) for t in (*INPUTS, *OUTPUTS)}


def changed_codes(run: Run, before: int, now: int) -> DataFrame:
    """Codes whose concepts have changed since the code map's version `before`, listed in
    gold.vocabulary_change; the list comes first, so that a killed run leaves no change unsaid."""
    if before < 0 or before == now:
        return run.lake.frame(VOCABULARY_CHANGE, [])
    earlier, later = (run.lake.read(CODE_MAP, version=version) for version in (before, now))
    found = vocabulary_change.changes(earlier, later, run.as_of)
    if found.isEmpty():
        return run.lake.frame(VOCABULARY_CHANGE, [])
    run.lake.merge(VOCABULARY_CHANGE, found)
    return run.lake.read(VOCABULARY_CHANGE).filter(F.col("changed_at") == F.lit(run.as_of))


def map_increment(run: Run, increment: Increment, codes: DataFrame) -> Metrics | None:
    """Write only the rows of records that changed, or hang on what changed; all other rows, and
    their files, stay as they are. None, and nothing of OMOP written, where that does not pay."""
    how, total = run.settings.standardization, sum(received(run.lake.read, EVENT_TABLES).values())
    if increment.is_silver_changed(INPUTS) and total < how.increment_from:
        return None
    touched = run.lake.replace(RESTATED_RECORD, increment.records(codes)).inserted
    counts = {"codes_changed": codes.count(), "records_restated": touched}
    if touched == 0:
        return counts
    if touched > how.increment_share_max * total:
        return None
    return {**counts, **_restate_all(run, increment, run.lake.read(RESTATED_RECORD))}


def _restate_all(run: Run, increment: Increment, records: DataFrame) -> Metrics:
    """Bring every table to what these records are now; by table how many rows came of it."""
    read = run.lake.read
    events = of_records(all_events(read), records)
    routes = _routes_of(run, events)
    old = increment.old_keys(events, read(CODE_MAP, version=increment.seen[CODE_MAP.name]))
    kept = routes.routed(routes.events).filter("reason IS NULL").select(*GONE_ROW.key)
    # Written down once: every table's MERGE would otherwise find it out again.
    run.lake.replace(GONE_ROW, old.join(kept, list(GONE_ROW.key), "left_anti"))
    gone = read(GONE_ROW)
    held = {row[0] for row in gone.select("target_table").distinct().collect()}
    links = visits.links(read(VISIT_OCCURRENCE), read(VISIT_DETAIL))
    targets = [t for t in OUTPUTS if routes.row_count(t) or t.short_name in held]
    done = in_two_threads([partial(_restate, run, t, routes, links, gone) for t in targets])
    _restate_unplaced(run, routes, records)
    return {f"{t.short_name}_restated": count for t, count in zip(targets, done, strict=True)}


def _routes_of(run: Run, events: Mapping[str, DataFrame]) -> Routes:
    """Where these events go; one that would go nowhere, without a reason, stops the run."""
    read = run.lake.read
    dated = {n: routing.with_visit_dates(e, read(silver.ENCOUNTER)) for n, e in events.items()}
    lost = persons.lost_persons(read(silver.PATIENT))
    routes = Routes(dated, read(CODE_MAP), lost).surveyed()
    for name, count in counted(events).items():
        require(name, routes.event_count(name) == count)
    return routes


def _restate(run: Run, table: Table, routes: Routes, links: DataFrame, gone: DataFrame) -> int:
    """Bring one OMOP table to what its routed events are now; how many rows changed, came, went."""
    found = routes.reaching(table)
    rows = run.lake.frame(table, []) if found is None else _shaped(table, found, routes, links)
    own = gone.filter(F.col("target_table") == table.short_name)
    keys = own.select(F.col("omop_key").alias(table.key[0]))
    commit = run.lake.merge(table, with_gone(rows, keys), deleted="is_gone")
    return commit.inserted + commit.updated + commit.deleted


def _restate_unplaced(run: Run, routes: Routes, records: DataFrame) -> None:
    """List these records' events without a place, and no others of theirs."""
    key = list(UNPLACED_RECORD.key)
    before = run.lake.read(UNPLACED_RECORD).join(records, list(RECORD), "left_semi").select(*key)
    reasons = [count["reason"] for count in routes.counts if count["reason"]]
    if reasons or not before.isEmpty():
        rows = routes.unplaced()
        gone = before.join(rows.select(*key), key, "left_anti")
        run.lake.merge(UNPLACED_RECORD, with_gone(rows, gone), deleted="is_gone")


def _write(run: Run, table: Table, routes: Routes, links: DataFrame) -> None:
    """Replace one OMOP table by the events that reach it; another number of rows stops the run."""
    found, count = routes.reaching(table), 0
    if found is None:
        rebuild(run, table, run.lake.frame(table, []))
    else:
        count = run.lake.replace(table, _shaped(table, found, routes, links)).inserted
    require(table.name, count == routes.row_count(table))


def _shaped(table: Table, found: DataFrame, routes: Routes, links: DataFrame) -> DataFrame:
    """Rows of an OMOP table from the routed events that reach it."""
    _, shape = SHAPES[table.name]
    linked = routing.with_visits(found, links)
    return shape(routing.with_value_concepts(linked, routes.code_map))
