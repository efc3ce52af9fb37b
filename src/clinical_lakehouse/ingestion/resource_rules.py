"""Judges one resource as received: a verdict with a stable reason and an element path, no value."""

import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import orjson

from clinical_lakehouse.ingestion.primitives import RULES
from clinical_lakehouse.ingestion.structure import (
    is_modelled,
    is_resource_type,
    rule_of_resource,
)

MAX_RESOURCE_BYTES = 1 << 20
MAX_ATTACHMENT_BYTES = 16 << 20
# Types that carry documents or images as base64; every other type stays under 1 MiB.
WITH_ATTACHMENTS = frozenset(
    ("Binary", "Bundle", "Communication", "DiagnosticReport", "DocumentReference", "Media")
)
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Verdict:
    """What was read of a resource and, if it is refused, why and where."""

    resource: Mapping[str, Any] | None
    resource_type: str | None = None
    reason: str | None = None
    path: str | None = None


def judge(raw: bytes, modifiers: Set[str] = frozenset()) -> Verdict:
    """The verdict on one resource's bytes; `modifiers` are the modifierExtension urls we know.

    An unknown one may turn a resource's meaning round (FHIR R4, 2.4.1), so the resource is refused.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return Verdict(None, reason=_why_not_json(raw))
    if type(value) is not dict:
        return Verdict(None, reason="not-an-object")
    name = value.get("resourceType")
    if type(name) is not str or not is_resource_type(name):
        return Verdict(value, reason=_why_no_type(value, name))
    reason = _fault_of_text(raw, value, name)
    if reason is not None:
        return Verdict(value, name, reason, name)
    verdict = _verdict_on_structure(value, name)
    # A key may be written with escapes, which only the parsed tree shows plainly.
    if verdict.reason is None and (b"modifierExtension" in raw or b"\\u00" in raw):
        for path in unknown_modifiers(value, name, modifiers):
            return Verdict(value, name, "unknown-modifier-extension", path)
    return verdict


def unknown_modifiers(node: Any, path: str, known: Set[str]) -> Iterator[str]:
    """Paths of the modifierExtensions whose url is not among `known`."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from unknown_modifiers(item, f"{path}[{number}]", known)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "modifierExtension":
                unknown = (n for n, e in enumerate(value) if e.get("url") not in known)
                yield from (f"{path}.{name}[{number}]" for number in unknown)
            else:
                yield from unknown_modifiers(value, f"{path}.{name}", known)


def _verdict_on_structure(value: dict[str, Any], name: str) -> Verdict:
    if "id" not in value:
        return Verdict(value, name, "missing-id", f"{name}.id")
    fault = RULES["id"](value["id"])
    if fault is not None:
        return Verdict(value, name, fault[0], f"{name}.id")
    if not is_modelled(name):
        return Verdict(value, name)
    try:
        fault = rule_of_resource(name)(value)
    except RecursionError:
        return Verdict(value, name, "too-deep", name)
    if fault is not None:
        return Verdict(value, name, fault[0], f"{name}{fault[1]}")
    return Verdict(value, name)


def _why_no_type(value: Mapping[str, Any], name: object) -> str:
    if not value:
        return "empty-object"
    return "missing-resource-type" if name is None else "unknown-resource-type"


def _fault_of_text(raw: bytes, value: dict[str, Any], name: str) -> str | None:
    """What parsing hides: size, NUL escapes, keys given twice."""
    if len(raw) > MAX_RESOURCE_BYTES and name not in WITH_ATTACHMENTS:
        return "too-large"
    if b"\\u0000" in raw and _NUL_ESCAPE.search(raw):
        return "nul-character"
    # A dropped key takes its colon along, and nothing else changes their number when the value
    # is written again, unless a colon was escaped; then look at every object.
    try:
        colons = orjson.dumps(value).count(b":")
    except orjson.JSONEncodeError:  # nested deeper than 254 levels
        return "too-deep"
    is_whole = colons == raw.count(b":") and b"\\u003" not in raw
    return "duplicate-key" if not is_whole and has_duplicate_key(raw.decode()) else None


def has_duplicate_key(text: str) -> bool:
    """Does any object in the JSON text hold a key twice?"""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    try:
        json.loads(text, object_pairs_hook=look)
    except RecursionError:
        return True
    return found


def _why_not_json(raw: bytes) -> str:
    if raw.startswith(_BOM):
        return "byte-order-mark"
    if b"\0" in raw:
        return "nul-character"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "invalid-utf8"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "json-syntax"
    # The standard library reads what JSON does not allow: NaN, and halves of characters.
    return "nan-literal" if _has_number_outside_json(text) else _surrogate_or_syntax(value)


def _has_number_outside_json(text: str) -> bool:
    found: list[str] = []
    json.loads(text, parse_constant=found.append)
    return bool(found)


def _surrogate_or_syntax(value: Any) -> str:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "lone-surrogate"
    return "json-syntax"
