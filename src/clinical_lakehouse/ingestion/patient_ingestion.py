"""The job patient_ingestion: FHIR files to bronze, quarantine, vault and de-identified silver."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import LakeError
from clinical_lakehouse.ingestion import identity
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
from clinical_lakehouse.ingestion.changes import Changes, Scope, affected
from clinical_lakehouse.ingestion.consent import (
    per_person_decision,
    per_resource_decision,
    without_deleted,
)
from clinical_lakehouse.ingestion.consent_policy import Policy
from clinical_lakehouse.ingestion.consent_windows import consent_windows
from clinical_lakehouse.ingestion.landing import Found, Surveyed, bins, find
from clinical_lakehouse.ingestion.manifests import (
    Manifest,
    manifests_of,
    missing_files,
    rows_of_manifests,
    with_times,
)
from clinical_lakehouse.ingestion.people import persons_of, with_site
from clinical_lakehouse.ingestion.reading import ROW_DDL, SURVEY_DDL, reader, surveyed_of, surveyor
from clinical_lakehouse.ingestion.unread import unread_elements
from clinical_lakehouse.ingestion.versions import only_deleted, version_time
from clinical_lakehouse.ingestion.view import View, compiled_view, flattened, stored_keys, with_lost
from clinical_lakehouse.ingestion.withheld import is_by_check, only_kept_out, withheld_resources
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.vault_keys import VaultKeys, vault_keys
from clinical_lakehouse.runtime.writing import in_two_threads
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
from clinical_lakehouse.tables.views import SilverView, Step, silver_views

_VALIDATE = "patient-ingestion-validate"
_PUBLISH = "patient-ingestion-publish"
_SURVEY_TASKS = 16
_DRAWS = 3  # two of 10 million random keys are the same once in 100,000 runs
_SILVER = tuple(view.table for view in silver_views())
_PERSONAL = tuple(view.resource for view in silver_views() if view.is_personal)
_VAULT = (vault.SUBJECT, vault.SEALED_KEY)
# What a trial's export is expected to hold; a missing type is no error, and said.
_EXPECTED = tuple(dict.fromkeys(view.resource for view in silver_views()))


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
    run.lake.append(ops.LANDING_FILE, [empty_row(file, run.as_of) for file in empty])
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
        run.lake.upsert(table, identity.only_changed(rows, run.lake.read(table), columns))
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
    read = reader(packed, names, frozenset(run.settings.privacy.known_modifier_extensions))
    rows = run.lake.spread(len(packed), read, ROW_DDL)
    updated, now = version_time(F.lit(run.as_of)), F.lit(run.as_of).cast("timestamp")
    stamped = rows.withColumns({"last_updated_at": updated, "received_at": now})
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
    persons = persons_of(bronze)
    run.lake.append_missing(DUPLICATE, only_repeated(new, older))
    repeated = run.lake.read(DUPLICATE)
    run.lake.append_missing(QUARANTINE, only_refused(new, repeated, persons))
    released = _release(run, persons) if since >= 0 else []
    files = new.filter(~F.col("file_id").isin(released)).select("file_id").distinct()
    rows = bronze.filter(F.col("file_id").isin(released)).drop("content")
    rows = rows.unionByName(bronze.drop("content").join(files, "file_id", "left_semi"))
    totals = _account(run, rows if since >= 0 else new)
    move_bookmarks(run, _VALIDATE, {FHIR_RESOURCE.name: version})
    return {**totals, "resources_released": len(released)}


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
    refused, repeated = only_kept_out(run.lake.read(QUARANTINE)), run.lake.read(DUPLICATE)
    run.lake.upsert(ops.LANDING_FILE, per_file_and_type(rows, refused, repeated))
    ledger = run.lake.read(ops.LANDING_FILE)
    check_balance(ledger)
    return totals(ledger, run.as_of, _EXPECTED)


@task(reads=[FHIR_RESOURCE], writes=[CONSENT_WINDOW, CONSENT_DECISION, CONSENT_DENIAL])
def check_consent(run: Run) -> Metrics:
    """Decide for every person, and by date and kind for every resource, what may go to silver."""
    bronze, privacy = run.lake.read(FHIR_RESOURCE), run.settings.privacy
    policy = Policy(run.as_of, privacy.consent_when_absent, **privacy.consent.model_dump())
    consents = only_of_type(bronze, "Consent")
    if run.lake.exists(CONSENT_WINDOW) or not consents.isEmpty():
        encounters = only_of_type(bronze, "Encounter")
        run.lake.replace(CONSENT_WINDOW, consent_windows(consents, encounters, policy))
    windows = run.lake.read(CONSENT_WINDOW)
    _decide(run, per_person_decision(persons_of(bronze), windows, policy))
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
    changed = identity.only_changed(now, run.lake.read(CONSENT_DECISION), columns)
    changed = changed.withColumn("decided_at", F.lit(run.as_of).cast("timestamp"))
    run.lake.upsert(CONSENT_DECISION, changed)


def _deny_resources(run: Run, partly: int) -> int:
    """Write down what of the partly permitted people may not be used; how many resources."""
    if not partly and not run.lake.exists(CONSENT_DENIAL):
        return 0
    valid, windows = only_valid(run.lake.read(FHIR_RESOURCE)), run.lake.read(CONSENT_WINDOW)
    people = run.lake.read(CONSENT_DECISION).filter("is_partial")
    decided = per_resource_decision(valid, windows, people).filter("NOT is_permitted")
    return run.lake.replace(CONSENT_DENIAL, decided.drop("is_permitted")).inserted


@task(reads=[FHIR_RESOURCE], writes=[vault.SUBJECT, vault.SEALED_KEY])
def deidentify(run: Run) -> Metrics:
    """Give every person a surrogate key and a date offset, kept in the vault, the id sealed."""
    keys = vault_keys(run, may_make=True)
    for _ in range(_DRAWS):
        _seal_people(run, keys)
        known = run.lake.read(vault.SUBJECT)
        counts = known.agg(F.count(F.lit(1)), F.count_distinct("subject_key")).collect()[0]
        if counts[0] == counts[1]:
            return {"persons": counts[0], "mode": _mode(run)}
        run.lake.merge(vault.SUBJECT, identity.only_repeated_keys(known), deleted="is_repeated")
    raise LakeError("two people have one surrogate key; set privacy.surrogate_keys: random")


def _seal_people(run: Run, keys: VaultKeys) -> None:
    """Add whom the vault does not know, what is newly said of the others, and dates moved by what
    the settings allow. What is drawn is evaluated by the one write alone."""
    privacy, before = run.settings.privacy, run.lake.read(vault.SUBJECT)
    is_derived, is_made = privacy.surrogate_keys == "derived", run.lake.exists(vault.SUBJECT)
    most_days = privacy.date_shift_days if _mode(run) == "strict" else 0
    rule = identity.Identities(most_days, keys.pseudonym if is_derived else None)
    patients = only_of_type(run.lake.read(FHIR_RESOURCE), "Patient")
    said = identity.newly_said(patients, before, keys.pseudonym)
    for look in (rule.redated, lambda known: identity.with_what_is_said(known, said)):
        rows = look(identity.opened(run.lake.read(vault.SUBJECT), keys.seals))
        if is_made and not rows.isEmpty():
            run.lake.merge(vault.SUBJECT, identity.sealed(rows, keys.seal))
    new = identity.only_new(said, before)
    if not is_made or not new.isEmpty():
        made = identity.sealed(new.join(rule.of(new), "patient_index"), keys.seal)
        made = made.withColumn("first_seen_at", F.lit(run.as_of).cast("timestamp"))
        run.lake.append(vault.SUBJECT, made)


def _mode(run: Run) -> str:
    return run.settings.privacy.hipaa_compliance_mode


@task(
    reads=[FHIR_RESOURCE, QUARANTINE, CONSENT_DECISION, CONSENT_DENIAL, *_VAULT, ops.BOOKMARK],
    writes=[*_SILVER, PUBLISH_SCOPE, ops.UNREAD_ELEMENT, ops.BOOKMARK],
)
def publish(run: Run) -> Metrics:
    """Bring silver to the newest valid versions of permitted people, without identifiers."""
    sources = (FHIR_RESOURCE, CONSENT_DECISION, vault.SUBJECT)
    versions = {table.name: run.lake.version(table) for table in sources}
    since = bookmarks(run, _PUBLISH)
    keys = vault_keys(run)
    scope = Scope(_affected(run, keys, since) if since else None, barred(run))
    write = partial(write_view, run, keys, permitted_people(run, keys, scope), scope)
    withheld = run.settings.privacy.zip3_withheld
    compiled = partial(compiled_view, as_of=run.as_of, zip3_withheld=withheld)
    # A view that is wrong stops the task before anything is written.
    views = in_two_threads([partial(compiled, view) for view in _touched(run, scope.affected)])
    in_two_threads([partial(write, view) for view in views])
    _note_unread(run, views, since, versions)
    run.lake.replace(PUBLISH_SCOPE, [])
    move_bookmarks(run, _PUBLISH, versions)
    kept = left_in_bronze(run.lake.read(FHIR_RESOURCE), _EXPECTED, _PERSONAL)
    return {"tables_written": len(views), "mode": _mode(run), **kept}


def _touched(run: Run, affected: DataFrame | None) -> list[SilverView]:
    """The views whose type has rows to publish, most rows first; all tables are made.

    A view that is new in this lake has everything to publish.
    """
    rows = only_valid(run.lake.read(FHIR_RESOURCE)) if affected is None else affected
    counts = {row[0]: row[1] for row in rows.groupBy("resource_type").count().collect()}
    new = [view for view in silver_views() if not run.lake.exists(view.table)]
    for view in new:
        run.lake.ensure(view.table)
    late = new if affected is not None else []
    touched = [view for view in silver_views() if view.resource in counts or view in late]
    return sorted(touched, key=lambda view: -counts.get(view.resource, 0))


def permitted_people(run: Run, keys: VaultKeys, scope: Scope) -> DataFrame:
    """Everybody who may be used: key and date offset; nobody whose Patient resource is barred."""
    permitted = run.lake.read(CONSENT_DECISION).filter("is_permitted").select("patient_id")
    known = identity.opened(run.lake.read(vault.SUBJECT), keys.seals)
    kept_out = scope.barred_of("Patient").select(F.col("resource_id").alias("patient_id"))
    people = known.join(permitted, "patient_id", "left_semi")
    return people.join(kept_out, "patient_id", "left_anti")


def barred(run: Run) -> DataFrame:
    """Resources that no consent reaches, or whose newest version a check refuses."""
    denied = run.lake.read(CONSENT_DENIAL).select("resource_type", "resource_id")
    refused = run.lake.read(QUARANTINE)
    if not run.lake.exists(QUARANTINE) or refused.filter(is_by_check()).isEmpty():
        return denied
    return denied.union(withheld_resources(refused, only_valid(run.lake.read(FHIR_RESOURCE))))


def _affected(run: Run, keys: VaultKeys, since: dict[str, int]) -> DataFrame:
    """Types and ids of the resources whose silver rows may change since the bookmarks, written down
    once, for every view to read."""
    new = run.lake.read(FHIR_RESOURCE, since=since[FHIR_RESOURCE.name])
    decided = run.lake.read(CONSENT_DECISION, since=since[CONSENT_DECISION.name])
    rekeyed = run.lake.read(vault.SUBJECT, since=since[vault.SUBJECT.name])
    rekeyed = identity.opened(rekeyed, keys.seals).select("patient_id")
    changed = Changes(
        only_valid(run.lake.read(FHIR_RESOURCE)),
        only_valid(new),
        decided.select("patient_id").union(rekeyed),
        run.lake.read(CONSENT_DECISION).filter("is_partial").select("patient_id"),
    )
    young = run.lake.read(silver.PATIENT).filter(~F.col("is_over_89")).select("subject_key")
    young = run.lake.read(vault.SUBJECT).join(young, "subject_key", "left_semi")
    scope = affected(changed, identity.opened(young, keys.seals), run.as_of)
    # What quarantine let go or took is there already; a killed run's scope is looked at again.
    run.lake.replace(PUBLISH_SCOPE, scope.union(run.lake.read(PUBLISH_SCOPE)).distinct())
    return run.lake.read(PUBLISH_SCOPE)


def _note_unread(
    run: Run, views: Sequence[View], since: dict[str, int], now: dict[str, int]
) -> None:
    """Write down which elements of the new resources no view reads; a killed run's go first."""
    before, version = since.get(FHIR_RESOURCE.name, -1), now[FHIR_RESOURCE.name]
    if version > before:
        new = only_valid(run.lake.read(FHIR_RESOURCE, since=before))
        rows = unread_elements(new, views, version)
        run.lake.replace(ops.UNREAD_ELEMENT, rows, f"bronze_version > {before}")


