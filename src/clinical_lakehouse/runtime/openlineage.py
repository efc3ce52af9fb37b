"""OpenLineage events of task runs (spec 2-0-2): START, then COMPLETE or FAIL, to a file or by HTTP.

They hold names, types and versions of declared tables, never a row's value.
"""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import requests

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.failures import one_line
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.secrets import connection_secret
from clinical_lakehouse.tables.catalog import all_tables

EventType = Literal["START", "COMPLETE", "FAIL"]
Json = dict[str, Any]
_PRODUCER = "https://clinical-lakehouse.invalid/openlineage"
_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = {
    "DatasetVersionDatasetFacet": "1-0-1",
    "DocumentationJobFacet": "1-1-0",
    "ErrorMessageRunFacet": "1-0-1",
    "JobTypeJobFacet": "2-0-4",
    "NominalTimeRunFacet": "1-0-1",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "SchemaDatasetFacet": "1-2-0",
}
# Names job runs, whose ids are no UUIDs, in the parent facet of their tasks' runs.
_NAMESPACE = uuid.UUID("0a2f7f0e-6f5b-5c1c-9a57-2b9d4c1e8f33")
_TIMEOUT_SECONDS = 5.0
_NOT_DELIVERED = "_openlineage.ndjson"


@dataclass(frozen=True)
class TaskRun:
    """One attempt of a task: what it is, and the run it belongs to. Its id is drawn anew, for a
    second attempt is another run to OpenLineage."""

    run: Run
    job: str
    key: str
    description: str
    id: uuid.UUID

    def event(self, type_: EventType, inputs: Mapping[str, int], outputs: Mapping[str, int],
              error: BaseException | None = None) -> Json:  # fmt: skip
        """The event as JSON; `inputs` and `outputs` are tables and their Delta versions (-1: not
        known)."""
        where = self.run.lake.catalog or "clinical-lakehouse"
        return {
            "eventType": type_,
            "eventTime": _instant(wall_clock()),
            "producer": _PRODUCER,
            "schemaURL": _EVENT,
            "run": {"runId": str(self.id), "facets": self._run_facets(where, error)},
            "job": {"namespace": where, "name": f"{self.job}.{self.key}",
                    "facets": self._job_facets()},
            "inputs": _datasets(where, inputs),
            "outputs": _datasets(where, outputs),
        }  # fmt: skip

    def _run_facets(self, where: str, error: BaseException | None) -> Json:
        parent = str(uuid.uuid5(_NAMESPACE, self.run.run_id))
        facets = {
            "nominalTime": _facet("NominalTimeRunFacet",
                                  nominalStartTime=_instant(self.run.as_of)),
            "parent": _facet("ParentRunFacet", run={"runId": parent},
                             job={"namespace": where, "name": self.job}),
            "processing_engine": _facet("ProcessingEngineRunFacet", name="spark",
                                        version=self.run.lake.spark.version,
                                        openlineageAdapterVersion=version("clinical-lakehouse")),
        }  # fmt: skip
        if error is not None:
            # Spark's own text may hold a value; one_line is free of data.
            facets["errorMessage"] = _facet("ErrorMessageRunFacet", message=one_line(error),
                                            programmingLanguage="PYTHON")  # fmt: skip
        return facets

    def _job_facets(self) -> Json:
        return {
            "documentation": _facet("DocumentationJobFacet", description=self.description),
            "jobType": _facet("JobTypeJobFacet", processingType="BATCH", integration="SPARK",
                              jobType="TASK"),
        }  # fmt: skip


def tell(this: TaskRun, type_: EventType, inputs: Mapping[str, int], outputs: Mapping[str, int],
         error: BaseException | None = None) -> None:  # fmt: skip
    """Send the event where connections.openlineage says: by HTTP POST, or to the end of a file
    below the lake; to nobody without it.

    What a task does matters more than that somebody hears of it: what cannot be delivered is kept
    in `ops/_openlineage.ndjson` of a local lake.
    """
    run = this.run
    target = run.settings.connections.get("openlineage")
    if target is None or not target.url:
        return
    event = this.event(type_, inputs, outputs, error)
    if not target.url.startswith(("http://", "https://")):
        _append(run.lake.root / target.url, event)
        return
    try:
        answer = requests.post(target.url, json=event, timeout=_TIMEOUT_SECONDS,
                               headers=_authorization(run))  # fmt: skip
        answer.raise_for_status()
    except requests.RequestException:
        if run.lake.catalog is None:
            _append(run.lake.root / "ops" / _NOT_DELIVERED, event)


def _authorization(run: Run) -> dict[str, str]:
    with suppress(SettingsError):  # a server that asks for no key needs none
        return {"Authorization": f"Bearer {connection_secret(run, 'openlineage')}"}
    return {}


def _append(path: Path, event: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def _datasets(where: str, versions: Mapping[str, int]) -> list[Json]:
    return [{"namespace": where, "name": name, "facets": _table_facets(name, number)}
            for name, number in sorted(versions.items())]  # fmt: skip


def _table_facets(name: str, number: int) -> Json:
    table = all_tables().get(name)
    facets = {}
    if table is not None:
        fields = [{"name": c.name, "type": c.type, "description": c.comment} for c in table.columns]
        facets["schema"] = _facet("SchemaDatasetFacet", fields=fields)
    if number >= 0:
        facets["version"] = _facet("DatasetVersionDatasetFacet", datasetVersion=str(number))
    return facets


def _facet(kind: str, **content: Any) -> Json:
    url = f"{_SPEC}/facets/{_FACETS[kind]}/{kind}.json#/$defs/{kind}"
    return {"_producer": _PRODUCER, "_schemaURL": url, **content}


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
