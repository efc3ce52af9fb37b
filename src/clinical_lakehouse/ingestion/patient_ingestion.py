"""The job patient_ingestion: FHIR files to bronze, quarantine, vault and de-identified silver."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.ingestion import clinical_views, observation_view, trial_views
from clinical_lakehouse.ingestion.accounting import (
    UNKNOWN_SUBJECT,
    Stored,
    check_balance,
    check_lines,
    empty_row,
    left_in_bronze,
    only_of_type,
    only_open,
    only_refused,
    only_repeated,
    only_valid,
    per_file,
    per_file_and_type,
    row_count,
    totals,
)
from clinical_lakehouse.ingestion.changes import Changes, affected
from clinical_lakehouse.ingestion.consent import (
    per_person_decision,
    per_resource_decision,
    without_deleted,
)
from clinical_lakehouse.ingestion.consent_policy import Policy
from clinical_lakehouse.ingestion.consent_windows import consent_windows
from clinical_lakehouse.ingestion.identity import only_changed, with_identity
from clinical_lakehouse.ingestion.landing import Found, Surveyed, bins, find
from clinical_lakehouse.ingestion.manifests import (
    Manifest,
    manifests_of,
    missing_files,
    rows_of_manifests,
    with_times,
)
from clinical_lakehouse.ingestion.reading import ROW_DDL, SURVEY_DDL, reader, surveyed_of, surveyor
from clinical_lakehouse.ingestion.versions import only_deleted, version_time
from clinical_lakehouse.ingestion.view import View, flattened, stored_keys, with_lost
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import vault_secret
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops, silver, vault
from clinical_lakehouse.tables.bronze import (
    CONSENT_DECISION,
    CONSENT_DENIAL,
    CONSENT_WINDOW,
    DUPLICATE,
    FHIR_RESOURCE,
    PUBLISH_SCOPE,
    QUARANTINE,
)
from clinical_lakehouse.tables.contract import Table

_VALIDATE = "patient-ingestion-validate"
_PUBLISH = "patient-ingestion-publish"
_SURVEY_TASKS = 16
_TYPED_VIEWS = (observation_view.VIEW, *clinical_views.VIEWS, *trial_views.VIEWS)
_SILVER = (silver.PATIENT, *(view.table for view in _TYPED_VIEWS))
_PERSONAL = tuple(view.resource_type for view in _TYPED_VIEWS if view.is_personal)
# What a trial's export is expected to hold; a missing type is no error, and said.
_EXPECTED = ("Patient", *(view.resource_type for view in _TYPED_VIEWS))


@task(
    reads=[ops.LANDING_FILE],
    writes=[FHIR_RESOURCE, ops.LANDING_FILE, ops.LANDING_MANIFEST],
    params={"landing": ""},
)
def land(run: Run) -> Metrics:
    """Take new files of the landing folder into bronze.fhir_resource, each resource judged."""
    folder = run.landing
    found = find(folder)
    pending = _pending(run, _surveyed(run, folder, found.names))
    manifests = _manifests(run, folder, found)
    pending = with_times(pending, manifests)
    landed = _stored(run, pending)
    new = [file for file in pending if file.file_id not in landed]
    _read_into_bronze(run, new)
    stored = {**landed, **_stored(run, new)}
    check_lines(pending, stored, partial(_stored_lines, run))
    empty = [file for file in new if file.file_id not in stored]
    run.lake.append_rows(ops.LANDING_FILE, [empty_row(file, run.as_of) for file in empty])
    return {
        "files_found": len(found.names),
        "files_new": len(new),
        "files_ignored": len(found.ignored),
        "files_missing": len(missing_files(manifests.values(), found.names)),
        "lines_ignored": sum(file.ignored_count for file in new),
        "resources_received": sum(row_count(stored, file) for file in new),
    }


def _manifests(run: Run, folder: Path, found: Found) -> dict[str, Manifest]:
    """Manifests of bulk exports that lie there, written down; by folder."""
    manifests = manifests_of(folder, found.ignored)
    if manifests:
        table = ops.LANDING_MANIFEST
        rows = run.lake.frame(table, rows_of_manifests(manifests, run.as_of))
        columns = [name for name in table.column_names if name != "received_at"]
        _upsert(run, table, only_changed(rows, run.lake.read(table), columns))
    return manifests


def _surveyed(run: Run, folder: Path, names: Sequence[str]) -> list[Surveyed]:
    """Every file's id and division; workers read, the driver keeps a few numbers per file."""
    if not names:
        return []
    groups = [names[start::_SURVEY_TASKS] for start in range(min(_SURVEY_TASKS, len(names)))]
    rows = run.lake.spread(len(groups), surveyor(str(folder), groups), SURVEY_DDL).collect()
    return sorted((surveyed_of(folder, row.asDict()) for row in rows), key=lambda file: file.name)


