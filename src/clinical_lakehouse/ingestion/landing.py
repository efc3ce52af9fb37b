"""The landing folder: which files it holds, what each is, and how reading them is divided."""

import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from clinical_lakehouse.errors import SourceError

LINES = "lines"  # NDJSON
MANIFEST = "manifest.json"  # of a bulk export, beside its files
BUNDLE = "bundle"  # one JSON document: a Bundle or a single resource
MAX_LINE_BYTES = 16 << 20
MAX_BUNDLE_BYTES = 512 << 20
CHUNK_BYTES = 8 << 20
_LEAST_BIN, _MOST_BIN = 1 << 20, 32 << 20
_BLOCK = 1 << 20
_SMALL_BLOCK = 64 << 10  # a damaged block is lost whole
PACKED = (".gz", ".zst")
_ENDINGS = {
    form + packed: kind
    for form, kind in ((".ndjson", LINES), (".json", BUNDLE))
    for packed in ("", *PACKED)
}
# What says how a file is formed and packed, as a pattern for Python and for Spark.
ENDING = rf"\.(?:nd)?json(?:{'|'.join(re.escape(packed) for packed in PACKED)})?$"
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Found:
    """What lies in a landing folder: names of files to take, and of files passed over (manifests
    of bulk exports among them)."""

    names: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Chunk:
    """A part of a file that one worker reads: whole lines from `offset`, or the whole file."""

    file_id: str
    path: str
    offset: int
    length: int
    first_line: int
    exported_at: str | None = None  # what a deletion in it is dated by if nothing nearer is said


@dataclass(frozen=True)
class Surveyed:
    """A file as it stands: its id, lines with a resource (None for a Bundle), the sum of their
    numbers, empty lines, and chunks."""

    file_id: str
    name: str
    line_count: int | None
    line_sum: int
    ignored_count: int
    chunks: tuple[Chunk, ...]


def find(folder: Path) -> Found:
    """The landing folder's files by name, subfolders included; SourceError if it is unreadable."""
    if not folder.is_dir():
        raise SourceError(f"no landing folder at {folder}; create it or give --landing FOLDER")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SourceError(f"the landing folder {folder} may not be read; check its permissions")
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    taken = tuple(name for name in names if _is_taken(name))
    unreadable = next((n for n in taken if not os.access(folder / n, os.R_OK)), None)
    if unreadable:
        raise SourceError(f"the landing file {unreadable} may not be read; check its permissions")
    return Found(taken, tuple(name for name in names if not _is_taken(name)))


def _is_taken(name: str) -> bool:
    parts = Path(name).parts
    hidden = any(part.startswith((".", "_", "~")) for part in parts)
    last = parts[-1]
    is_log = last in ("truth.json", MANIFEST) or last.startswith("log.ndjson")
    return not hidden and not is_log and form_of(last) is not None


def form_of(name: str) -> str | None:
    """LINES or BUNDLE by the file's ending, None for any other file."""
    return next((form for ending, form in _ENDINGS.items() if name.endswith(ending)), None)


def without_endings(name: str) -> str:
    """A file's name without what says how it is packed and formed (.ndjson.gz, .json, ...)."""
    return re.sub(ENDING, "", name)


def survey(folder: Path, name: str) -> Surveyed:
    """Read a file once to name it by its content, count its lines and divide it."""
    path = folder / name
    file_id = _digest(path, name)
    if form_of(name) == BUNDLE:
        whole = Chunk(file_id, str(path), 0, path.stat().st_size, 1)
        return Surveyed(file_id, name, None, 0, 0, (whole,))
    cuts, received, line_sum, ignored = [(0, 1)], 0, 0, 0
    with opened(path) as stream:
        for number, offset, line in lines(stream):
            is_empty = isinstance(line, bytes) and line.isspace()
            received += not is_empty
            line_sum += 0 if is_empty else number
            ignored += is_empty
            if offset - cuts[-1][0] >= CHUNK_BYTES and not name.endswith(PACKED):
                cuts.append((offset, number))
    ends = [offset for offset, _ in cuts[1:]] + [path.stat().st_size]
    chunks = tuple(
        Chunk(file_id, str(path), offset, end - offset, first)
        for (offset, first), end in zip(cuts, ends, strict=True)
    )
    return Surveyed(file_id, name, received, line_sum, ignored, chunks)


def _digest(path: Path, name: str) -> str:
    digest = hashlib.sha256(name.encode() + b"\0")
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class _Zstandard(io.RawIOBase):
    """The unpacked bytes of a .zst file, by the codec that comes with Arrow, in bounded memory."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "rb")
        self._stream = pa.CompressedInputStream(self._file, "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self._stream.read(len(buffer))
        except OSError as error:  # cut short, or no Zstandard at all
            raise EOFError("damaged Zstandard file") from error
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        self._file.close()
        super().close()


def opened(path: Path) -> BinaryIO:
    """The file's bytes, unpacked if its name ends in .gz or .zst."""
    if path.name.endswith(".zst"):
        return cast(BinaryIO, io.BufferedReader(_Zstandard(path), _SMALL_BLOCK))
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb", _BLOCK)


def lines(stream: BinaryIO, number: int = 1) -> Iterator[tuple[int, int, bytes | str]]:
    """Line number, offset from the start, and bytes of each line (ended by \\n only).

    Instead of bytes a reason code: for a line longer than MAX_LINE_BYTES, which is skipped in
    bounded memory, and for what follows the point where a packed file is damaged.
    """
    offset = 0
    try:
        while line := stream.readline(MAX_LINE_BYTES):
            length = len(line)
            if length == MAX_LINE_BYTES and not line.endswith(b"\n"):
                length += _skip_line(stream)
                yield number, offset, "too-large"
            else:
                yield number, offset, line
            number += 1
            offset += length
    except DAMAGED:
        yield number, offset, "damaged-file"


def _skip_line(stream: BinaryIO) -> int:
    skipped = 0
    while rest := stream.readline(_BLOCK):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def bins(chunks: Sequence[Chunk]) -> tuple[tuple[Chunk, ...], ...]:
    """Neighbouring chunks packed into tasks of even size, so that a task has few types."""
    size = min(max(sum(chunk.length for chunk in chunks) // 4, _LEAST_BIN), _MOST_BIN)
    packed: list[list[Chunk]] = []
    filled = size
    for chunk in chunks:
        if filled >= size:
            packed.append([])
            filled = 0
        packed[-1].append(chunk)
        filled += chunk.length
    return tuple(tuple(one) for one in packed)
