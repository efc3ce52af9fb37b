"""FHIR to OMOP: whole loads and 1% increments, each beside plain Spark in the same run.

Run `python benchmarks/fhir_to_omop.py 870 6900` (patients; about 190,000 and 1.5 million
resources). Everything runs in one warm session: a small lake is made first and thrown away. Plain
Spark does no check, no consent, no de-identification and no ledger: raw text to a Delta table
(bronze), JSON read with the same narrow schemas to one Delta table a type (silver), and silver
joined with the code map, appended to one Delta table per source of events (omop).
"""

import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from measuring import peak_memory, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.view import compiled_view
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.runner import Request
from clinical_lakehouse.local.workspace import open_workspace
from clinical_lakehouse.runtime.session import open_session
from clinical_lakehouse.simulation import simulate
from clinical_lakehouse.simulation.plan import TrialPlan
from clinical_lakehouse.standardization.events import SOURCES
from clinical_lakehouse.tables.gold_standardization import CODE_MAP
from clinical_lakehouse.tables.views import silver_views

AS_OF = datetime(2026, 6, 30, tzinfo=UTC)
JOBS = ("patient_ingestion", "data_standardization")
WARM_UP = 40
CHANGED_SHARE = 0.01


@dataclass(frozen=True)
class Size:
    """What one size took: seconds by name, in the order they were measured."""

    patients: int
    resources: int
    seconds: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, dict[str, float]] = field(default_factory=dict)
    peak: list[int] = field(default_factory=list)


def main(sizes: list[int]) -> None:
    """One table of figures for all sizes, one of tasks for each."""
    spark = open_session("local[2]")
    with tempfile.TemporaryDirectory() as folder:
        _measured(spark, WARM_UP, Path(folder))
    done = []
    for patients in sizes:
        with tempfile.TemporaryDirectory() as folder:
            done.append(_measured(spark, patients, Path(folder)))
            _print_size(done[-1])
    for size in done[1:]:
        for name in ("ours: patient_ingestion", "ours: data_standardization"):
            ratio, more = (
                size.seconds[name] / done[0].seconds[name],
                size.resources / done[0].resources,
            )
            _print(f"{more:.1f} times the resources: {name} {ratio:.1f} times\n")


def _measured(spark: SparkSession, patients: int, folder: Path) -> Size:
    landing, root = folder / "landing", folder / "lake"
    simulate(landing, TrialPlan(patients=patients, sites=6, months=12, seed=7))
    resources = sum(1 for path in landing.glob("*.ndjson") for _ in path.open("rb"))
    size = Size(patients, resources)
    with peak_memory(with_self=True) as peak:
        _plain_ingestion(spark, landing, folder / "plain", size)
        _ours(root, landing, AS_OF, "ours", size)
        _plain_standardization(spark, root, folder / "plain", size)
        _write_changes(landing, random.Random(7))
        _ours(root, landing, AS_OF + timedelta(hours=6), "1% more", size)
    size.peak.extend(peak)
    return size


def _plain_ingestion(spark: SparkSession, landing: Path, out: Path, size: Size) -> None:
    with _noted(size, "plain: bronze"):
        text = spark.read.text(str(landing / "*.ndjson")).select("*", "_metadata.file_name")
        _write(text, out / "bronze")
    with _noted(size, "plain: silver"):
        for silver in silver_views():
            files = [str(path) for path in landing.glob(f"{silver.resource}*.ndjson")]
            if files:
                schema = compiled_view(silver, AS_OF, []).compiled.schema
                _write(spark.read.schema(schema).json(files), out / silver.table.short_name)
    shutil.rmtree(out)