def _pending(run: Run, files: Sequence[Surveyed]) -> list[Surveyed]:
    """Files the ledger does not know."""
    if not files:
        return []
    known = run.lake.read(ops.LANDING_FILE).select("file_id").distinct()
    taken = {row["file_id"] for row in known.collect()}
    return [file for file in files if file.file_id not in taken]


def _stored(run: Run, files: Sequence[Surveyed]) -> dict[str, Stored]:
    """What bronze holds of each of these files (a commit brings a file whole)."""
    if not files or not run.lake.exists(FHIR_RESOURCE):
        return {}
    wanted = F.col("file_id").isin([file.file_id for file in files])
    rows = per_file(run.lake.read(FHIR_RESOURCE).filter(wanted)).collect()
    return {row["file_id"]: Stored(*row[1:]) for row in rows}


def _stored_lines(run: Run, file_id: str) -> Iterator[int]:
    """Lines of one file in bronze, in order; streamed, there may be millions."""
    rows = run.lake.read(FHIR_RESOURCE).filter(
        (F.col("file_id") == file_id) & (F.col("entry") == 0)
    )
    return (row[0] for row in rows.select("line").orderBy("line").toLocalIterator())


def _read_into_bronze(run: Run, files: Sequence[Surveyed]) -> None:
    packed = bins([chunk for file in files for chunk in file.chunks])
    if not packed:
        return
    names = {file.file_id: file.name for file in files}
    rows = run.lake.spread(len(packed), reader(packed, names), ROW_DDL)
    stamped = rows.withColumns(
        {
            "last_updated_at": version_time(F.lit(run.as_of)),
            "received_at": F.lit(run.as_of).cast("timestamp"),
        }
    )
    run.lake.append(FHIR_RESOURCE, stamped.drop("last_updated"))


@task(
    reads=[FHIR_RESOURCE, ops.BOOKMARK],
    writes=[QUARANTINE, DUPLICATE, ops.LANDING_FILE, ops.BOOKMARK],
)
def validate(run: Run) -> Metrics:
    """Quarantine what is refused, note what is repeated, and account for every row received."""
    version = run.lake.version(FHIR_RESOURCE)
    since = bookmarks(run, _VALIDATE).get(FHIR_RESOURCE.name, -1)
    if version <= since:
        return {"resources_received": 0, "resources_released": 0}
    bronze = run.lake.read(FHIR_RESOURCE)
    new = run.lake.read(FHIR_RESOURCE, since=since).drop("content", "reference_targets")
    older = run.lake.read(FHIR_RESOURCE, version=since) if since >= 0 else bronze.limit(0)
    persons = _persons(bronze)
    _append_missing(run, DUPLICATE, only_repeated(new, older))
    repeated = run.lake.read(DUPLICATE)
    _append_missing(run, QUARANTINE, only_refused(new, repeated, persons))
    released = _release(run, persons) if since >= 0 else []
    files = new.filter(~F.col("file_id").isin(released)).select("file_id").distinct()
    rows = bronze.filter(F.col("file_id").isin(released)).drop("content")
    rows = rows.unionByName(bronze.drop("content").join(files, "file_id", "left_semi"))
    totals = _account(run, rows if since >= 0 else new)
    move_bookmarks(run, _VALIDATE, {FHIR_RESOURCE.name: version})
    return {**totals, "resources_released": len(released)}


def _persons(bronze: DataFrame) -> DataFrame:
    """Everybody of whom a valid Patient has been received, deleted since or not."""
    patients = only_of_type(bronze, "Patient").filter("NOT is_deleted")
    return patients.select(F.col("resource_id").alias("patient_id")).distinct()


def _append_missing(run: Run, table: Table, rows: DataFrame) -> None:
    """Append what is not there by key: a killed run's rows are not written twice."""
    known = run.lake.read(table).select(*table.key)
    run.lake.append(table, rows.join(known, list(table.key), "left_anti"))


def _upsert(run: Run, table: Table, rows: DataFrame) -> None:
    """Bring new and changed rows into a table; a MERGE only where a key is there already."""
    known = run.lake.read(table).select(*table.key)
    is_made = run.lake.exists(table)
    if is_made and not rows.join(known, list(table.key), "left_semi").isEmpty():
        run.lake.merge(table, rows)
    elif not is_made or not rows.isEmpty():
        run.lake.append(table, rows)


