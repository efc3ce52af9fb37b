"""Tasks of data standardisation: silver FHIR and a vocabulary in, OMOP CDM 5.4 out."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError, SourceError
from clinical_lakehouse.methods.unit_suspicion import suspicions
from clinical_lakehouse.methods.unit_table import factor_rows, with_standard_units
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.standardization import (
    clinical,
    code_map,
    lab_units,
    persons,
    routing,
    visits,
)
from clinical_lakehouse.standardization.concepts import CDM_5_4
from clinical_lakehouse.standardization.events import SOURCES, as_events, together
from clinical_lakehouse.standardization.vocabulary import (
    athena_schema,
    source_concepts,
    standard_concepts,
)
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import (
    CODE_MAP,
    UNIT_CONVERSION,
    UNIT_FACTOR,
    UNIT_SUSPICION,
    UNMAPPED_CODE,
    UNPLACED_RECORD,
    USED_CODE,
)
from clinical_lakehouse.tables.omop_clinical import (
    CDM_SOURCE,
    CONDITION_OCCURRENCE,
    DEATH,
    DRUG_EXPOSURE,
    MEASUREMENT,
    OBSERVATION,
    OBSERVATION_PERIOD,
    PERSON,
    PROCEDURE_OCCURRENCE,
    VISIT_OCCURRENCE,
)
from clinical_lakehouse.tables.omop_vocabulary import (
    ATHENA_FILES,
    CONCEPT,
    CONCEPT_RELATIONSHIP,
    VOCABULARY,
)
from clinical_lakehouse.tables.ops import VOCABULARY_LOAD

_EVENTS = tuple(source.table for source in SOURCES)
_SHAPES = {
    MEASUREMENT.name: (MEASUREMENT, clinical.measurements),
    OBSERVATION.name: (OBSERVATION, clinical.observations),
    DRUG_EXPOSURE.name: (DRUG_EXPOSURE, clinical.drugs),
    CONDITION_OCCURRENCE.name: (CONDITION_OCCURRENCE, clinical.conditions),
    PROCEDURE_OCCURRENCE.name: (PROCEDURE_OCCURRENCE, clinical.procedures),
}
# Two writers at a time: the second costs half, a third costs memory.
_WRITERS = 2


@task(writes=[*ATHENA_FILES.values(), VOCABULARY_LOAD], params={"vocabulary": ""})
def load_vocabulary(run: Run) -> Metrics:
    """Load the changed files of an Athena download (a folder) into the vocabulary tables."""
    known = {row["table_name"]: row.asDict() for row in run.lake.read(VOCABULARY_LOAD).collect()}
    loaded: dict[str, dict[str, Any]] = {}
    for path, table in _athena_files(Path(run.param("vocabulary"))).items():
        digest = _sha256(path)
        if known.get(table.name, {}).get("file_hash") != digest:
            loaded[table.name] = _load(run, table, path, digest)
    if loaded:
        ledger = list({**known, **loaded}.values())
        run.lake.replace(VOCABULARY_LOAD, run.lake.frame(VOCABULARY_LOAD, ledger))
    return {name: entry["row_count"] for name, entry in loaded.items()}


@task(
    reads=[*_EVENTS, CONCEPT, CONCEPT_RELATIONSHIP],
    writes=[USED_CODE, CODE_MAP, UNMAPPED_CODE],
)
def map_codes(run: Run) -> Metrics:
    """Count every code that silver uses and look up its standard concepts."""
    events = {s.table.name: as_events(run.lake.read(s.table), s) for s in SOURCES}
    run.lake.replace(USED_CODE, code_map.used_codes(events))
    used = run.lake.read(USED_CODE)
    concepts, relations = run.lake.read(CONCEPT), run.lake.read(CONCEPT_RELATIONSHIP)
    sources = source_concepts(code_map.known_codes(used), concepts)
    maps = standard_concepts(sources, concepts, relations)
    mapped = run.lake.replace(CODE_MAP, code_map.map_codes(used, maps))
    unmapped = code_map.unmapped_codes(run.lake.read(CODE_MAP))
    listed = run.lake.replace(UNMAPPED_CODE, unmapped)
    return {"mapping_count": mapped.inserted, "unmapped_code_count": listed.inserted}


@task(
    reads=[silver.PATIENT, silver.ENCOUNTER, *_EVENTS],
    writes=[PERSON, OBSERVATION_PERIOD, DEATH, UNPLACED_RECORD],
)
def map_persons(run: Run) -> Metrics:
    """Make persons, the period each was observed in, and deaths."""
    patients = run.lake.read(silver.PATIENT)
    records = [as_events(run.lake.read(s.table), s) for s in SOURCES]
    records.append(run.lake.read(silver.ENCOUNTER))
    made = {
        PERSON: persons.persons(patients, run.as_of.year),
        OBSERVATION_PERIOD: persons.observation_periods(records, patients),
        DEATH: persons.deaths(patients),
    }
    commits = _in_two_threads([partial(run.lake.replace, *item) for item in made.items()])
    unplaced = persons.unplaced_patients(patients)
    listed = unplaced.groupBy("reason").count().collect()
    reasons = {row["reason"]: row["count"] for row in listed}
    placed = patients.count() - reasons.get("birth_year_unknown", 0)
    _require(silver.PATIENT, commits[0].inserted == placed)
    _list_unplaced(run, "source_table = 'silver.patient'", unplaced, sum(reasons.values()))
    counts = zip(made, commits, strict=True)
    return {f"{table.short_name}_count": commit.inserted for table, commit in counts}


@task(reads=[silver.PATIENT, silver.ENCOUNTER], writes=[VISIT_OCCURRENCE, UNPLACED_RECORD])
def map_visits(run: Run) -> Metrics:
    """Make visits of the encounters that took place."""
    encounters, lost = run.lake.read(silver.ENCOUNTER), _lost(run)
    placed = visits.placed_encounters(encounters, lost)
    count = run.lake.replace(VISIT_OCCURRENCE, visits.visits(placed, run.as_of)).inserted
    unplaced = visits.unplaced_encounters(placed)
    missing = encounters.count() - count
    _list_unplaced(run, "source_table = 'silver.encounter'", unplaced, missing)
    return {"visit_occurrence_count": count}


@task(
    reads=[silver.PATIENT, silver.ENCOUNTER, *_EVENTS, CODE_MAP],
    writes=[*(table for table, _ in _SHAPES.values()), UNPLACED_RECORD],
)
def map_events(run: Run) -> Metrics:
    """Make conditions, drugs, procedures, measurements and observations, by their concepts'
    domain."""
    routes = _route(run)
    _check_sources(run, routes)
    _in_two_threads([partial(_write, run, name, routes) for name in _SHAPES])
    reasons = sorted({count["reason"] for count in routes.counts if count["reason"]})
    lost = {f"{r}_count": routes.event_count(reason=r) for r in reasons}
    elsewhere = "source_table NOT IN ('silver.patient', 'silver.encounter')"
    _list_unplaced(run, elsewhere, routes.unplaced(), sum(lost.values()))
    placed = {f"{t.short_name}_count": routes.row_count(t) for t, _ in _SHAPES.values()}
    return {**placed, **lost}


@task(
    reads=[MEASUREMENT, silver.ENCOUNTER, silver.PATIENT],
    writes=[UNIT_FACTOR, UNIT_CONVERSION, UNIT_SUSPICION],
    params={"infer_units": "no"},
)
def standardize_units(run: Run) -> Metrics:
    """Convert every numeric measurement to its code's unit, and list sites whose unit looks wrong;
    infer_units=yes converts their values by the suspected unit."""
    read, frame, is_inferred = (
        run.lake.read,
        run.lake.frame,
        run.param("infer_units", "no") == "yes",
    )
    visits, patients = read(silver.ENCOUNTER), read(silver.PATIENT)
    rows = lab_units.numeric_measurements(read(MEASUREMENT), visits, patients)
    factors = frame(UNIT_FACTOR, known := factor_rows(lab_units.units_seen(rows)))
    found = suspicions(lab_units.site_levels(rows))
    suspected = frame(UNIT_SUSPICION, lab_units.suspicion_rows(found, known, is_inferred))
    run.lake.replace(UNIT_FACTOR, factors)
    run.lake.replace(UNIT_SUSPICION, suspected)
    standard = with_standard_units(rows, factors)
    made = lab_units.with_suspicion(standard, suspected, is_inferred)
    count = run.lake.replace(UNIT_CONVERSION, made).inserted
    return {"unit_conversion_count": count, "suspected_count": len(found)}


@task(
    reads=[VOCABULARY],
    writes=[CDM_SOURCE],
    params={"source_name": "Clinical trial data", "holder": "Not named"},
)
def describe_source(run: Run) -> Metrics:
    """Say in omop.cdm_source what this CDM was made from, when and with which vocabulary."""
    whole = run.lake.read(VOCABULARY).filter("vocabulary_id = 'None'").take(1)
    release = (whole[0]["vocabulary_version"] or "not named") if whole else "none loaded"
    name, day = run.param("source_name", "Clinical trial data"), run.as_of.date()
    source = {
        "cdm_source_name": name[:255],
        "cdm_source_abbreviation": name[:25],
        "cdm_holder": run.param("holder", "Not named")[:255],
        "source_description": "FHIR R4 resources, de-identified, dates shifted per person.",
        "cdm_etl_reference": f"clinical-lakehouse {version('clinical-lakehouse')}",
        "source_release_date": day,
        "cdm_release_date": day,
        "cdm_version": "5.4",
        "cdm_version_concept_id": CDM_5_4,
        "vocabulary_version": release[:20],
    }
    run.lake.replace(CDM_SOURCE, run.lake.frame(CDM_SOURCE, [source]))
    return {"vocabulary_version": release}


def _athena_files(folder: Path) -> dict[Path, Table]:
    """The folder's files that are vocabulary tables; without CONCEPT.csv it is no download."""
    if not folder.is_dir():
        raise SourceError(f"no folder {folder.name!r}; give the folder of an Athena download")
    files = {path.name.upper(): path for path in sorted(folder.iterdir())}
    if "CONCEPT.CSV" not in files:
        raise SourceError(f"{folder.name} holds no CONCEPT.csv; give an unpacked Athena download")
    wanted = {name.upper(): table for name, table in ATHENA_FILES.items()}
    return {files[name]: table for name, table in wanted.items() if name in files}


