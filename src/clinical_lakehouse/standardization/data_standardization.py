"""Tasks of data standardisation: silver FHIR and a vocabulary in, OMOP CDM 5.4 out."""

from collections.abc import Mapping
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError
from clinical_lakehouse.methods.concept_lookup import (
    human_concepts,
    source_concepts,
    standard_concepts,
)
from clinical_lakehouse.methods.unit_suspicion import suspicions
from clinical_lakehouse.methods.unit_table import factor_rows, with_standard_units
from clinical_lakehouse.operators.medical_coding import MedicalCoding, check_codes
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.ledger import code_version
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.writing import in_two_threads, rebuild
from clinical_lakehouse.standardization import (
    code_map,
    eras,
    facts,
    lab_units,
    persons,
    places,
    visits,
    vocabulary_change,
)
from clinical_lakehouse.standardization.event_tables import INPUTS, OUTPUTS, shaped
from clinical_lakehouse.standardization.events import EVENT_TABLES, all_events
from clinical_lakehouse.standardization.increments import RECORD, Increment, of_records, with_gone
from clinical_lakehouse.standardization.routes import Routes, counted, received, route
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_codes import CODE_RELEASE, CODE_STATUS, CODE_TRANSLATION
from clinical_lakehouse.tables.gold_standardization import (
    CODE_MAP,
    CODING_REVIEW,
    GONE_ROW,
    RESTATED_RECORD,
    UNIT_CONVERSION,
    UNIT_FACTOR,
    UNIT_SUSPICION,
    UNMAPPED_CODE,
    UNPLACED_RECORD,
    USED_CODE,
    VOCABULARY_CHANGE,
)
from clinical_lakehouse.tables.omop_clinical import (
    CDM_SOURCE,
    CONDITION_OCCURRENCE,
    DEATH,
    DRUG_EXPOSURE,
    MEASUREMENT,
    OBSERVATION_PERIOD,
    PERSON,
    VISIT_OCCURRENCE,
)
from clinical_lakehouse.tables.omop_derived import CONDITION_ERA, DOSE_ERA, DRUG_ERA, METADATA
from clinical_lakehouse.tables.omop_places import CARE_SITE, LOCATION, PROVIDER
from clinical_lakehouse.tables.omop_records import (
    NOTE,
    PAYER_PLAN_PERIOD,
    VISIT_DETAIL,
)
from clinical_lakehouse.tables.omop_vocabulary import (
    CONCEPT,
    CONCEPT_ANCESTOR,
    CONCEPT_RELATIONSHIP,
    CONCEPT_SYNONYM,
    DRUG_STRENGTH,
    SOURCE_TO_CONCEPT_MAP,
    VOCABULARY,
)
from clinical_lakehouse.tables.ops import BOOKMARK

_ELSEWHERE = "source_table NOT IN ('silver.patient', 'silver.encounter', 'silver.coverage')"
EVENTS_READER = f"data-standardization-map-events {code_version()}"


@task(
    reads=[*EVENT_TABLES, CONCEPT, CONCEPT_RELATIONSHIP, SOURCE_TO_CONCEPT_MAP],
    writes=[USED_CODE, CODE_MAP, UNMAPPED_CODE],
)
def map_codes(run: Run) -> Metrics:
    """Count every code that silver uses and look up its standard concepts."""
    run.lake.replace(USED_CODE, code_map.used_codes(all_events(run.lake.read)))
    used, concepts = run.lake.read(USED_CODE), run.lake.read(CONCEPT)
    known = code_map.known_codes(used)
    sources = source_concepts(known, concepts)
    maps = standard_concepts(sources, concepts, run.lake.read(CONCEPT_RELATIONSHIP))
    by_hand = human_concepts(known, concepts, run.lake.read(SOURCE_TO_CONCEPT_MAP))
    mapped = run.lake.replace(CODE_MAP, code_map.map_codes(used, maps, by_hand))
    unmapped = code_map.unmapped_codes(run.lake.read(CODE_MAP))
    listed = run.lake.replace(UNMAPPED_CODE, unmapped)
    return {"mapping_count": mapped.inserted, "unmapped_code_count": listed.inserted}


