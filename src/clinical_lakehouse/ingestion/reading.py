"""What a worker does: reads its chunks, judges each resource, and gives rows as Arrow batches."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from clinical_lakehouse.ingestion.landing import (
    DAMAGED,
    LINES,
    MAX_BUNDLE_BYTES,
    Chunk,
    Surveyed,
    form_of,
    lines,
    opened,
    survey,
)
from clinical_lakehouse.ingestion.references import (
    person_of,
    with_bundle_references,
    with_local_references,
)
from clinical_lakehouse.ingestion.resource_rules import judge
from clinical_lakehouse.ingestion.structure import DUPLICATE_KEY

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
    ]
)
SURVEY_SCHEMA = pa.schema(
    [
        pa.field("file_id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("line_count", pa.int64()),
        pa.field("ignored_count", pa.int64()),
        pa.field("offsets", pa.list_(pa.int64())),
        pa.field("lengths", pa.list_(pa.int64())),
        pa.field("first_lines", pa.list_(pa.int64())),
    ]
)
# The same schemas for Spark.
_PLACE_DDL = "file_id STRING, file_name STRING, line BIGINT, entry INT, byte_offset BIGINT"
ROW_DDL = ", ".join((_PLACE_DDL, *(f"{name} STRING" for name in ROW_SCHEMA.names[5:])))
SURVEY_DDL = (
    "file_id STRING, name STRING, line_count BIGINT, ignored_count BIGINT, "
    "offsets ARRAY<BIGINT>, lengths ARRAY<BIGINT>, first_lines ARRAY<BIGINT>"
)
Row = tuple[Any, ...]
Place = tuple[str, int, int, int]  # file_id, line, entry, byte offset in the unpacked file
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
        file.ignored_count,
        *(list(column) for column in (offsets, lengths, first_lines)),
    )


def surveyed_of(folder: Path, row: Mapping[str, Any]) -> Surveyed:
    """A surveyor's row as the file that it describes."""
    parts = zip(row["offsets"], row["lengths"], row["first_lines"], strict=True)
    path, file_id = str(folder / row["name"]), row["file_id"]
    chunks = tuple(Chunk(file_id, path, *part) for part in parts)
    return Surveyed(file_id, row["name"], row["line_count"], row["ignored_count"], chunks)


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
                for row in (_row((file_id, line, entry, at), content.encode(), modifiers),)
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
    path = Path(chunk.path)
    if form_of(path.name) != LINES:
        # Rows of one type side by side: readers of one type skip the pages of the others.
        yield from sorted(_rows_of_document(chunk, path, modifiers), key=lambda row: row[4] or "")
        return
    is_packed = path.name.endswith(".gz")
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
                yield _row(place, line.strip(b" \t\r\n"), modifiers)


def _rows_of_document(chunk: Chunk, path: Path, modifiers: Set[str]) -> Iterator[Row]:
    try:
        with opened(path) as stream:
            raw = stream.read(MAX_BUNDLE_BYTES + 1)
    except DAMAGED:
        yield _refused((chunk.file_id, 1, 0, 0), "damaged-file")
        return
    if len(raw) > MAX_BUNDLE_BYTES:
        yield _refused((chunk.file_id, 1, 0, 0), "too-large")
        return
    for entry, content in enumerate(resources_in(raw)):
        place = (chunk.file_id, 1, entry, 0)
        if isinstance(content, str):
            yield _refused(place, content)
        else:
            yield _row(place, content, modifiers)


def resources_in(raw: bytes) -> list[bytes | str]:
    """The resources of a JSON document, each as compact JSON (decimals keep their digits).

    A document that is no Bundle is one resource; an entry without one gives a reason code.
    """
    try:
        # Fragments put a decimal back as it was written: 1.10 stays 1.10.
        document = json.loads(
            raw.decode(),
            parse_float=orjson.Fragment,
            parse_constant=_refuse_constant,
            object_pairs_hook=_marked,
        )
    except (ValueError, RecursionError):
        return [raw]
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        return [raw.strip()]
    entries = document.get("entry")
    entries = [e if isinstance(e, dict) else {} for e in entries] if type(entries) is list else []
    full_urls = dict(url for entry in entries if (url := _full_url(entry)))
    return [_content(entry, full_urls) for entry in entries]


def _refuse_constant(name: str) -> None:
    raise ValueError("a number outside JSON")


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        made[DUPLICATE_KEY] = True
    return made


def _full_url(entry: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if not isinstance(url, str) or not isinstance(resource, dict):
        return None
    name, id_ = resource.get("resourceType"), resource.get("id")
    if not isinstance(name, str) or not isinstance(id_, str):
        return None
    return url.encode(errors="replace"), f"{name}/{id_}".encode(errors="replace")


def _content(entry: Mapping[str, Any], full_urls: Mapping[bytes, bytes]) -> bytes | str:
    resource = entry.get("resource")
    if not isinstance(resource, dict):
        return "missing-resource"
    try:
        return with_bundle_references(orjson.dumps(resource), full_urls)
    except (orjson.JSONEncodeError, RecursionError):
        return "lone-surrogate"


def _row(place: Place, raw: bytes, modifiers: Set[str]) -> Row:
    content = with_local_references(raw)
    verdict = judge(content, modifiers)
    resource = verdict.resource or {}
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return (
        *place,
        verdict.resource_type,
        _text(resource.get("id")),
        _text(meta.get("versionId")),
        _text(meta.get("lastUpdated")),
        person_of(resource),
        _decoded(content),
        hashlib.sha256(content).hexdigest(),
        "invalid" if verdict.reason else "valid",
        verdict.reason,
        verdict.path,
    )


def _refused(place: Place, reason: str) -> Row:
    empty = hashlib.sha256(b"").hexdigest()
    return (*place, *(None,) * 6, empty, "invalid", reason, None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
