"""Runs the tasks of patient_ingestion as the job does, and looks at what they left."""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from pyspark.sql import DataFrame, SparkSession

from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion.corrections import FIELDS
from clinical_lakehouse.ingestion.identity import opened
from clinical_lakehouse.methods.content_hash import content_hash
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.tables import vault
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.contract import Table

AS_OF = datetime(2024, 6, 30, 12, tzinfo=UTC)
SECRET = bytes(range(32))
SILVER = [t for t in job.publish.writes if t.schema_name == "silver"]
TASKS = (job.land, job.validate, job.check_consent, job.deidentify, job.publish)


def new_lake(spark: SparkSession, root: Path) -> Lakehouse:
    """An empty lake with a known secret, so that two lakes have the same keys."""
    key = root / "vault" / "vault.key"
    key.parent.mkdir(parents=True)
    key.write_bytes(SECRET)
    key.chmod(0o600)
    return Lakehouse(spark, root)


def ingest(lake: Lakehouse, landing: Path, day: int = 0, **privacy: Any) -> dict[str, Metrics]:
    """The whole job, `day` days later; each task's metrics by its name. Keys are derived, so that
    two lakes with one secret compare."""
    return {task.key: task.execute(run_on(lake, landing, day, **privacy)) for task in TASKS}


def run_on(lake: Lakehouse, landing: Path, day: int = 0, **privacy: Any) -> Run:
    """The run that `ingest` gives its tasks."""
    settings = load_settings("dev", environ={})
    changed = settings.privacy.model_copy(update={"surrogate_keys": "derived", **privacy})
    return Run(
        lake,
        settings.model_copy(update={"privacy": changed}),
        AS_OF + timedelta(days=day),
        f"run-{day}",
        {"landing": str(landing)},
    )


def people(lake: Lakehouse, **privacy: Any) -> DataFrame:
    """vault.subject, opened."""
    run = run_on(lake, lake.root, **privacy)
    return opened(lake.read(vault.SUBJECT), vault_keys(run).seals)


def hashes(lake: Lakehouse, tables: list[Table]) -> dict[str, str]:
    """Each table's content as one number; what is sealed differs each time it is sealed."""

    def hashed(table: Table) -> str:
        names = sorted(c.name for c in table.columns if c.type != "BINARY")
        maps = [c.name for c in table.columns if c.type.startswith("MAP")]
        return str(lake.read(table).agg(content_hash(names, maps)).collect()[0][0])

    return {table.name: hashed(table) for table in tables}


def all_hashes(lake: Lakehouse) -> dict[str, str]:
    """The content of every table there is."""
    return hashes(lake, [table for table in all_tables().values() if lake.exists(table)])


def write_corrections(path: Path, *corrections: Mapping[str, Any]) -> None:
    """A file of corrections; a field that is not given is empty."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        writer.writerows(corrections)


def write_lines(path: Path, *resources: Mapping[str, Any] | bytes) -> None:
    """An NDJSON file of resources, or of raw lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = (r if isinstance(r, bytes) else orjson.dumps(r) for r in resources)
    path.write_bytes(b"".join(line + b"\n" for line in raw))
