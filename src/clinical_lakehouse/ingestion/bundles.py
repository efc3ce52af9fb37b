"""The entries of a Bundle: each resource as compact JSON, and what the source says is deleted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from clinical_lakehouse.ingestion.primitives import RULES
from clinical_lakehouse.ingestion.references import with_bundle_references
from clinical_lakehouse.ingestion.structure import DUPLICATE_KEY, is_resource_type

_TARGET = re.compile(
    r"(?:https?://\S+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?"
)
REQUEST_URL = "Bundle.entry.request.url"


@dataclass(frozen=True)
class Deletion:
    """A resource that its source says is deleted, and when as sent (None: the Bundle is silent)."""

    resource_type: str
    resource_id: str
    at: str | None


Entry = bytes | str | Deletion  # a resource, the reason code of a refusal, or a deletion


def entries_of(raw: bytes) -> list[Entry]:
    """The entries of a JSON document, resources as compact JSON (decimals keep their digits).

    A document that is no Bundle is one resource; an entry without one gives a reason code. A
    deletion's time is response.lastModified, else the Bundle's timestamp, else meta.lastUpdated.
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
    entries = _entries(document)
    full_urls = dict(url for entry in entries if (url := _full_url(entry)))
    at = _instant(document.get("timestamp")) or _instant(_inner(document, "meta", "lastUpdated"))
    return [
        _deletion(entry, at) if _is_deletion(entry) else _content(entry, full_urls)
        for entry in entries
    ]


def holds_deletions(bundle: Mapping[str, Any]) -> bool:
    """Does a parsed Bundle ask for any resource to be deleted?"""
    return any(_is_deletion(entry) for entry in _entries(bundle))


def _entries(bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = bundle.get("entry")
    return [e if isinstance(e, dict) else {} for e in entries] if type(entries) is list else []


def _inner(value: Mapping[str, Any], *names: str) -> Any:
    found: Any = value
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _is_deletion(entry: Mapping[str, Any]) -> bool:
    return bool(_inner(entry, "request", "method") == "DELETE")


def _instant(value: Any) -> str | None:
    return value if RULES["instant"](value) is None else None


def _deletion(entry: Mapping[str, Any], at: str | None) -> Deletion | str:
    """What a DELETE names; which resources a conditional one meant only its server knows."""
    url = _inner(entry, "request", "url")
    found = _TARGET.fullmatch(url) if isinstance(url, str) else None
    if found is None or not is_resource_type(found[1]):
        return "conditional-delete" if isinstance(url, str) and "?" in url else "bad-delete"
    own = _instant(_inner(entry, "response", "lastModified"))
    return Deletion(found[1], found[2], own or at)


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
