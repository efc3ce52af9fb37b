"""From an OMOP row to the file and line it came from, and back from a resource."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.identity import with_own_key
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.standardization import eras, lineage
from clinical_lakehouse.standardization.events import SOURCES, Source
from clinical_lakehouse.tables import omop_clinical, omop_derived, omop_vocabulary
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE, QUARANTINE
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import CODE_MAP, UNPLACED_RECORD
from clinical_lakehouse.tables.vault import SUBJECT
from clinical_lakehouse.tables.views import silver_views

_TYPES = {view.table.name: view.resource for view in silver_views()}


@dataclass(frozen=True)
class Place:
    """Where a version of a resource stands; id and version identify a person."""

    file_name: str
    line: int
    entry: int
    status: str
    resource_type: str
    resource_id: str
    version_id: str | None


@dataclass(frozen=True)
class Record:
    """A row of a table by its key; `note` says which part of it, or why it goes no further."""

    table: str
    key: int
    note: str = ""


def origins(lake: Lakehouse, table: Table, key: int) -> list[Record]:
    """Silver records that an OMOP row is made of; UsageError for a table that no record feeds."""
    if table.name in lineage.SAME_KEY:
        return [Record(t.name, key) for t in lineage.SAME_KEY[table.name] if _holds(lake, t, key)]
    if table in lineage.EVENT_TABLES:
        if not _holds(lake, table, key):
            return []
        counts = _map_counts(lake)
        found = [_sources(lake, source, counts, key) for source in SOURCES]
        return [record for records in found for record in records]
    members = _era_members(lake, table, key)
    return [record for other, own in members for record in origins(lake, other, own)]


def destinations(lake: Lakehouse, table: Table, key: int) -> list[Record]:
    """OMOP rows that a silver record became, and why it (or a part of it) became none."""
    same = [name for name, sources in lineage.SAME_KEY.items() if table in sources]
    found = [Record(name, key) for name in same if _holds(lake, table_named(name), key)]
    own = F.col("source_key") == key
    counts = _map_counts(lake)
    for source in (source for source in SOURCES if source.table is table):
        rows = lake.read(table).filter(F.col(source.key) == key)
        keyed = lineage.event_keys(rows, source, counts.get(table.name, 1))
        keys = [row["omop_key"] for row in keyed.collect()]
        found += [
            Record(other.name, row[0])
            for other in lineage.EVENT_TABLES
            for row in _with_keys(lake, other, keys).collect()
        ]
    unplaced = lake.read(UNPLACED_RECORD).filter(own & (F.col("source_table") == table.name))
    return found + [
        Record(UNPLACED_RECORD.name, key, f"component {row.component_index}: {row.reason}")
        for row in unplaced.collect()
    ]


def places(run: Run, record: Record) -> list[Place]:
    """Every version of the resource that a silver record is made of, as it stands in bronze."""
    resource_type = _TYPES[record.table]
    rows = run.lake.read(FHIR_RESOURCE).filter(F.col("resource_type") == resource_type)
    return _places(_keyed(run, rows, resource_type).filter(F.col("own_key") == record.key))


def records(run: Run, resource: str) -> tuple[list[Place], list[Record]]:
    """Where a resource (`Type/id`) stands in bronze, and its silver record or why it has none."""
    resource_type, _, id_ = resource.partition("/")
    if not resource_type or not id_:
        raise UsageError("--resource must be Type/id, for example Observation/obs-1")
    is_it = (F.col("resource_type") == resource_type) & (F.col("resource_id") == id_)
    received = run.lake.read(FHIR_RESOURCE).filter(is_it)
    found = _places(received)
    table = next((t for t, kind in _TYPES.items() if kind == resource_type), None)
    refused = run.lake.read(QUARANTINE).filter(is_it).select("reason").distinct().collect()
    notes = [Record(QUARANTINE.name, 0, row["reason"]) for row in refused]
    if table is None:
        return found, [*notes, Record("silver", 0, f"{resource_type} is kept in bronze only")]
    if not found:
        return [], notes
    own = _keyed(run, received, resource_type).select("own_key").take(1)
    if own and _holds(run.lake, table_named(table), own[0][0]):
        return found, [*notes, Record(table, own[0][0])]
    why = "retracted or deleted, or its person is not known or may not be used"
    return found, notes or [Record(table, 0, why)]


def _keyed(run: Run, rows: DataFrame, resource_type: str) -> DataFrame:
    """Bronze rows of one type with their key `own_key`; a person's stands in the vault."""
    return with_own_key(rows, resource_type, run.lake.read(SUBJECT), vault_keys(run).pseudonym)


