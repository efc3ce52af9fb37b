"""A training set as a file, with a manifest that makes the same bytes again."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features.feature_store import definition, in_use, known_since
from clinical_lakehouse.features.groups import Group
from clinical_lakehouse.features.meaning import as_json, from_json, version_of
from clinical_lakehouse.features.training_sets import missing_people, present_rows, training_set
from clinical_lakehouse.runtime.clock import parse_as_of
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.gold_feature_store import FEATURE_ABSENCE, FEATURE_EVENT

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Wanted:
    """What makes a training set: labels (rows with subject_key and at), definition and moment.

    `floor` is when the lake first held anything; a manifest keeps it, for it may be erased.
    """

    labels: tuple[Mapping[str, str], ...]
    group: Group
    as_of: datetime
    floor: datetime

    @property
    def set_id(self) -> str:
        """SHA-256 of all of it: the same id, the same rows."""
        parts = [list(self.labels), as_json(self.group), _text(self.as_of), _text(self.floor)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_training_set(run: Run, wanted: Wanted, folder: Path) -> dict[str, Any]:
    """Write <set id>.csv and its manifest into `folder`; the manifest.

    Rows are written one by one, in one order. Labels of people who are not there are not in the
    file: the manifest names them, the reason and when they left.
    """
    events = run.lake.read(FEATURE_EVENT)
    labels = _labels(events.sparkSession, wanted)
    rows = training_set(labels, events, wanted.group, wanted.as_of, wanted.floor)
    rows = rows.persist()
    path = folder / f"{wanted.set_id[:16]}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        digest, count, nulls = _written(present_rows(rows), path, wanted.group)
        missing = missing_people(rows, run.lake.read(FEATURE_ABSENCE)).collect()
    finally:
        rows.unpersist()
    lost = [_lost(row.asDict()) for row in missing]
    manifest = {
        **_described(wanted),
        "file": path.name,
        "sha256": digest,
        "row_count": count,
        "null_counts": nulls,
        "missing": sorted(lost, key=lambda one: (str(one["subject_key"]), one["reason"])),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True)
    path.with_suffix(".manifest.json").write_text(text + "\n", encoding="utf-8")
    return manifest


def new_wanted(run: Run, labels: Path, group: str, as_of: str | None) -> Wanted:
    """A set of these labels and the group's version in use; UsageError where there is none."""
    using = in_use(run).get(group)
    if using is None:
        raise UsageError(f"no version of {group!r} is in use; run the job feature_store")
    meant = definition(run, group, using["feature_version"])
    moment = parse_as_of(as_of) if as_of else run.as_of
    return Wanted(read_labels(labels), meant, moment, known_since(run))


def read_wanted(manifest: Path) -> Wanted:
    """What a manifest asks for, to make its set again."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return Wanted(
            tuple(content["labels"]),
            from_json(content["definition"]),
            datetime.fromisoformat(content["as_of"]),
            datetime.fromisoformat(content["floor"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{manifest.name} is no manifest of a training set") from None


def read_labels(path: Path) -> tuple[Mapping[str, str], ...]:
    """The rows of a CSV file with a header that has subject_key and at; UsageError otherwise."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"subject_key", "at"} <= set(rows[0]):
        raise UsageError(f"{path.name} needs rows under a header with subject_key and at")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UsageError(f"{path.name}:{number} has more or fewer fields than its header")
        _typed(path.name, number, row)
    return tuple(rows)


def _typed(name: str, number: int, row: Mapping[str, str]) -> tuple[int | None, datetime | None]:
    try:
        key = int(row["subject_key"]) if row["subject_key"] else None
        return key, parse_as_of(row["at"]) if row["at"] else None
    except (ValueError, UsageError):
        text = "needs a number as subject_key and an ISO time as at"
        raise UsageError(f"{name}:{number} {text}") from None


def _labels(spark: SparkSession, wanted: Wanted) -> DataFrame:
    """Other columns stay texts, as they were given."""
    others = [name for name in wanted.labels[0] if name not in ("subject_key", "at")]
    rows = [
        (*_typed("labels", number, row), *(row[name] for name in others))
        for number, row in enumerate(wanted.labels, 2)
    ]
    moments = [_typed("labels", 0, row)[1] for row in wanted.labels]
    if any(at is not None and at > wanted.as_of for at in moments):
        raise UsageError("a label lies after as_of; give a later --as-of, or leave it out")
    columns = ", ".join(f"`{name}` STRING" for name in others)
    kinds = "subject_key BIGINT, at TIMESTAMP" + (f", {columns}" if others else "")
    return spark.createDataFrame(rows, kinds)


def _written(rows: DataFrame, path: Path, group: Group) -> tuple[str, int, dict[str, int]]:
    """SHA-256 of the file, its rows, and nulls by feature."""
    names = [feature.name for feature in group.features]
    nulls, count = dict.fromkeys(names, 0), 0
    told = rows.withColumn("at", F.date_format("at", "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"))

    def lines() -> Iterator[list[Any]]:
        nonlocal count
        for row in told.toLocalIterator():
            count += 1
            for name in names:
                nulls[name] += row[name] is None
            yield ["" if value is None else value for value in row]

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(told.columns)
        writer.writerows(lines())
    with path.open("rb") as made:
        return hashlib.file_digest(made, "sha256").hexdigest(), count, nulls


def _described(wanted: Wanted) -> dict[str, Any]:
    group = wanted.group
    return {
        "set_id": wanted.set_id,
        "feature_group": group.name,
        "feature_version": version_of(group),
        "definition": as_json(group),
        "features": [{"name": f.name, "unit": f.unit} for f in group.features],
        "as_of": _text(wanted.as_of),
        "floor": _text(wanted.floor),
        "knowledge": group.knowledge,
        "labels": list(wanted.labels),
        "label_count": len(wanted.labels),
    }


def _lost(row: Mapping[str, Any]) -> dict[str, Any]:
    noted = row["noted_us"]
    when = None if noted is None else _text(_EPOCH + timedelta(microseconds=noted))
    kept = {name: row[name] for name in ("subject_key", "reason", "row_count")}
    return {**kept, "noted_at": when}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