def write_view(run: Run, keys: VaultKeys, people: DataFrame, scope: Scope, view: View) -> None:
    """Replace a view's table the first time; later merge what changed and remove the rest."""
    key_of = partial(surrogate_key, keys.pseudonym)
    bronze = run.lake.read(FHIR_RESOURCE)
    if Step.SUBJECT_SITE in view.silver.steps.values():
        people = with_site(people, only_of_type(bronze, "Patient"))
    rows = only_of_type(bronze, view.resource_type)
    rows = rows.join(scope.barred_of(view.resource_type), "resource_id", "left_anti")
    # A table without a version after its making: never written, on whatever run that was.
    if scope.affected is None or run.lake.version(view.table) < 1:
        run.lake.replace(view.table, flattened(view, rows, people, key_of))
        return
    ids = scope.affected.filter(F.col("resource_type") == view.resource_type).select("resource_id")
    touched = rows.join(ids, "resource_id", "left_semi")
    current = flattened(view, touched, people, key_of)
    subjects, kind = run.lake.read(vault.SUBJECT), view.resource_type
    keyed = identity.with_own_key(ids, kind, subjects, keys.pseudonym)
    touched_keys = keyed.select(F.col("own_key").alias(view.table.key[0]))
    before = stored_keys(view, run.lake.read(view.table), touched_keys)
    run.lake.merge(view.table, with_lost(view, current, before), deleted="is_lost")