def _release(run: Run, persons: DataFrame) -> list[str]:
    """Let go of rows whose person has arrived since; ids of the files they stand in."""
    waiting = only_open(run.lake.read(QUARANTINE), UNKNOWN_SUBJECT, "")
    found = waiting.join(persons, "patient_id", "left_semi").withColumn("_out", F.lit(True))
    files = [row["file_id"] for row in found.select("file_id").distinct().collect()]
    if files:
        run.lake.merge(QUARANTINE, found, deleted="_out")
    return files


def _account(run: Run, rows: DataFrame) -> dict[str, int | str]:
    """Write the ledger of these files, whole, and check it; totals of what this run received."""
    refused, repeated = run.lake.read(QUARANTINE), run.lake.read(DUPLICATE)
    _upsert(run, ops.LANDING_FILE, per_file_and_type(rows, refused, repeated))
    ledger = run.lake.read(ops.LANDING_FILE)
    check_balance(ledger)
    return totals(ledger, run.as_of, _EXPECTED)


@task(reads=[FHIR_RESOURCE], writes=[CONSENT_WINDOW, CONSENT_DECISION, CONSENT_DENIAL])
def check_consent(run: Run) -> Metrics:
    """Decide for every person, and by date and kind for every resource, what may go to silver."""
    bronze, policy = run.lake.read(FHIR_RESOURCE), _consent_policy(run)
    consents = only_of_type(bronze, "Consent")
    if run.lake.exists(CONSENT_WINDOW) or not consents.isEmpty():
        encounters = only_of_type(bronze, "Encounter")
        run.lake.replace(CONSENT_WINDOW, consent_windows(consents, encounters, policy))
    windows = run.lake.read(CONSENT_WINDOW)
    _decide(run, per_person_decision(_persons(bronze), windows, policy))
    now = run.lake.read(CONSENT_DECISION).groupBy("is_permitted", "is_partial").count().collect()
    counts = {(row["is_permitted"], row["is_partial"]): row["count"] for row in now}
    partly = counts.get((True, True), 0)
    return {
        "persons_permitted": counts.get((True, False), 0) + partly,
        "persons_denied": counts.get((False, False), 0),
        "persons_partly": partly,
        "resources_denied": _deny_resources(run, partly),
    }


def _decide(run: Run, decisions: DataFrame) -> None:
    """Write down what changed; nothing of a person whose Patient is deleted is permitted."""
    deleted = only_deleted(only_of_type(run.lake.read(FHIR_RESOURCE), "Patient"))
    columns = [name for name in CONSENT_DECISION.column_names if name != "decided_at"]
    now = without_deleted(decisions, deleted)
    changed = only_changed(now, run.lake.read(CONSENT_DECISION), columns)
    changed = changed.withColumn("decided_at", F.lit(run.as_of).cast("timestamp"))
    _upsert(run, CONSENT_DECISION, changed)


def _consent_policy(run: Run) -> Policy:
    privacy = run.settings.privacy
    return Policy(run.as_of, privacy.consent_when_absent, **privacy.consent.model_dump())


def _deny_resources(run: Run, partly: int) -> int:
    """Write down what of the partly permitted people may not be used; how many resources."""
    if not partly and not run.lake.exists(CONSENT_DENIAL):
        return 0
    valid, windows = only_valid(run.lake.read(FHIR_RESOURCE)), run.lake.read(CONSENT_WINDOW)
    people = run.lake.read(CONSENT_DECISION).filter("is_partial")
    decided = per_resource_decision(valid, windows, people).filter("NOT is_permitted")
    return run.lake.replace(CONSENT_DENIAL, decided.drop("is_permitted")).inserted


@task(reads=[FHIR_RESOURCE], writes=[vault.SUBJECT])
def deidentify(run: Run) -> Metrics:
    """Give every person a surrogate key and a date offset, kept in the vault."""
    is_new = not run.lake.exists(vault.SUBJECT)
    secret = vault_secret(run, may_make=is_new)
    is_strict = run.settings.privacy.hipaa_compliance_mode == "strict"
    most_days = run.settings.privacy.date_shift_days if is_strict else 0
    rows = with_identity(_persons(run.lake.read(FHIR_RESOURCE)), secret, most_days)
    stored = run.lake.read(vault.SUBJECT)
    changed = only_changed(rows, stored, vault.SUBJECT.column_names)
    rekeyed = changed.select("patient_id", "subject_key").join(
        stored.select("patient_id", F.col("subject_key").alias("old")), "patient_id"
    )
    if not is_new and not rekeyed.filter("subject_key <> old").isEmpty():
        raise SettingsError("the vault's key is not the one this lake was made with; restore it")
    _upsert(run, vault.SUBJECT, changed)
    return {"persons": run.lake.read(vault.SUBJECT).count(), "mode": _mode(run)}


