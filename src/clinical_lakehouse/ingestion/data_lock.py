"""The job data_lock: submitted data are locked against corrections, and unlocked by a signature."""

from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.identity import opened
from clinical_lakehouse.ingestion.locked_data import Lock, day, in_force, signed
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.decisions import decided_status
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.tables import vault
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from clinical_lakehouse.tables.bronze_correction import DATA_LOCK
from clinical_lakehouse.tables.ops_audit import AUDIT
from clinical_lakehouse.tables.views import silver_views

_WHAT = ("lock", "subject", "table", "first_date", "last_date")
_WHO = ("decision", "by", "role", "meaning", "why")
_DECISIONS = {"lock": "locked", "unlock": "unlocked"}


@task(
    reads=[vault.SUBJECT, vault.SEALED_KEY],
    writes=[DATA_LOCK, AUDIT],
    params=dict.fromkeys((*_WHAT, *_WHO), ""),
)
def sign(run: Run) -> Metrics:
    """Lock a person's, a table's or a period's resources, or take a lock away; who, in which role,
    with which meaning and why stand in bronze.data_lock and in the audit."""
    status = decided_status(run.params, _DECISIONS, "is kept with the signature")
    signature, action = signed(run.params, run.as_of), run.params["decision"]
    rows = [row.asDict() for row in run.lake.read(DATA_LOCK).collect()]
    done = [row for row in rows if row["run_id"] == run.run_id]
    lock_id = done[0]["lock_id"] if done else _sign(run, action, rows, signature)
    told = Change(
        f"{run.run_id} {lock_id}", action, FHIR_RESOURCE.name, lock_id,
        run.params["meaning"], why=run.params["why"],
    )  # fmt: skip
    record(run, sign.name, run.params["by"], [told])
    return {"decision": status, "lock": lock_id}


def _sign(
    run: Run, action: str, rows: list[dict[str, object]], signature: dict[str, object]
) -> str:
    held = {lock.id: lock for lock in in_force(rows)}
    if action == "lock":
        lock = _wanted(run)
        if lock.id in held:
            raise UsageError(f"that is locked already, by lock {lock.id}")
    elif run.params["lock"] not in held:
        raise UsageError("no lock of that id is in force; see clinical-lakehouse correct locks")
    else:
        lock = held[run.params["lock"]]
    number = 1 + sum(row["lock_id"] == lock.id for row in rows)
    what = {
        "patient_id": lock.patient_id,
        "resource_type": lock.resource_type,
        "first_date": lock.first,
        "last_date": lock.last,
    }
    row = {"lock_id": lock.id, "number": number, "action": action, **what, **signature}
    if not run.lake.claim(DATA_LOCK, row | {"run_id": run.run_id}):
        raise UsageError("somebody else changed that lock meanwhile; look, then try again")
    return lock.id


def _wanted(run: Run) -> Lock:
    """The lock asked for; UsageError for a person, table or day that there is not."""
    table, first, last = (
        run.params["table"],
        day(run.params, "first_date"),
        day(run.params, "last_date"),
    )
    types = {view.table.name: view.resource for view in silver_views()}
    if table and table not in types:
        raise UsageError(
            f"no silver table {table!r} is made of a resource; e.g. silver.observation"
        )
    if first and last and last < first:
        raise UsageError("--last must not be earlier than --first")
    lock = Lock(_patient(run), types.get(table), first, last)
    if lock == Lock():
        raise UsageError("say what to lock: --subject, --table, --first or --last")
    return lock


def _patient(run: Run) -> str | None:
    key = run.params["subject"]
    if not key:
        return None
    if not key.isdecimal():
        raise UsageError("--subject must be a surrogate key, as silver has it")
    rows = run.lake.read(vault.SUBJECT).filter(F.col("subject_key") == F.lit(int(key)))
    found = opened(rows, vault_keys(run).seals).select("patient_id").collect()
    if not found:
        raise UsageError(f"the vault knows no person of key {key}")
    return str(found[0]["patient_id"])
