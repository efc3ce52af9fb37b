"""MEDS folders (Medical Event Data Standard 0.4): events by split, and what the metadata say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.runtime.lake import Lakehouse

MEDS_VERSION = "0.4.1"
SPLITS = ("train", "tuning", "held_out")
# What every file of events must have; a value is optional, further columns are kept.
_NEEDED = {"subject_id": "bigint", "time": "timestamp_ntz", "code": "string"}


@dataclass(frozen=True)
class Dataset:
    """What is to be written: events (subject_id, time, code, numeric_value and more), splits
    (subject_id, split), codes (code, description, parent_codes), and metadata/dataset.json."""

    events: DataFrame
    splits: DataFrame
    codes: DataFrame
    facts: Mapping[str, object]


def read_meds(lake: Lakehouse, folder: Path) -> DataFrame:
    """The events of a MEDS folder: one row per event, with `split`, the folder below data/ that it
    stands in. SourceError where there are none, or a file lacks a column."""
    root = folder / "data" if (folder / "data").is_dir() else folder
    files = sorted(root.rglob("*.parquet"))
    if not files:
        raise SourceError(f"{folder} holds no MEDS events (data/<split>/*.parquet)")
    reader = lake.spark.read.option("recursiveFileLookup", "true").option("mergeSchema", "true")
    found = reader.option("pathGlobFilter", "*.parquet").parquet(str(root))
    absent = [name for name in _NEEDED if name not in found.columns]
    if absent:
        raise SourceError(f"{folder} has events without the column {absent[0]!r} that MEDS needs")
    if "numeric_value" not in found.columns:
        found = found.withColumn("numeric_value", F.lit(None).cast("float"))
    place = F.split(F.col("_metadata.file_path"), "/")
    told = found.withColumn("split", F.element_at(place, -2))
    return told.withColumns({name: F.col(name).cast(kind) for name, kind in _NEEDED.items()})


def write_meds(dataset: Dataset, out: Path, shards: int = 1) -> None:
    """Write the folder, whole or not at all: data/<split>/<n>.parquet and metadata/. A subject's
    events stand together in one file, in the order of their time, those without one first."""
    draft = out.with_name(f".{out.name}.part")
    if out.exists() or draft.exists():
        raise UsageError(f"{out} (or its draft {draft.name}) exists; give another --out")
    metadata = draft / "metadata"
    metadata.mkdir(parents=True)
    events = dataset.events.withColumns({
        "time": F.col("time").cast("timestamp_ntz"),
        "numeric_value": F.col("numeric_value").cast("float"),
    })  # fmt: skip
    placed = events.join(dataset.splits, "subject_id")
    for split in SPLITS:
        part = placed.filter(F.col("split") == split).drop("split")
        together = part.repartition(shards, "subject_id")
        order = (F.col("subject_id"), F.col("time").asc_nulls_first(), F.col("code"))
        _write(together.sortWithinPartitions(*order), draft / "data" / split)
    _write_one(dataset.splits.orderBy("subject_id"), metadata, "subject_splits.parquet")
    _write_one(dataset.codes.orderBy("code"), metadata, "codes.parquet")
    text = json.dumps({"meds_version": MEDS_VERSION, **dataset.facts}, indent=2, sort_keys=True)
    (metadata / "dataset.json").write_text(f"{text}\n", encoding="utf-8")
    draft.rename(out)


def write_labels(labels: DataFrame, out: Path) -> None:
    """Write labels in MEDS' label schema (subject_id, prediction_time, boolean_value) as one file;
    UsageError where it exists."""
    if out.exists():
        raise UsageError(f"{out} exists; give another --out")
    shaped = labels.select(
        F.col("subject_id").cast("bigint").alias("subject_id"),
        F.col("index_at").cast("timestamp_ntz").alias("prediction_time"),
        (F.col("label") > 0).alias("boolean_value"),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    _write_one(shaped.orderBy("subject_id", "prediction_time"), out.parent, out.name)


def _write(rows: DataFrame, folder: Path) -> list[Path]:
    """The rows as 0.parquet, 1.parquet, ...: Spark's own names and marks are no part of MEDS."""
    rows.write.parquet(str(folder))
    made = []
    for at, part in enumerate(sorted(folder.glob("part-*.parquet"))):
        made.append(part.rename(folder / f"{at}.parquet"))
    for mark in (*folder.glob("_SUCCESS"), *folder.glob(".*.crc")):
        mark.unlink()
    return made


def _write_one(rows: DataFrame, folder: Path, name: str) -> None:
    draft = folder / f".{name}.part"
    (made,) = _write(rows.coalesce(1), draft)
    made.rename(folder / name)
    draft.rmdir()
