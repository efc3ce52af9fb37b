"""The protocol of FHIR Bulk Data `$export`: kick-off, status, manifest, DELETE.

HL7 FHIR Bulk Data Access IG 2.0 (STU 2), https://hl7.org/fhir/uv/bulkdata/STU2/export.html
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import requests

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.ingestion.bulk_http import Wire

OUTPUT, DELETED, ERROR = "output", "deleted", "error"
_KINDS = (OUTPUT, DELETED, ERROR)
_LEVELS = {"system": "$export", "patient": "Patient/$export", "group": "Group/{}/$export"}
_TYPE = re.compile(r"[A-Za-z]{1,64}")
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?\s*%")
_MOST_PAGES = 10_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scope:
    """What is exported: from where, at which level, which types and filters."""

    endpoint: str
    level: str = "system"
    group: str | None = None
    types: tuple[str, ...] = ()
    type_filters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in _LEVELS:
            raise SettingsError("fhir_api.export.level must be system, group or patient")
        if (self.level == "group") != bool(self.group):
            raise SettingsError("fhir_api.export.group goes with level: group, and only with it")

    @property
    def scope_id(self) -> str:
        """The same scope, the same id: `_since` is taken from its last good export."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def parameters(self, since: datetime | None) -> tuple[tuple[str, str], ...]:
        """The kick-off parameters; `_typeFilter` is repeated, one filter each."""
        found = [("_outputFormat", "application/fhir+ndjson")]
        if since is not None:
            found.append(("_since", since.astimezone(UTC).isoformat(timespec="microseconds")))
        if self.types:
            found.append(("_type", ",".join(self.types)))
        return (*found, *(("_typeFilter", one) for one in self.type_filters))

    def kick_off_url(self, since: datetime | None) -> str:
        """The address that starts the export."""
        path = _LEVELS[self.level].format(quote(self.group or "", safe=""))
        return f"{self.endpoint.rstrip('/')}/{path}?{urlencode(self.parameters(since))}"


@dataclass(frozen=True)
class ManifestFile:
    """One file of a manifest: data, deletions or messages; `count` where the server says it."""

    kind: str
    name: str
    type: str
    url: str
    count: int | None


@dataclass(frozen=True)
class Manifest:
    """What the server says the finished export consists of."""

    transaction_at: datetime
    requires_token: bool
    files: tuple[ManifestFile, ...]

    def of_kind(self, kind: str) -> list[ManifestFile]:
        """Its files of one kind."""
        return [file for file in self.files if file.kind == kind]


@dataclass(frozen=True)
class Waited:
    """How waiting ended: the manifest's pages (none: the server forgot the export), or why the
    export failed at the server."""

    pages: tuple[Mapping[str, Any], ...]
    polls: int
    failure: str | None = None


def kick_off(wire: Wire, scope: Scope, since: datetime | None) -> str:
    """Start an export; the address to ask about it. SourceError where the server refuses."""
    url = scope.kick_off_url(since)
    headers = {"Accept": "application/fhir+json", "Prefer": "respond-async"}
    with wire.send("GET", url, headers) as response:
        if response.status_code != 202:
            raise SourceError(_refusal("refused the export", response))
        place = response.headers.get("Content-Location")
    if not place:
        raise SourceError("the FHIR server accepted the export but names no Content-Location")
    return urljoin(url, place)


def wait_for(wire: Wire, status_url: str) -> Waited:
    """Ask until the export is done, as often as the server wants; all pages of its manifest.

    Raises SourceError where it cannot be asked, or time is up.
    """
    polls = 0
    while True:
        polls += 1
        response = wire.send("GET", status_url, {"Accept": "application/json"})
        if response.status_code == 202:
            done = _percent(response.headers.get("X-Progress"))
            _LOG.info("export is not done yet (request %d, %s)", polls, done)
            wire.pace.pause(wire.pause_before(response, polls - 1))
            continue
        with response:
            if response.status_code in (404, 410):
                return Waited((), polls)
            if response.status_code != 200:
                failure = _refusal("could not finish the export", response)
                if response.status_code in (401, 403):
                    raise SourceError(failure)
                return Waited((), polls, failure)
            first = _object(response)
        return Waited(_with_next_pages(wire, status_url, first), polls)


