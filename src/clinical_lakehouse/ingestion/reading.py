"""What a worker does: reads its chunks, judges each resource, and gives rows as Arrow batches."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from clinical_lakehouse.ingestion.bundles import (
    REQUEST_URL,
    Deletion,
    Entry,
    entries_of,
    holds_deletions,
)
from clinical_lakehouse.ingestion.landing import (
    DAMAGED,
    LINES,
    MAX_BUNDLE_BYTES,
    PACKED,
    Chunk,
    Surveyed,
    form_of,
    lines,
    opened,
    survey,
)
from clinical_lakehouse.ingestion.reference_paths import references_of
from clinical_lakehouse.ingestion.references import person_of, with_local_references
from clinical_lakehouse.ingestion.resource_rules import Verdict, judge

Batches = Iterator[pa.RecordBatch]
_ROWS, _BYTES = 4096, 8 << 20
ROW_SCHEMA = pa.schema(
    [
        pa.field("file_id", pa.string()),
        pa.field("file_name", pa.string()),
        pa.field("line", pa.int64()),
        pa.field("entry", pa.int32()),
        pa.field("byte_offset", pa.int64()),
        *(
            pa.field(name, pa.string())
            for name in (
                "resource_type",
                "resource_id",
                "version_id",
                "last_updated",
                "patient_id",
                "content",
                "content_hash",
                "status",
                "reason",
                "path",
            )
        ),
        pa.field("is_deleted", pa.bool_()),
        pa.field("reference_targets", pa.list_(pa.string())),
    ]
)
SURVEY_SCHEMA = pa.schema(
    [
        pa.field("file_id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("line_count", pa.int64()),
        pa.field("line_sum", pa.int64()),
        pa.field("ignored_count", pa.int64()),
        pa.field("offsets", pa.list_(pa.int64())),
        pa.field("lengths", pa.list_(pa.int64())),
        pa.field("first_lines", pa.list_(pa.int64())),
    ]
)
# The same schemas for Spark.
_SPARK_TYPES = {
    pa.string(): "STRING",
    pa.int64(): "BIGINT",
    pa.int32(): "INT",
    pa.bool_(): "BOOLEAN",
    pa.list_(pa.string()): "ARRAY<STRING>",
}
ROW_DDL = ", ".join(f"{field.name} {_SPARK_TYPES[field.type]}" for field in ROW_SCHEMA)
SURVEY_DDL = (
    "file_id STRING, name STRING, line_count BIGINT, line_sum BIGINT, ignored_count BIGINT, "
    "offsets ARRAY<BIGINT>, lengths ARRAY<BIGINT>, first_lines ARRAY<BIGINT>"
)
Row = tuple[Any, ...]
Place = tuple[str, int, int, int]  # file_id, line, entry, byte offset in the unpacked file


@dataclass(frozen=True)
class Context:
    """What a resource is read with beside itself: when its file was exported (manifest), and the
    urls of modifierExtensions that are known."""

    exported_at: str | None
    modifiers: Set[str]


STORED = ("file_id", "file_name", "line", "entry", "byte_offset", "content")


def surveyor(folder: str, groups: Sequence[Sequence[str]]) -> Callable[[Batches], Batches]:
    """A function for mapInArrow: numbers of groups of file names in, one row per file out."""

    def run(batches: Batches) -> Batches:
        for number in _numbers(batches):
            files = [survey(Path(folder), name) for name in groups[number]]
            yield _batch(SURVEY_SCHEMA, [_survey_row(file) for file in files])

    return run


def _survey_row(file: Surveyed) -> Row:
    parts = [(c.offset, c.length, c.first_line) for c in file.chunks]
    offsets, lengths, first_lines = zip(*parts, strict=True)
    return (
        file.file_id,
        file.name,
        file.line_count,
        file.line_sum,
        file.ignored_count,
        *(list(column) for column in (offsets, lengths, first_lines)),
    )


def surveyed_of(folder: Path, row: Mapping[str, Any]) -> Surveyed:
    """A surveyor's row as the file that it describes."""
    parts = zip(row["offsets"], row["lengths"], row["first_lines"], strict=True)
    path, file_id = str(folder / row["name"]), row["file_id"]
    chunks = tuple(Chunk(file_id, path, *part) for part in parts)
    line_count, line_sum = row["line_count"], row["line_sum"]
    return Surveyed(file_id, row["name"], line_count, line_sum, row["ignored_count"], chunks)


def reader(
    packed: Sequence[Sequence[Chunk]],
    names: Mapping[str, str],
    modifiers: Set[str] = frozenset(),
) -> Callable[[Batches], Batches]:
    """A function for mapInArrow: numbers of bins in, one row per resource out.

    `names` are the files' names below the landing folder, by file_id; `modifiers` the urls of known
    modifierExtensions.
    """

    def run(batches: Batches) -> Batches:
        for number in _numbers(batches):
            rows = (
                (row[0], names[row[0]], *row[1:])
                for chunk in packed[number]
                for row in rows_of(chunk, modifiers)
            )
            yield from _bounded(rows)

    return run