def _load(run: Run, table: Table, path: Path, digest: str) -> dict[str, Any]:
    """Replace a vocabulary table by a file; returns its row of ops.vocabulary_load."""
    with path.open(encoding="utf-8-sig") as file:
        schema = athena_schema(file.readline(), table)
    rows = run.lake.read_text_csv(path, schema).select(*table.column_names)
    return {
        "table_name": table.name,
        "file_hash": digest,
        "row_count": run.lake.replace(table, rows).inserted,
        "loaded_at": run.as_of,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class _Routes:
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

    def surveyed(self) -> "_Routes":
        """The same with its counts: at most sources x targets x reasons rows are collected."""
        return replace(self, counts=routing.survey(self.routed(self.events)).collect())


def _route(run: Run) -> _Routes:
    """Where every event goes; visits are read only where a date is missing."""
    events = {s.table.name: as_events(run.lake.read(s.table), s) for s in SOURCES}
    concepts = run.lake.read(CODE_MAP).filter("source_concept_id > 0")
    maps = run.lake.frame(CODE_MAP, []) if concepts.isEmpty() else concepts
    routes = _Routes(events, maps, _lost(run)).surveyed()
    undated = {c["source_table"] for c in routes.counts if c["reason"] == "undated"}
    if not undated:
        return routes
    encounters = run.lake.read(silver.ENCOUNTER)
    dated = {name: routing.with_visit_dates(events[name], encounters) for name in undated}
    kept = [c for c in routes.counts if c["source_table"] not in undated]
    again = replace(routes, events=dated).surveyed()
    return replace(routes, events={**events, **dated}, counts=[*kept, *again.counts])


def _lost(run: Run) -> DataFrame:
    """Persons without a place in OMOP; where there are none, a relation known to be empty."""
    lost = persons.unplaced_persons(run.lake.read(silver.PATIENT))
    return lost.filter("false") if lost.isEmpty() else lost


def _is_placed(count: Row, table: Table) -> bool:
    return count["reason"] is None and count["target_table"] == table.short_name


def _write(run: Run, name: str, routes: _Routes) -> None:
    """Replace one OMOP table by the events that reach it; another number of rows stops the run."""
    table, shape = _SHAPES[name]
    found, rows = routes.reaching(table), run.lake.frame(table, [])
    if found is not None:
        rows = shape(routing.with_value_concepts(found, routes.code_map))
    _require(table, run.lake.replace(table, rows).inserted == routes.row_count(table))


def _check_sources(run: Run, routes: _Routes) -> None:
    """Each silver record has exactly one first row or one reason."""
    made = [table for table in _EVENTS if run.lake.exists(table)]
    if not made:
        return
    named = [
        run.lake.read(table).agg(F.count(F.lit(1))).select(F.lit(table.name), "*") for table in made
    ]
    received = {row[0]: row[1] for row in reduce(DataFrame.union, named).collect()}
    for table in made:
        _require(table, routes.event_count(table.name) == received[table.name])


def _list_unplaced(run: Run, where: str, rows: DataFrame, missing: int) -> None:
    """List `rows`, which must be `missing`, as the records of some sources (`where`) without a
    place; nothing to list, now or before, is no write."""
    if missing == 0 and run.lake.read(UNPLACED_RECORD).filter(where).isEmpty():
        return
    run.lake.replace(UNPLACED_RECORD, rows, where=where)
    listed = run.lake.read(UNPLACED_RECORD).filter(where).count()
    _require(UNPLACED_RECORD, listed == missing)


def _require(table: Table, is_accounted: bool) -> None:
    if not is_accounted:
        raise AccountingError(f"{table.name}: not every record is placed or has a reason")


def _in_two_threads(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(_WRITERS) as pool:
        return [done.result() for done in [pool.submit(job) for job in jobs]]