def _with_next_pages(wire: Wire, url: str, first: Mapping[str, Any]) -> tuple[Any, ...]:
    """A manifest may continue on further pages (`link` with relation next, IG 3.0)."""
    pages = [first]
    while next_ := _next_link(pages[-1]):
        url = urljoin(url, next_)
        with wire.send("GET", url, {"Accept": "application/json"}) as response:
            if response.status_code != 200 or len(pages) > _MOST_PAGES:
                raise SourceError(_refusal("does not give all pages of the manifest", response))
            pages.append(_object(response))
    return tuple(pages)


def _next_link(page: Mapping[str, Any]) -> str | None:
    links = page.get("link") or []
    found = [link["url"] for link in links if link.get("relation") == "next"]
    return found[0] if found else None


def manifest_of(pages: tuple[Mapping[str, Any], ...]) -> Manifest:
    """Read a manifest's pages; SourceError names the element that is missing or malformed."""
    try:
        moment = datetime.fromisoformat(pages[0]["transactionTime"])
    except (KeyError, ValueError, TypeError):
        raise SourceError("the export's manifest has no usable transactionTime") from None
    if moment.tzinfo is None:
        raise SourceError("the export's manifest has a transactionTime without an offset")
    needs = pages[0].get("requiresAccessToken")
    if not isinstance(needs, bool):
        raise SourceError("the export's manifest does not say requiresAccessToken")
    files: list[ManifestFile] = []
    for kind in _KINDS:
        items = [item for page in pages for item in page.get(kind) or []]
        files += [_file(kind, number, item) for number, item in enumerate(items)]
    return Manifest(moment.astimezone(UTC), needs, tuple(files))


def _file(kind: str, number: int, item: Any) -> ManifestFile:
    """Named by our own rule: what the server says never becomes a path.

    Deletions are `deleted.NNNN`; messages start with `_`, which landing passes over.
    """
    url = item.get("url") if isinstance(item, dict) else None
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise SourceError(f"the export's manifest has an {kind} file without an absolute url")
    count = item.get("count")
    if count is not None and (type(count) is not int or count < 0):
        raise SourceError(f"the export's manifest has an {kind} file with a malformed count")
    said = item.get("type")
    type_ = said if isinstance(said, str) and _TYPE.fullmatch(said) else "Resource"
    stem = {OUTPUT: type_, DELETED: "deleted", ERROR: "_error"}[kind]
    return ManifestFile(kind, f"{stem}.{number:04d}", type_, url, count)


def _percent(progress: str | None) -> str:
    """X-Progress is free text and may hold anything; only a percentage is taken from it."""
    found = _PERCENT.search(progress or "")
    return f"{found[1]} %" if found else "progress unknown"


def _object(response: requests.Response) -> Mapping[str, Any]:
    try:
        page = response.json()
    except ValueError:
        page = None
    if not isinstance(page, dict):
        raise SourceError("the FHIR server's manifest is not a JSON object")
    return page


def _refusal(what: str, response: requests.Response) -> str:
    """Status and issue code; the outcome's text stays out, it may name a person."""
    try:
        code = str(response.json()["issue"][0]["code"])
    except (ValueError, KeyError, IndexError, TypeError, requests.RequestException):
        code = ""
    known = f", {code}" if re.fullmatch(r"[a-z-]{1,20}", code) else ""
    advice = "fhir_api.auth" if response.status_code in (401, 403) else "fhir_api.export"
    return f"the FHIR server {what} (HTTP {response.status_code}{known}); check {advice}"
