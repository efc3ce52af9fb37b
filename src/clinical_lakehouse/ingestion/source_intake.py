"""The job source_intake: what is new at the sources, as files in the landing folder."""

import time
from contextlib import suppress
from datetime import timedelta

from clinical_lakehouse.errors import LakeError, LakehouseError
from clinical_lakehouse.ingestion import bulk_batch
from clinical_lakehouse.ingestion.bulk_batch import Batch, Exported
from clinical_lakehouse.ingestion.bulk_http import Pace, Wire, patience_of
from clinical_lakehouse.ingestion.smart_backend import with_tokens
from clinical_lakehouse.operators.clinical_database import ClinicalDatabase
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import connection_secret
from clinical_lakehouse.runtime.settings import Connection
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops


@task(writes=[ops.BULK_EXPORT, ops.ALERT_EVENT], params={"landing": ""})
def export(run: Run) -> Metrics:
    """Bring what is new at the FHIR server (connection fhir_api) into the landing folder."""
    place = run.settings.connections.get("fhir_api")
    if place is None or not place.url:
        return {"state": "no FHIR server configured (FHIR_ENDPOINT)", "files": 0}
    exports = run.lake.read(ops.BULK_EXPORT)
    batch = bulk_batch.batch_of(place.url, place.export.model_dump(), exports, run, run.landing)
    wire = _wire(run, place)
    if bulk_batch.is_recorded(exports, batch.draft.exported_id()):
        bulk_batch.cancel(wire, batch.draft)
    if bulk_batch.is_settled(exports, batch.scope, run.as_of):
        return {"state": "exported before for this as_of", "files": 0}
    return bulk_batch.metrics_of(_exported(run, wire, batch))


def _wire(run: Run, place: Connection) -> Wire:
    until = wall_clock() + timedelta(minutes=place.export.wait_minutes)
    pace = Pace(wall_clock, time.sleep, until, run.lake.is_stopped)
    wire = Wire(pace, patience_of(place.export.model_dump()))
    return with_tokens(wire, place.auth.model_dump(), lambda: connection_secret(run, "fhir_api"))


def _exported(run: Run, wire: Wire, batch: Batch) -> Exported:
    """Export and write the row; the server may forget the export only after that."""
    try:
        result = bulk_batch.bring(wire, batch)
    except LakehouseError as error:
        with suppress(LakeError):  # a stopped task writes no more
            _record(run, batch, bulk_batch.failed(batch, str(error)))
        raise
    if result.state == bulk_batch.PARTIAL:
        said = f"the FHIR server reports {result.said}; the next export starts where this did"
        labels = {"scope": batch.scope.scope_id}
        found = Finding("export_partial", "warning", labels, 1.0, 0.0, said, run.as_of)
        emit(run, "source-intake-export", [found])
    _record(run, batch, result)
    bulk_batch.cancel(wire, batch.draft)
    return result


def _record(run: Run, batch: Batch, result: Exported) -> None:
    row = bulk_batch.row_of(batch, result, run)
    run.lake.merge(ops.BULK_EXPORT, [row])


@task(writes=[ops.DATABASE_EXTRACT], params={"landing": ""})
def extract(run: Run) -> Metrics:
    """Bring what changed in the clinical database (connection clinical_db), as FHIR."""
    return ClinicalDatabase("clinical_db", run.landing).execute(run)