def rejudger(modifiers: Set[str]) -> Callable[[Batches], Batches]:
    """A function for mapInArrow: the STORED columns of bronze in, rows as `reader` gives them out.

    Judged by today's rules; rows without content are left out: there is nothing to judge.
    """

    def run(batches: Batches) -> Batches:
        for batch in batches:
            stored = zip(*(batch.column(name).to_pylist() for name in STORED), strict=True)
            yield from _bounded(
                (row[0], file_name, *row[1:])
                for file_id, file_name, line, entry, at, content in stored
                if content is not None
                for row in _rows(
                    (file_id, line, entry, at), content.encode(), Context(None, modifiers)
                )
            )

    return run


def _numbers(batches: Batches) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _bounded(rows: Iterator[Row]) -> Batches:
    """Arrow batches of at most _ROWS rows and about _BYTES bytes of content."""
    content = ROW_SCHEMA.names.index("content")
    waiting: list[Row] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row[content] or "")
        if len(waiting) >= _ROWS or size >= _BYTES:
            yield _batch(ROW_SCHEMA, waiting)
            waiting, size = [], 0
    if waiting:
        yield _batch(ROW_SCHEMA, waiting)


def _batch(schema: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def rows_of(chunk: Chunk, modifiers: Set[str] = frozenset()) -> Iterator[Row]:
    """One row per non-empty line, or per Bundle entry ordered by resource type."""
    path, context = Path(chunk.path), Context(chunk.exported_at, modifiers)
    if form_of(path.name) != LINES:
        # Rows of one type side by side: readers of one type skip the pages of the others.
        yield from sorted(_rows_of_document(chunk, path, context), key=lambda row: row[4] or "")
        return
    is_packed = path.name.endswith(PACKED)
    with opened(path) as stream:
        if chunk.offset:
            stream.seek(chunk.offset)
        for number, at, line in lines(stream, chunk.first_line):
            if at >= chunk.length and not is_packed:
                return
            place = (chunk.file_id, number, 0, chunk.offset + at)
            if isinstance(line, str):
                yield _refused(place, line)
            elif not line.isspace():
                yield from _rows(place, line.strip(b" \t\r\n"), context)


def _rows_of_document(chunk: Chunk, path: Path, context: Context) -> Iterator[Row]:
    try:
        with opened(path) as stream:
            raw = stream.read(MAX_BUNDLE_BYTES + 1)
    except DAMAGED:
        yield _refused((chunk.file_id, 1, 0, 0), "damaged-file")
        return
    if len(raw) > MAX_BUNDLE_BYTES:
        yield _refused((chunk.file_id, 1, 0, 0), "too-large")
        return
    for number, entry in enumerate(entries_of(raw)):
        yield _row_of_entry((chunk.file_id, 1, number, 0), entry, context)


def _rows(place: Place, raw: bytes, context: Context) -> Iterator[Row]:
    """A line's one row; a Bundle that deletes gives a row for each of its entries instead."""
    content = with_local_references(raw)
    verdict = judge(content, context.modifiers)
    if verdict.resource_type == "Bundle" and holds_deletions(verdict.resource or {}):
        file_id, line, _, at = place
        for number, entry in enumerate(entries_of(raw)):
            yield _row_of_entry((file_id, line, number, at), entry, context)
    else:
        yield _row(place, content, verdict)


def _row_of_entry(place: Place, entry: Entry, context: Context) -> Row:
    if isinstance(entry, Deletion):
        return _deleted(place, entry, context.exported_at)
    if isinstance(entry, str):
        return _refused(place, entry, REQUEST_URL if entry.endswith("-delete") else None)
    content = with_local_references(entry)
    return _row(place, content, judge(content, context.modifiers))


def _row(place: Place, content: bytes, verdict: Verdict) -> Row:
    resource = verdict.resource or {}
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    person = person_of(resource)
    return (
        *place,
        verdict.resource_type,
        _text(resource.get("id")),
        _text(meta.get("versionId")),
        _text(meta.get("lastUpdated")),
        person,
        _decoded(content),
        hashlib.sha256(content).hexdigest(),
        "invalid" if verdict.reason else "valid",
        verdict.reason,
        verdict.path,
        False,
        None if verdict.reason else references_of(resource, verdict.resource_type or "", person),
    )


def _deleted(place: Place, gone: Deletion, exported_at: str | None) -> Row:
    """A version that says no more than that the resource is gone, and since when."""
    name, id_, at = gone.resource_type, gone.resource_id, gone.at or exported_at
    digest = hashlib.sha256(f"DELETE {name}/{id_} {at or ''}".encode()).hexdigest()
    person = id_ if name == "Patient" else None
    return (*place, name, id_, None, at, person, None, digest, "valid", None, None, True, None)


def _refused(place: Place, reason: str, path: str | None = None) -> Row:
    empty = hashlib.sha256(b"").hexdigest()
    return (*place, *(None,) * 6, empty, "invalid", reason, path, False, None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