@task(
    reads=[USED_CODE, UNMAPPED_CODE, CONCEPT, CONCEPT_RELATIONSHIP, CONCEPT_SYNONYM, CODE_RELEASE,
           CODE_TRANSLATION],
    writes=[CODING_REVIEW, CODE_STATUS, SOURCE_TO_CONCEPT_MAP],
)  # fmt: skip
def code_text(run: Run) -> Metrics:
    """List candidates of concepts for codes and texts without one, for a person to decide on, and
    say of every used code whether it is one of its system."""
    how = run.settings.coding
    coding = MedicalCoding(how.list_min, how.suggest_min, how.candidates, how.accept_exact)
    bad = check_codes(run, code_map.counted_codes(run.lake.read(USED_CODE)))
    return {**coding.execute(run), "bad_code_count": bad}


@task(
    reads=[silver.PATIENT, silver.ORGANIZATION, silver.LOCATION, silver.PRACTITIONER,
           silver.COVERAGE],
    writes=[LOCATION, CARE_SITE, PROVIDER, PAYER_PLAN_PERIOD, UNPLACED_RECORD],
)  # fmt: skip
def map_places(run: Run) -> Metrics:
    """Make locations (states), care sites, providers and the periods a payer covered."""
    patients, sites = run.lake.read(silver.PATIENT), run.lake.read(silver.ORGANIZATION)
    wards, staff = run.lake.read(silver.LOCATION), run.lake.read(silver.PRACTITIONER)
    coverage = run.lake.read(silver.COVERAGE)
    placed = places.placed_coverage(coverage, persons.lost_persons(patients))
    made_anew = partial(rebuild, run)
    done = in_two_threads([
        partial(made_anew, CARE_SITE, places.care_sites(sites, wards)),
        partial(made_anew, PROVIDER, places.providers(staff)),
        partial(made_anew, LOCATION, places.locations(patients, sites, wards)),
        partial(made_anew, PAYER_PLAN_PERIOD, places.payer_plan_periods(placed, run.as_of)),
    ])  # fmt: skip
    unplaced = places.unplaced_coverage(placed)
    missing = coverage.count() - done[3]
    _list_unplaced(run, "source_table = 'silver.coverage'", unplaced, missing)
    names = ("care_site", "provider", "location", "payer_plan_period")
    return {f"{name}_count": count for name, count in zip(names, done, strict=True)}


@task(
    reads=[silver.PATIENT, silver.ORGANIZATION, silver.ENCOUNTER, *EVENT_TABLES],
    writes=[PERSON, OBSERVATION_PERIOD, DEATH, UNPLACED_RECORD],
)
def map_persons(run: Run) -> Metrics:
    """Make persons, the period each was observed in, and deaths."""
    patients, sites = run.lake.read(silver.PATIENT), run.lake.read(silver.ORGANIZATION)
    records = [*all_events(run.lake.read).values(), run.lake.read(silver.ENCOUNTER)]
    made = {
        PERSON: persons.persons(patients, sites, run.as_of.year),
        OBSERVATION_PERIOD: persons.observation_periods(records, patients),
        DEATH: persons.deaths(patients),
    }
    commits = in_two_threads([partial(run.lake.replace, *item) for item in made.items()])
    unplaced = persons.unplaced_patients(patients)
    listed = unplaced.groupBy("reason").count().collect()
    reasons = {row["reason"]: row["count"] for row in listed}
    placed = patients.count() - reasons.get("birth_year_unknown", 0)
    _require(silver.PATIENT.name, commits[0].inserted == placed)
    _list_unplaced(run, "source_table = 'silver.patient'", unplaced, sum(reasons.values()))
    counts = zip(made, commits, strict=True)
    return {f"{table.short_name}_count": commit.inserted for table, commit in counts}