def told(
    run: Run, start: str | tuple[Table, int], is_identified: bool
) -> list[tuple[str, str, str]]:
    """The way from an OMOP row (table, key) to bronze, or from a resource (`Type/id`) to OMOP, as
    lines: step, where, what. Ids and versions of resources stand there only if `is_identified`."""
    if isinstance(start, str):
        found, kept = records(run, start)
        lines = [_told_place(place, is_identified) for place in found]
        for record in kept:
            lines.append(("silver", record.table, record.note or str(record.key)))
            if not record.note:
                rows = destinations(run.lake, table_named(record.table), record.key)
                lines += [("omop", r.table, r.note or str(r.key)) for r in rows]
        return lines or [("bronze", FHIR_RESOURCE.name, "no such resource was received")]
    table, key = start
    lines = []
    for record in origins(run.lake, table, key):
        lines.append(("silver", record.table, f"{record.key} {record.note}".strip()))
        lines += [_told_place(place, is_identified) for place in places(run, record)]
    return lines or [("omop", table.name, "no row with this key")]


def _told_place(place: Place, is_identified: bool) -> tuple[str, str, str]:
    line = f"line {place.line}" + (f", entry {place.entry}" if place.entry else "")
    own = f"{place.resource_type}/{place.resource_id} version {place.version_id or 'not sent'}"
    what = f"{place.status} {own if is_identified else place.resource_type}"
    return ("bronze", f"{place.file_name} {line}", what)


def _sources(lake: Lakehouse, source: Source, counts: dict[str, int], key: int) -> Iterable[Record]:
    rows = lake.read(source.table)
    keyed = lineage.event_keys(rows, source, counts.get(source.table.name, 1))
    for row in keyed.filter(F.col("omop_key") == key).collect():
        part = f"component {row['component_index']}, concept {row['map_index']}"
        yield Record(source.table.name, row["source_key"], part)


def _map_counts(lake: Lakehouse) -> dict[str, int]:
    """The most concepts that a code of each silver table maps to."""
    events = lake.read(CODE_MAP).filter("role = 'event'").groupBy("source_table")
    return {row[0]: row[1] + 1 for row in events.agg(F.max("map_index")).collect()}


def _era_members(lake: Lakehouse, table: Table, key: int) -> Sequence[tuple[Table, int]]:
    """The rows of other OMOP tables that an era is made of."""
    if table is omop_derived.CONDITION_ERA:
        era = lake.read(table).filter(F.col("condition_era_id") == key)
        other = omop_clinical.CONDITION_OCCURRENCE
        rows = lineage.condition_era_members(era, lake.read(other))
    elif table is omop_derived.DRUG_ERA:
        era, other = lake.read(table).filter(F.col("drug_era_id") == key), _EXPOSURE
        concepts, ancestors = (lake.read(t) for t in (_CONCEPT, _ANCESTOR))
        known = eras.ingredients(concepts, ancestors)
        rows = lineage.drug_era_members(era, lake.read(other), known)
    elif table is omop_derived.DOSE_ERA:
        era, other = lake.read(table).filter(F.col("dose_era_id") == key), _EXPOSURE
        daily = eras.daily_doses(lake.read(other), lake.read(omop_vocabulary.DRUG_STRENGTH))
        rows = lineage.dose_era_members(era, daily)
    else:
        raise UsageError(f"{table.name} is not made of single records; trace an omop table of them")
    return [(other, row[0]) for row in rows.select(other.key[0]).collect()]


_EXPOSURE = omop_clinical.DRUG_EXPOSURE
_CONCEPT, _ANCESTOR = omop_vocabulary.CONCEPT, omop_vocabulary.CONCEPT_ANCESTOR


def _holds(lake: Lakehouse, table: Table, key: int) -> bool:
    return not _with_keys(lake, table, [key]).isEmpty()


def _with_keys(lake: Lakehouse, table: Table, keys: Sequence[int]) -> DataFrame:
    return lake.read(table).filter(F.col(table.key[0]).isin(list(keys))).select(table.key[0])


def _places(rows: DataFrame) -> list[Place]:
    names = ("file_name", "line", "entry", "status", "resource_type", "resource_id", "version_id")
    found = rows.select(*names).collect()
    return sorted((Place(*row) for row in found), key=lambda p: (p.file_name, p.line, p.entry))
