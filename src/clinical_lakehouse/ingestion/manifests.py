"""The manifest of a bulk export that lies beside its files in the landing folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlparse

from clinical_lakehouse.ingestion.landing import MANIFEST, Surveyed, without_endings

_MAX_BYTES = 64 << 20
OUTPUT, DELETED, ASKED = "output", "deleted", "asked"
_KINDS = (OUTPUT, DELETED)


@dataclass(frozen=True)
class Announced:
    """A file that a manifest promises: its place below the landing folder, without endings."""

    name: str
    kind: str
    resource_type: str | None
    count: int | None


@dataclass(frozen=True)
class Manifest:
    """What an export's manifest says: its moment, its files, the types that were asked for."""

    name: str
    transaction_at: datetime
    files: tuple[Announced, ...]
    types: tuple[str, ...]


def manifests_of(folder: Path, names: Sequence[str]) -> dict[str, Manifest]:
    """The readable manifests among `names`, by the folder that they stand in ("." for the top)."""
    read = {name: _manifest(folder / name, name) for name in names if _is_manifest(name)}
    return {str(PurePosixPath(name).parent): m for name, m in read.items() if m is not None}


def missing_files(manifests: Iterable[Manifest], names: Iterable[str]) -> list[str]:
    """Files that a manifest announces and the landing folder (`names`) does not hold."""
    there = {without_endings(name) for name in names}
    files = (file for manifest in manifests for file in manifest.files)
    return sorted(file.name for file in files if file.name not in there)


def rows_of_manifests(manifests: Mapping[str, Manifest], at: datetime) -> list[dict[str, Any]]:
    """Rows of ops.landing_manifest: a file each, and a type asked for each."""
    return [
        {
            "folder": folder,
            "kind": kind,
            "resource_type": resource_type or "unknown",
            "file_name": name,
            "announced_count": count,
            "transaction_at": manifest.transaction_at,
            "received_at": at,
        }
        for folder, manifest in manifests.items()
        for name, kind, resource_type, count in (
            *((f.name, f.kind, f.resource_type, f.count) for f in manifest.files),
            *(("", ASKED, name, None) for name in manifest.types),
        )
    ]


def _is_manifest(name: str) -> bool:
    return PurePosixPath(name).name == MANIFEST


def with_times(files: Sequence[Surveyed], manifests: Mapping[str, Manifest]) -> list[Surveyed]:
    """The files, their chunks knowing when the export beside whose manifest they lie was made."""
    return [_timed(file, manifests.get(str(PurePosixPath(file.name).parent))) for file in files]


def _timed(file: Surveyed, manifest: Manifest | None) -> Surveyed:
    if manifest is None:
        return file
    at = manifest.transaction_at.isoformat()
    chunks = tuple(replace(chunk, exported_at=at) for chunk in file.chunks)
    return replace(file, chunks=chunks)


def _manifest(path: Path, name: str) -> Manifest | None:
    """None where it is not (yet) the whole JSON of a manifest: it may still be arriving."""
    if path.stat().st_size > _MAX_BYTES:
        return None
    try:
        said = json.loads(path.read_bytes())
        moment = datetime.fromisoformat(said["transactionTime"]).astimezone(UTC)
        files = [_announced(name, kind, item) for kind in _KINDS for item in said.get(kind) or ()]
        asked = parse_qs(urlparse(said.get("request") or "").query).get("_type", [])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    types = {one for text in asked for one in text.split(",") if one}
    types |= {file.resource_type for file in files if file.kind == OUTPUT and file.resource_type}
    return Manifest(name, moment, tuple(files), tuple(sorted(types)))


def _announced(manifest: str, kind: str, item: Mapping[str, Any]) -> Announced:
    last = PurePosixPath(urlparse(item["url"]).path).name
    count = item.get("count")
    type_ = item.get("type")
    return Announced(
        str(PurePosixPath(manifest).parent / without_endings(last)),
        kind,
        type_ if isinstance(type_, str) and type_.isalpha() else None,
        count if type(count) is int else None,
    )