@task(
    reads=[silver.PATIENT, silver.ENCOUNTER, silver.ORGANIZATION, silver.LOCATION,
           silver.PRACTITIONER],
    writes=[VISIT_OCCURRENCE, VISIT_DETAIL, UNPLACED_RECORD],
)  # fmt: skip
def map_visits(run: Run) -> Metrics:
    """Make visits of the encounters that took place, and details of those inside another one."""
    encounters, patients = run.lake.read(silver.ENCOUNTER), run.lake.read(silver.PATIENT)
    sites = [run.lake.read(t) for t in (silver.ORGANIZATION, silver.LOCATION, silver.PRACTITIONER)]
    placed = visits.placed_encounters(encounters, persons.lost_persons(patients), patients)
    parts = encounters.filter("part_of_key IS NOT NULL")
    inside = visits.only_needed(visits.nested(placed), parts)
    known = visits.with_staff_and_site(placed, *sites)
    whole, detail = in_two_threads([
        partial(rebuild, run, VISIT_OCCURRENCE, visits.visits(known, inside, run.as_of),
                encounters),
        partial(rebuild, run, VISIT_DETAIL, visits.visit_details(known, inside, run.as_of),
                parts),
    ])  # fmt: skip
    unplaced = visits.unplaced_encounters(placed)
    missing = encounters.count() - whole - detail
    _list_unplaced(run, "source_table = 'silver.encounter'", unplaced, missing)
    return {"visit_occurrence_count": whole, "visit_detail_count": detail}


@task(
    reads=[*INPUTS, VISIT_OCCURRENCE, VISIT_DETAIL],
    writes=[*OUTPUTS, NOTE, UNPLACED_RECORD, VOCABULARY_CHANGE, RESTATED_RECORD,
            GONE_ROW, BOOKMARK],
)  # fmt: skip
def map_events(run: Run) -> Metrics:
    """Make conditions, drugs, procedures, measurements, observations, devices and specimens, by
    their concepts' domain; where little has changed, write only the rows of that."""
    seen, now = bookmarks(run, EVENTS_READER), _versions(run)
    codes = _changed_codes(run, seen.get(CODE_MAP.name, -1), now[CODE_MAP.name])
    is_ours = all(seen.get(table.name) == now[table.name] for table in OUTPUTS)
    sizes = received(run.lake.read, EVENT_TABLES)
    increment = _increment(run, seen, now)
    done = _map_increment(run, increment, codes, sum(sizes.values())) if is_ours else None
    done = done or map_all(run, sizes)
    move_bookmarks(run, EVENTS_READER, _versions(run))
    return done


@task(
    reads=[CONDITION_OCCURRENCE, DRUG_EXPOSURE, CONCEPT, CONCEPT_ANCESTOR, DRUG_STRENGTH],
    writes=[CONDITION_ERA, DRUG_ERA, DOSE_ERA],
)
def build_eras(run: Run) -> Metrics:
    """Make eras of conditions, ingredients and doses of the records that have a concept."""
    conditions = run.lake.read(CONDITION_OCCURRENCE).filter("condition_concept_id > 0")
    drugs = run.lake.read(DRUG_EXPOSURE).filter("drug_concept_id > 0")
    known = eras.ingredients(run.lake.read(CONCEPT), run.lake.read(CONCEPT_ANCESTOR))
    strengths = run.lake.read(DRUG_STRENGTH)
    counts = in_two_threads([
        partial(rebuild, run, CONDITION_ERA, eras.condition_eras(conditions), conditions),
        partial(rebuild, run, DRUG_ERA, eras.drug_eras(drugs, known), drugs),
        partial(rebuild, run, DOSE_ERA, eras.dose_eras(drugs, strengths), drugs),
    ])  # fmt: skip
    names = ("condition_era", "drug_era", "dose_era")
    return {f"{name}_count": count for name, count in zip(names, counts, strict=True)}


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
    writes=[CDM_SOURCE, METADATA],
    params={"source_name": "Clinical trial data", "holder": "Not named"},
)
def describe_source(run: Run) -> Metrics:
    """Say in omop.cdm_source and omop.metadata what this CDM was made from, when and how."""
    whole = run.lake.read(VOCABULARY).filter("vocabulary_id = 'None'").take(1)
    release = (whole[0]["vocabulary_version"] or "not named") if whole else "none loaded"
    name, holder = run.param("source_name", "Clinical trial data"), run.param("holder", "Not named")
    source = facts.source(name, holder, release, run.as_of.date())
    privacy = run.settings.privacy
    how = facts.metadata(
        {
            "code_version": code_version(),
            "settings_hash": run.settings.digest(),
            "privacy_mode": privacy.hipaa_compliance_mode,
            "era_gap_days": eras.GAP_DAYS,
        },
        run.as_of,
    )
    for table, rows in ((CDM_SOURCE, [source]), (METADATA, how)):
        run.lake.replace(table, rows)
    return {"vocabulary_version": release}


