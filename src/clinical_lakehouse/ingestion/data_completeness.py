"""The job data_completeness: what the lake still lacks, of references and of encounters."""

from functools import partial

from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.completeness import completeness, export_times, loaded_until
from clinical_lakehouse.ingestion.unresolved import files_to_resolve, unresolved, with_history
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from clinical_lakehouse.tables.vault import SEALED_KEY

_REFERENCES = "data-completeness-resolve-references"
_ENCOUNTERS = "data-completeness-assess-encounters"


@task(reads=[FHIR_RESOURCE, ops.BOOKMARK], writes=[ops.UNRESOLVED_REFERENCE, ops.BOOKMARK])
def resolve_references(run: Run) -> Metrics:
    """Count the references that lead nowhere in the lake; those of earlier files are tried again
    where resources of the missing type have come."""
    version = run.lake.version(FHIR_RESOURCE)
    since = bookmarks(run, _REFERENCES).get(FHIR_RESOURCE.name, -1)
    if version > since:
        _resolve(run, since)
        move_bookmarks(run, _REFERENCES, {FHIR_RESOURCE.name: version})
    waiting = run.lake.read(ops.UNRESOLVED_REFERENCE).filter("unresolved_count > 0")
    sums = waiting.groupBy("target_type").agg(F.sum("unresolved_count").alias("n")).collect()
    return {f"unresolved_{row['target_type']}": row["n"] for row in sorted(sums)}


def _resolve(run: Run, since: int) -> None:
    """Look at new files and at those that wait for what has come; the other rows stay."""
    bronze = run.lake.read(FHIR_RESOURCE).drop("content")
    stored = run.lake.read(ops.UNRESOLVED_REFERENCE)
    if since < 0:
        found = with_history(unresolved(bronze, bronze), stored, run.as_of)
    else:
        files = files_to_resolve(run.lake.read(FHIR_RESOURCE, since=since), stored)
        rows, again = (one.join(files, "file_id", "left_semi") for one in (bronze, stored))
        found = with_history(unresolved(rows, bronze), again, run.as_of)
        found = found.unionByName(stored.join(files, "file_id", "left_anti"))
    run.lake.replace(ops.UNRESOLVED_REFERENCE, found)


@task(
    reads=[
        FHIR_RESOURCE,
        ops.LANDING_FILE,
        ops.LANDING_MANIFEST,
        silver.ENCOUNTER,
        SEALED_KEY,
        ops.BOOKMARK,
    ],
    writes=[silver.ENCOUNTER_COMPLETENESS, ops.BOOKMARK],
)
def assess_encounters(run: Run) -> Metrics:
    """Say of every encounter whether all linked types have been loaded up to its export time."""
    versions = {t.name: run.lake.version(t) for t in (ops.LANDING_FILE, silver.ENCOUNTER)}
    if versions != bookmarks(run, _ENCOUNTERS):
        assess(run)
        move_bookmarks(run, _ENCOUNTERS, versions)
    counts = run.lake.read(silver.ENCOUNTER_COMPLETENESS).groupBy("is_complete").count().collect()
    by_flag = {row["is_complete"]: row["count"] for row in counts}
    return {
        "encounters_complete": by_flag.get(True, 0),
        "encounters_incomplete": by_flag.get(False, 0),
    }


def assess(run: Run) -> None:
    """Bring silver.encounter_completeness to what the files loaded so far say."""
    files, manifests = run.lake.read(ops.LANDING_FILE), run.lake.read(ops.LANDING_MANIFEST)
    times, until = export_times(files, manifests), loaded_until(files, manifests)
    linked, key_of = (
        run.settings.completeness.linked_types,
        partial(surrogate_key, vault_keys(run).pseudonym),
    )
    found = completeness(run.lake.read(FHIR_RESOURCE), times, until, linked, key_of)
    kept = run.lake.read(silver.ENCOUNTER).select("encounter_key")
    run.lake.replace(silver.ENCOUNTER_COMPLETENESS, found.join(kept, "encounter_key", "left_semi"))
