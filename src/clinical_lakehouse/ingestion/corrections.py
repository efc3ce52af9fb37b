"""A file of corrections: read strictly, judged against the present values, made into versions."""

import copy
import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.ingestion.locked_data import Past
from clinical_lakehouse.ingestion.resource_edit import (
    parsed,
    value_at,
    with_value,
    written,
)

FIELDS = (
    *("resource_type", "resource_id", "path", "old", "new", "reason_code", "why", "by"),
    *("received_at", "query_id"),
)
REASON_CODES = ("transcription-error", "unit-error", "site-correction", "query", "system-error")
MOST = 10_000  # a person's corrections, not a migration
APPLIED, ALREADY, CONFLICT = "applied", "already", "conflict"
LOCKED, RESOLVED = "locked", "query-resolved"
_NEEDED = ("resource_type", "resource_id", "path", "why", "by")


@dataclass(frozen=True)
class Correction:
    """One element of one resource, from `old` to `new`; empty stands for no value."""

    line: int
    fields: Mapping[str, str]

    @property
    def id(self) -> str:
        """The same correction has the same id, however often it is sent."""
        told = [self.fields[name] for name in FIELDS]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    @property
    def resource(self) -> tuple[str, str]:
        """Type and id."""
        return self.fields["resource_type"], self.fields["resource_id"]

    @property
    def fault(self) -> str | None:
        """Why it is refused as it is written: missing-<field> or unknown-reason."""
        for name in _NEEDED:
            if not self.fields[name].strip():
                return f"missing-{name}"
        return None if self.fields["reason_code"] in REASON_CODES else "unknown-reason"


@dataclass(frozen=True)
class Judged:
    """A correction and what becomes of it: applied, already, conflict, or a reason of refusal."""

    correction: Correction
    state: str


def read_corrections(path: Path) -> list[Correction]:
    """A CSV with the header FIELDS, or NDJSON of the same names.

    SourceError, with the line and without a value, for a file that is neither.
    """
    if not path.is_file():
        raise SourceError(f"no file of corrections at {path.name}; give --file FILE")
    rows = _json_lines(path) if path.suffix in (".ndjson", ".jsonl") else _csv_lines(path)
    found = [Correction(line, _named(row, line, path)) for line, row in rows]
    if len(found) > MOST:
        raise SourceError(f"{path.name} has more than {MOST} corrections; split it")
    return found


def _csv_lines(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            return [(reader.line_num, row) for row in reader]
        except csv.Error:
            raise SourceError(f"{path.name}:{reader.line_num}: no CSV; check its quotes") from None


def _json_lines(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line, parse_float=str, parse_int=str) if line.strip() else None
        except ValueError:
            raise SourceError(f"{path.name}:{number}: no JSON object") from None
        if row is not None and not isinstance(row, dict):
            raise SourceError(f"{path.name}:{number}: no JSON object")
        rows += [(number, row)] if row is not None else []
    return rows


def _named(row: Mapping[str, Any], line: int, path: Path) -> dict[str, str]:
    unknown = sorted(str(name) for name in row if name not in FIELDS)
    if unknown or "resource_id" not in row:
        raise SourceError(f"{path.name}:{line}: its columns must be among {', '.join(FIELDS)}")
    return {name: "" if row.get(name) is None else str(row[name]) for name in FIELDS}


def judged(
    corrections: Iterable[Correction],
    contents: Mapping[tuple[str, str], str],
    at: datetime,
    past: Past,
) -> tuple[list[Judged], list[str]]:
    """What becomes of each correction, and a line of NDJSON for each resource that changes.

    `contents` is the newest JSON by type and id. All corrections of a resource make one version,
    one above the present one, updated `at`. A present value that is neither old nor new is a
    conflict, for a person to decide. What has landed once is not applied again, nor another answer
    to a query that was resolved; a resource that a lock in force holds, as it is or as it would be,
    stays.
    """
    by_resource: dict[tuple[str, str], list[Correction]] = defaultdict(list)
    for one in {one.id: one for one in corrections}.values():
        by_resource[one.resource].append(one)
    found: list[Judged] = []
    lines: list[str] = []
    for name, own in by_resource.items():
        content = contents.get(name)
        resource = parsed(content) if content is not None else None
        states = [Judged(one, one.fault or _state(resource, one, past)) for one in own]
        found += states
        if resource is not None and any(one.state == APPLIED for one in states):
            _raise_version(resource, at)
            lines.append(written(resource))
    return found, lines


def _state(resource: dict[str, Any] | None, one: Correction, past: Past) -> str:
    """Judge, and where all is well change the resource."""
    if resource is None:
        return "no-such-row"
    if one.id in past.landed:
        return ALREADY
    if one.id not in past.known and one.fields["query_id"] in past.resolved:
        return RESOLVED
    path, old, new = one.fields["path"], one.fields["old"], one.fields["new"]
    if path.split(".")[0].split("[")[0] in ("id", "meta", "resourceType"):
        return "protected-path"
    try:
        present = value_at(resource, path)
        if _same(present, new):
            return ALREADY
        if not _same(present, old):
            return CONFLICT
        corrected = copy.deepcopy(resource)
        with_value(corrected, path, new or None)
    except KeyError:
        return "no-such-path"
    if any(past.has_locked(one.resource, held) for held in (resource, corrected)):
        return LOCKED
    with_value(resource, path, new or None)
    return APPLIED


def _same(present: str | None, said: str) -> bool:
    if present is None or not said:
        return present is None and not said
    try:
        return Decimal(present) == Decimal(said)
    except InvalidOperation:
        return present == said


def _moment(text: object, otherwise: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _raise_version(resource: dict[str, Any], at: datetime) -> None:
    """meta.versionId one up where it is a number, and meta.lastUpdated, by which versions count:
    later than the present one's, whatever clock that was written by."""
    meta = resource.setdefault("meta", {})
    at = max(at, _moment(meta.get("lastUpdated"), at) + timedelta(milliseconds=1))
    number = str(meta.get("versionId", ""))
    if number.isdecimal():
        meta["versionId"] = str(int(number) + 1)
    meta["lastUpdated"] = at.isoformat().replace("+00:00", "Z")