def _increment(run: Run, seen: dict[str, int], now: dict[str, int]) -> Increment:
    """What changed in the tables between these versions."""
    moved = frozenset(name for name, version in now.items() if version > seen.get(name, -1))
    return Increment(run.lake.read, run.lake.changed, seen, moved)


def map_all(run: Run, sizes: Mapping[str, int]) -> Metrics:
    """Make all tables of events, and the list of events without a place; rows by table."""
    read = run.lake.read
    routes = route(read, all_events(read))
    links = visits.links(read(VISIT_OCCURRENCE), read(VISIT_DETAIL))
    for name in routes.events:
        _require(name, routes.event_count(name) == sizes[name])
    in_two_threads([partial(_write, run, table, routes, links) for table in OUTPUTS])
    for table in (NOTE, VOCABULARY_CHANGE):
        run.lake.ensure(table)
    reasons = sorted({count["reason"] for count in routes.counts if count["reason"]})
    lost = {f"{r}_count": routes.event_count(reason=r) for r in reasons}
    _list_unplaced(run, _ELSEWHERE, routes.unplaced(), sum(lost.values()))
    placed = {f"{t.short_name}_count": routes.row_count(t) for t in OUTPUTS}
    return {**placed, **lost}


def _versions(run: Run) -> dict[str, int]:
    """Delta versions of what the events' tables are made of, and of these tables themselves."""
    return {t.name: run.lake.version(t) for t in (*INPUTS, *OUTPUTS)}


def _changed_codes(run: Run, before: int, now: int) -> DataFrame:
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


def _map_increment(run: Run, increment: Increment, codes: DataFrame, total: int) -> Metrics | None:
    """Write only the rows of records that changed, or hang on what changed; all other rows, and
    their files, stay as they are. None, and nothing of OMOP written, where that does not pay."""
    how = run.settings.standardization
    if increment.is_silver_changed() and total < how.increment_from:
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
    routes = route(read, events)
    for name, count in counted(events).items():
        _require(name, routes.event_count(name) == count)
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


def _restate(run: Run, table: Table, routes: Routes, links: DataFrame, gone: DataFrame) -> int:
    """Bring one OMOP table to what its routed events are now; how many rows changed, came, went."""
    found = routes.reaching(table)
    rows = run.lake.frame(table, []) if found is None else shaped(table, found, routes, links)
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
        count = run.lake.replace(table, shaped(table, found, routes, links)).inserted
    _require(table.name, count == routes.row_count(table))


def _list_unplaced(run: Run, where: str, rows: DataFrame, missing: int) -> None:
    """List `rows`, which must be `missing`, as the records of some sources (`where`) without a
    place; nothing to list, now or before, is no write."""
    if missing == 0 and run.lake.read(UNPLACED_RECORD).filter(where).isEmpty():
        return
    run.lake.replace(UNPLACED_RECORD, rows, where=where)
    listed = run.lake.read(UNPLACED_RECORD).filter(where).count()
    _require(UNPLACED_RECORD.name, listed == missing)


def _require(name: str, is_accounted: bool) -> None:
    if not is_accounted:
        raise AccountingError(f"{name}: not every record is placed or has a reason")
