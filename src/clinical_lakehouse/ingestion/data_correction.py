"""The job data_correction: a person's corrections become new versions of resources that land."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.accounting import only_valid
from clinical_lakehouse.ingestion.corrections import (
    ALREADY,
    APPLIED,
    CONFLICT,
    Correction,
    Judged,
    judged,
    read_corrections,
)
from clinical_lakehouse.ingestion.locked_data import Past, in_force
from clinical_lakehouse.ingestion.versions import only_newest
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import vault_secret
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from clinical_lakehouse.tables.bronze_correction import CORRECTION, DATA_LOCK
from clinical_lakehouse.tables.ops_audit import AUDIT

_FOLDER = "corrections"


@task(
    reads=[FHIR_RESOURCE, DATA_LOCK],
    writes=[CORRECTION, AUDIT],
    params={"file": "", "landing": ""},
)
def apply(run: Run) -> Metrics:
    """Judge each correction by the present value; those that fit become new versions, which land.

    They reach silver, omop and features with the next run of patient_ingestion, like anything that
    a source sends. Conflicts and refusals are kept in bronze.correction.
    """
    corrections = read_corrections(Path(run.param("file")))
    if not corrections:
        raise UsageError("the file holds no correction")
    rows = _newest(run, corrections)
    contents = {name: content for name, (content, _) in rows.items()}
    patients = {name: patient for name, (_, patient) in rows.items()}
    found, lines = judged(corrections, contents, run.as_of, replace(_past(run), patients=patients))
    name = _deliver(run, found, lines)
    _keep(run, found, name)
    applied = [one.correction for one in found if one.state == APPLIED]
    record(run, apply.name, "data_correction", _changes(run, applied))
    states = [one.state for one in found]
    conflicts = states.count(CONFLICT)
    counts = {"applied": len(applied), "conflicts": conflicts, "resources_changed": len(lines)}
    return {"corrections": len(found), **counts, "others": len(found) - len(applied) - conflicts}


def _newest(
    run: Run, corrections: Sequence[Correction]
) -> dict[tuple[str, str], tuple[str, str | None]]:
    """The newest JSON of the resources named, and whose they are, by type and id."""
    types, ids = (sorted(set(one)) for one in zip(*(c.resource for c in corrections), strict=True))
    named = F.col("resource_type").isin(types) & F.col("resource_id").isin(ids)
    newest = only_newest(only_valid(run.lake.read(FHIR_RESOURCE)).filter(named))
    chosen = newest.select("resource_type", "resource_id", "content", "patient_id").collect()
    return {(row[0], row[1]): (row[2], row[3]) for row in chosen}


def _past(run: Run) -> Past:
    """What earlier corrections settled, and which locks are in force."""
    own = run.lake.read(CORRECTION).filter(F.col("state").isin(APPLIED, ALREADY))
    files = run.lake.read(FHIR_RESOURCE).filter(F.col("file_name").startswith(f"{_FOLDER}/"))
    there = files.select("file_name", F.lit(True).alias("is_there")).distinct()
    settled = own.join(there, "file_name", "left").select("correction_id", "query_id", "is_there")
    rows = settled.collect()
    return Past(
        landed=frozenset(row["correction_id"] for row in rows if row["is_there"]),
        known=frozenset(row["correction_id"] for row in rows),
        resolved=frozenset(row["query_id"] for row in rows if row["query_id"]),
        locks=in_force(row.asDict() for row in run.lake.read(DATA_LOCK).collect()),
    )


def _deliver(run: Run, found: Iterable[Judged], lines: Sequence[str]) -> str | None:
    """Put the new versions into the landing folder, whole or not at all; begun again after a kill,
    the file that is there stays."""
    if not lines:
        return None
    ids = sorted(one.correction.id for one in found if one.state == APPLIED)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    folder = run.landing / _FOLDER
    path = folder / f"{digest}.ndjson"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        unfinished = folder / f".{digest}"
        unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        unfinished.replace(path)
    return f"{_FOLDER}/{path.name}"


def _keep(run: Run, found: Iterable[Judged], name: str | None) -> None:
    """A row for each; one that was applied stays so when it is sent again."""
    rows = [
        {
            "correction_id": one.correction.id,
            **{key: one.correction.fields[key] for key in ("resource_type", "resource_id", "path")},
            "old_value": one.correction.fields["old"],
            "new_value": one.correction.fields["new"],
            "reason_code": one.correction.fields["reason_code"],
            "why": one.correction.fields["why"],
            "corrected_by": one.correction.fields["by"],
            "requested_at": one.correction.fields["received_at"] or None,
            "query_id": one.correction.fields["query_id"] or None,
            "state": one.state,
            "file_name": name if one.state == APPLIED else None,
            "judged_at": run.as_of,
            "run_id": run.run_id,
        }
        for one in found
    ]
    known = run.lake.read(CORRECTION).filter(f"state = '{APPLIED}'").select("correction_id")
    fresh = run.lake.frame(CORRECTION, rows).join(known, "correction_id", "left_anti")
    run.lake.upsert(CORRECTION, fresh.select(*CORRECTION.column_names))


def _changes(run: Run, applied: Sequence[Correction]) -> list[Change]:
    """What the audit keeps: no value, but what proves later which values they were."""
    if not applied:
        return []
    key = vault_secret(run)

    def sealed(*parts: str) -> str:
        return hmac.new(key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()

    return [
        Change(
            event=one.id,
            action="correct",
            table=FHIR_RESOURCE.name,
            key=sealed(*one.resource),
            reason_code=one.fields["reason_code"],
            field=one.fields["path"],
            old_hash=sealed(one.id, one.fields["old"]),
            new_hash=sealed(one.id, one.fields["new"]),
            why=one.fields["by"],
        )
        for one in applied
    ]
