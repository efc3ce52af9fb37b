"""Files of one export, downloaded side by side into a draft folder: resumed, counted, whole."""

import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import orjson
import requests
from urllib3.exceptions import HTTPError

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.ingestion.bulk_export import (
    DELETED,
    ERROR,
    OUTPUT,
    Manifest,
    ManifestFile,
)
from clinical_lakehouse.ingestion.bulk_http import Wire
from clinical_lakehouse.ingestion.landing import MANIFEST, lines, opened

GONE, CUT, COUNT, BROKEN, REFUSED = "gone", "cut off", "wrong count", "broken", "refused"
_BLOCK = 16 << 10  # small: what a cut or a kill leaves unwritten is fetched again
_GZIP = b"\x1f\x8b"
_ENDINGS = (".ndjson", ".ndjson.gz")


@dataclass(frozen=True)
class Received:
    """One file's end: the resources in it, or why it could not be had whole."""

    file: ManifestFile
    count: int = 0
    problem: str | None = None

    def __str__(self) -> str:
        said = f" (manifest {self.file.count}, received {self.count})"
        return f"{self.file.name} is {self.problem}{said if self.problem == COUNT else ''}"


@dataclass(frozen=True)
class Draft:
    """A hidden folder beside the landing files, where an export is put together.

    `state.json` says how far it is; `parts` holds what is coming in, `files` what is whole.
    """

    folder: Path

    @property
    def files(self) -> Path:
        """Whole files."""
        return self.folder / "files"

    @property
    def parts(self) -> Path:
        """Files as far as they have come."""
        return self.folder / "parts"

    def state(self) -> dict[str, Any]:
        """What was noted last; empty for a new draft."""
        try:
            return dict(json.loads((self.folder / "state.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return {}

    def note(self, state: dict[str, Any]) -> None:
        """Write down how far the export is, whole or not at all; readable by its owner alone,
        because the addresses in it may be signed."""
        for folder in (self.files, self.parts):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_whole(self.folder / "state.json", json.dumps(state).encode())

    def exported_id(self) -> str | None:
        """The export that is whole here, or in the landing folder already."""
        exported = self.state().get("exported") or {}
        return exported.get("export_id")

    def clear(self) -> None:
        """Forget everything."""
        rmtree(self.folder, ignore_errors=True)

    def announce(self, manifest: Manifest, received: Sequence[Received], asked: str) -> None:
        """Put the manifest beside the files, by our names and counts and without addresses."""
        entries: dict[str, list[dict[str, Any]]] = {kind: [] for kind in (OUTPUT, DELETED)}
        for one in received:
            if one.file.kind in entries:
                item = {"type": one.file.type, "url": one.file.name, "count": one.count}
                entries[one.file.kind].append(item)
        said = {"transactionTime": manifest.transaction_at.isoformat(), "request": asked, **entries}
        _write_whole(self.files / MANIFEST, json.dumps(said, indent=1).encode())

    def land(self, target: Path) -> None:
        """Move all whole files into the landing folder at once; done before, it stays done."""
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.files, target)


def _write_whole(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    handle = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(new, path)


def download(wire: Wire, manifest: Manifest, draft: Draft, at_once: int) -> list[Received]:
    """Every file of the manifest, `at_once` side by side; after the first that cannot be had,
    the others are left off too, and it stands last."""
    given_up, pace = threading.Event(), wire.pace

    def is_stopped() -> bool:
        return given_up.is_set() or pace.is_stopped()

    own = replace(wire, pace=replace(pace, is_stopped=is_stopped))
    done: list[Received] = []
    with ThreadPoolExecutor(max(at_once, 1)) as pool:
        needs_token = manifest.requires_token
        waiting = {pool.submit(_fetched, own, f, draft, needs_token) for f in manifest.files}
        try:
            while waiting and not (done and done[-1].problem):
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                done += [future.result() for future in ended]
                done.sort(key=lambda one: (one.problem is not None, one.file.name))
        finally:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return done


def _fetched(wire: Wire, file: ManifestFile, draft: Draft, with_token: bool) -> Received:
    """Try until the file is whole; tries that bring bytes do not count."""
    result = _already_whole(file, draft)
    failures = 0
    while result is None or result.problem:
        part = draft.parts / file.name
        before = _size(part)
        problem = _stream(wire, file, part, with_token)
        result = _checked(file, part, draft) if problem is None else Received(file, 0, problem)
        failures += result.problem != CUT or _size(part) <= before
        if result.problem in (GONE, REFUSED) or failures > wire.patience.retries:
            break
        if result.problem:
            wire.pace.pause(wire.pause_before(None, failures))
    return result


def _already_whole(file: ManifestFile, draft: Draft) -> Received | None:
    """What an earlier run of this export has brought home."""
    for ending in _ENDINGS:
        path = draft.files / f"{file.name}{ending}"
        if path.exists():
            return _counted(file, path)
    return None


def _stream(wire: Wire, file: ManifestFile, part: Path, with_token: bool) -> str | None:
    """Bring the rest of a file, or all of it where the server offers no ranges."""
    held, known = _size(part), _known(part)
    headers = {"Accept": "application/fhir+ndjson", "Accept-Encoding": "gzip"}
    if held and known.get("ranges"):
        headers["Range"] = f"bytes={held}-"
        if known.get("etag"):
            headers["If-Range"] = known["etag"]
    with wire.send("GET", file.url, headers, with_token=with_token) as response:
        status = response.status_code
        if status in (401, 407):
            raise SourceError(f"the FHIR server refused the token for a file (HTTP {status})")
        if status == 416:
            part.unlink(missing_ok=True)
            return CUT
        if status not in (200, 206):
            return GONE if 400 <= status < 500 else REFUSED
        is_rest = status == 206 and _begins_at(response) == held
        if status == 206 and not is_rest:
            part.unlink(missing_ok=True)
            return CUT
        if not is_rest:
            _write_whole(_meta(part), json.dumps(_offers(response)).encode())
        return _written(wire, response, part, "ab" if is_rest else "wb")


def _written(wire: Wire, response: requests.Response, part: Path, mode: str) -> str | None:
    """Bytes as sent (a packed body stays packed, so that it can be resumed)."""
    promised = response.headers.get("Content-Length", "")
    size = 0
    with part.open(mode, 0) as target:
        try:
            for block in response.raw.stream(_BLOCK, decode_content=False):
                size += target.write(block)
                wire.pace.check()
        except HTTPError:
            return CUT
        os.fsync(target.fileno())
    return CUT if promised.isdigit() and size != int(promised) else None


def _offers(response: requests.Response) -> dict[str, Any]:
    etag = response.headers.get("ETag", "")
    is_strong = etag.startswith('"')  # a weak one may not stand in If-Range (RFC 9110, 13.1.5)
    ranges = response.headers.get("Accept-Ranges", "").lower() == "bytes"
    return {"ranges": ranges, "etag": etag if is_strong else None}


def _known(part: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_meta(part).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _meta(part: Path) -> Path:
    return part.with_name(f"{part.name}.offers")


def _begins_at(response: requests.Response) -> int:
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checked(file: ManifestFile, part: Path, draft: Draft) -> Received:
    """Judge a file that came to its end; a bad one is thrown away, a good one moved to `files`."""
    with part.open("rb") as stream:
        is_packed = stream.read(2) == _GZIP
    whole = part.with_name(f"{file.name}{_ENDINGS[is_packed]}")
    os.replace(part, whole)
    result = _counted(file, whole)
    if result.problem:
        whole.unlink()
    else:
        os.replace(whole, draft.files / whole.name)
    return result


def _counted(file: ManifestFile, path: Path) -> Received:
    """Resources in a file; a problem where its last line is cut or the manifest counts others.

    A cut hits the last line, so that alone is parsed here; landing judges every line.
    """
    number, last = 0, b"{}"
    with opened(path) as stream:
        for _, _, line in lines(stream):
            if line == "damaged-file":
                return Received(file, number, BROKEN)
            if isinstance(line, str) or not line.isspace():
                number, last = number + 1, b"{}" if isinstance(line, str) else line
    try:
        is_object = isinstance(orjson.loads(last), dict)
    except orjson.JSONDecodeError:
        is_object = False
    if not is_object:
        return Received(file, number, BROKEN)
    return Received(file, number, None if file.count in (None, number) else COUNT)


def issues(draft: Draft, manifest: Manifest) -> dict[str, int]:
    """Messages of the manifest's error files by `severity/code`, from the FHIR value sets only."""
    found: dict[str, int] = {}
    for file in manifest.of_kind(ERROR):
        for path in draft.files.glob(f"{file.name}.*"):
            with opened(path) as stream:
                for _, _, line in lines(stream):
                    for said in _said(line):
                        found[said] = found.get(said, 0) + 1
    return dict(sorted(found.items()))


def _said(line: bytes | str) -> list[str]:
    if isinstance(line, bytes) and line.isspace():
        return []
    try:
        outcome = orjson.loads(line) if isinstance(line, bytes) else {}
        said = [(issue["severity"], issue["code"]) for issue in outcome["issue"]]
    except (ValueError, KeyError, TypeError):
        return ["unreadable"]
    return [f"{_one_of(s, _SEVERITIES)}/{_one_of(c, _CODES)}" for s, c in said] or ["unreadable"]


def _one_of(value: Any, known: Sequence[str]) -> str:
    return value if isinstance(value, str) and value in known else "other"


_SEVERITIES = ("fatal", "error", "warning", "information", "success")
# https://hl7.org/fhir/R4/valueset-issue-type.html
_CODES = (
    *("invalid", "structure", "required", "value", "invariant", "security", "login", "unknown"),
    *("expired", "forbidden", "suppressed", "processing", "not-supported", "duplicate"),
    *("multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension"),
    *("too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store"),
    *("exception", "timeout", "incomplete", "throttled", "informational", "success"),
)