def _plain_standardization(spark: SparkSession, root: Path, out: Path, size: Size) -> None:
    """Each event source with its concept to one table; persons and visits as they are."""
    maps = spark.read.format("delta").load(str(root / "gold" / CODE_MAP.short_name))
    first = maps.filter("map_index = 0 AND role = 'event'")
    with _noted(size, "plain: omop"):
        for source in SOURCES:
            path = root / "silver" / source.table.short_name
            if path.exists():
                rows = spark.read.format("delta").load(str(path))
                names = {"code_system": source.code_system, "code": source.code}
                own = first.filter(F.col("source_table") == source.table.name)
                codes = own.select(*(F.col(n).alias(f"map_{n}") for n in names), "concept_id")
                same = [F.expr(value) == F.col(f"map_{name}") for name, value in names.items()]
                coded = rows.join(F.broadcast(codes), same, "left").drop(
                    "map_code_system", "map_code"
                )
                _write(coded, out / source.table.short_name)
        for name in ("patient", "encounter"):
            _write(spark.read.format("delta").load(str(root / "silver" / name)), out / name)
    shutil.rmtree(out)


def _write(rows: DataFrame, path: Path) -> None:
    rows.write.format("delta").mode("append").save(str(path))


def _ours(root: Path, landing: Path, as_of: datetime, label: str, size: Size) -> None:
    workspace = open_workspace(load_bundle("dev"), root, lambda event: None)
    for job in JOBS:
        parameters = {"as_of": as_of.isoformat()}
        if job == "patient_ingestion":
            parameters["landing"] = str(landing)
        with _noted(size, f"{label}: {job}"):
            result = workspace.run(Request(job, parameters))
        if not result.ok:
            failed = [task.message for task in result.tasks.values() if task.message]
            sys.exit(f"{job} failed: {result.message} {failed}")
        size.tasks[f"{label}: {job}"] = {k: task.seconds for k, task in result.tasks.items()}


def _write_changes(landing: Path, random_source: random.Random) -> None:
    """1% of the lines again: half as a newer version of the resource, half as a new one."""
    for path in sorted(landing.glob("*.ndjson")):
        made = [line for line in path.open("rb") if random_source.random() < CHANGED_SHARE]
        if path.name.startswith(("Patient", "Research", "Organization", "Consent")) or not made:
            continue
        with (landing / f"{path.stem}.changes.ndjson").open("wb") as out:
            for number, line in enumerate(made):
                out.write(_changed(line, number % 2 == 0) + b"\n")


def _changed(line: bytes, is_new: bool) -> bytes:
    try:
        resource = dict(orjson.loads(line))
    except (ValueError, TypeError):
        return line.rstrip()
    resource["meta"] = {**resource.get("meta", {}), "versionId": "99"}
    resource["meta"]["lastUpdated"] = "2026-06-01T00:00:00Z"
    if is_new:
        resource["id"] = f"{resource.get('id')}-b"
    return orjson.dumps(resource)


@contextmanager
def _noted(size: Size, name: str) -> Iterator[None]:
    with timed() as seconds:
        yield
    size.seconds[name] = seconds[0]


def _print_size(size: Size) -> None:
    peak = size.peak[0] / 1e9
    _print(f"\n## {size.patients} patients, {size.resources:,} resources, {peak:.1f} GB\n\n")
    took = size.seconds
    for name, seconds in took.items():
        _print(f"{name}: {seconds:.1f} s, {size.resources / seconds:,.0f} resources/s\n")
    plain = took["plain: bronze"] + took["plain: silver"]
    whole = sum(took[f"ours: {job}"] for job in JOBS)
    more = sum(took[f"1% more: {job}"] for job in JOBS)
    _print(f"patient_ingestion / plain Spark: {took['ours: patient_ingestion'] / plain:.2f}\n")
    _print("data_standardization / plain append: ")
    _print(f"{took['ours: data_standardization'] / took['plain: omop']:.2f}\n")
    _print(f"1% more / whole: {more / whole:.2f}\n")
    for label, tasks in size.tasks.items():
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in tasks.items())
        _print(f"{label}: {parts}\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [870, 6900])