def _mode(run: Run) -> str:
    return run.settings.privacy.hipaa_compliance_mode


@task(
    reads=[FHIR_RESOURCE, CONSENT_DECISION, CONSENT_DENIAL, vault.SUBJECT, ops.BOOKMARK],
    writes=[*_SILVER, PUBLISH_SCOPE, ops.BOOKMARK],
)
def publish(run: Run) -> Metrics:
    """Bring silver to the newest valid versions of permitted people, without identifiers."""
    sources = (FHIR_RESOURCE, CONSENT_DECISION, vault.SUBJECT)
    versions = {table.name: run.lake.version(table) for table in sources}
    since = bookmarks(run, _PUBLISH)
    views = [trial_views.patient_view(run.as_of), *_TYPED_VIEWS]
    affected = _stored_scope(run, since) if since else None
    views = _touched(run, views, affected)
    write = partial(_write, run, _people(run), affected)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, views))
    run.lake.replace(PUBLISH_SCOPE, run.lake.frame(PUBLISH_SCOPE, []))
    move_bookmarks(run, _PUBLISH, versions)
    kept = left_in_bronze(run.lake.read(FHIR_RESOURCE), _EXPECTED, _PERSONAL)
    return {"tables_written": len(views), "mode": _mode(run), **kept}


def _touched(run: Run, views: Sequence[View], affected: DataFrame | None) -> list[View]:
    """The views whose type has rows to publish; on the first run the other tables are made."""
    rows = only_valid(run.lake.read(FHIR_RESOURCE)) if affected is None else affected
    types = {row[0] for row in rows.select("resource_type").distinct().collect()}
    if affected is None:
        for view in views:
            run.lake.ensure(view.table)
    return [view for view in views if view.resource_type in types]


def _people(run: Run) -> DataFrame:
    """Everybody who may be used: key and date offset; nobody whose Patient resource is denied."""
    permitted = run.lake.read(CONSENT_DECISION).filter("is_permitted").select("patient_id")
    people = run.lake.read(vault.SUBJECT).join(permitted, "patient_id", "left_semi")
    return people.join(_denied(run, "Patient", "patient_id"), "patient_id", "left_anti")


def _denied(run: Run, resource_type: str, name: str) -> DataFrame:
    """The column `name` of the resources of a type that no consent reaches."""
    denials = run.lake.read(CONSENT_DENIAL)
    return denials.filter(F.col("resource_type") == resource_type).select(name)


def _stored_scope(run: Run, since: dict[str, int]) -> DataFrame:
    """Write down what is affected, once, for every view to read."""
    run.lake.replace(PUBLISH_SCOPE, _affected(run, since))
    return run.lake.read(PUBLISH_SCOPE)


def _affected(run: Run, since: dict[str, int]) -> DataFrame:
    """Types and ids of the resources whose silver rows may change since the bookmarks."""
    new = run.lake.read(FHIR_RESOURCE, since=since[FHIR_RESOURCE.name])
    people = [
        run.lake.read(table, since=since[table.name]).select("patient_id")
        for table in (CONSENT_DECISION, vault.SUBJECT)
    ]
    changed = Changes(
        only_valid(run.lake.read(FHIR_RESOURCE)),
        only_valid(new),
        people[0].union(people[1]),
        run.lake.read(CONSENT_DECISION).filter("is_partial").select("patient_id"),
    )
    young = run.lake.read(silver.PATIENT).filter(~F.col("is_over_89")).select("subject_key")
    young = run.lake.read(vault.SUBJECT).join(young, "subject_key", "left_semi")
    return affected(changed, young, run.as_of)


def _write(run: Run, people: DataFrame, affected: DataFrame | None, view: View) -> None:
    """Replace the view's table on the first run; later merge what changed and remove the rest."""
    key_of = partial(surrogate_key, vault_secret(run))
    bronze = run.lake.read(FHIR_RESOURCE)
    if view.table is silver.SUBJECT:
        people = trial_views.with_site(people, only_of_type(bronze, "Patient"))
    rows = only_of_type(bronze, view.resource_type)
    rows = rows.join(_denied(run, view.resource_type, "resource_id"), "resource_id", "left_anti")
    if affected is None:
        run.lake.replace(view.table, flattened(view, rows, people, key_of))
        return
    ids = affected.filter(F.col("resource_type") == view.resource_type).select("resource_id")
    touched = rows.join(ids, "resource_id", "left_semi")
    current = flattened(view, touched, people, key_of)
    before = stored_keys(view, run.lake.read(view.table), ids, key_of)
    run.lake.merge(view.table, with_lost(view, current, before), deleted="is_lost")
