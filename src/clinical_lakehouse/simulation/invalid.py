"""Lines that are not valid resources: the canonical list of kinds, and how each is made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import orjson

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.background import condition
from clinical_lakehouse.simulation.fhir import Json, instant, ref
from clinical_lakehouse.simulation.measurements import observation
from clinical_lakehouse.simulation.person import Person
from clinical_lakehouse.simulation.visits import Visit, encounters

Breaker = Callable[[Json], bytes]

HUGE_STRING_LENGTH = (1 << 20) + 4096  # FHIR: a string shall not exceed 1 MiB
_HUGE_BEFORE = 60
_ALL_BEFORE = 100
_ONE_EVERY = 5


@dataclass(frozen=True)
class Kind:
    """A way to be invalid; `hosts` are the resource types it is planted in, `keeps_id` says
    whether a reader can still find the resource's id."""

    name: str
    broken: Breaker
    hosts: tuple[str, ...] = ("Observation",)
    keeps_id: bool = True


@dataclass(frozen=True)
class BadLine:
    """A line to plant: its kind, its file's resource type, its bytes and when it arrives."""

    kind: str
    resource_type: str
    resource_id: str | None
    line: bytes
    arrives_at: str


def _with(**changes: object) -> Breaker:
    return lambda good: orjson.dumps({**good, **changes})


def _without(element: str) -> Breaker:
    return lambda good: orjson.dumps({k: v for k, v in good.items() if k != element})


def _replaced(old: bytes, new: bytes) -> Breaker:
    return lambda good: orjson.dumps(good).replace(old, new, 1)


def _with_value(value: object) -> Breaker:
    return lambda good: orjson.dumps(
        {**good, "valueQuantity": {**good["valueQuantity"], "value": value}}
    )


def _with_text(raw: bytes) -> Breaker:
    """A note whose text holds raw bytes that JSON or FHIR does not allow."""

    def broken(good: Json) -> bytes:
        return orjson.dumps({**good, "note": [{"text": "a@b"}]}).replace(b"a@b", raw, 1)

    return broken


def _truncated(good: Json) -> bytes:
    line = orjson.dumps(good)
    return line[: len(line) * 3 // 5]


def _with_updated(moment: str) -> Breaker:
    return lambda good: orjson.dumps({**good, "meta": {**good["meta"], "lastUpdated": moment}})


def _in_array(good: Json) -> bytes:
    return b"[" + orjson.dumps(good) + b"]"


def _with_single_quotes(good: Json) -> bytes:
    return orjson.dumps(good).replace(b'"', b"'")


_ALL_HOSTS = ("Observation", "Condition", "Encounter")

KINDS: tuple[Kind, ...] = (
    Kind("truncated-json", _truncated, _ALL_HOSTS),
    Kind("single-quotes", _with_single_quotes, _ALL_HOSTS, keeps_id=False),
    Kind("trailing-garbage", lambda good: orjson.dumps(good) + b" EOF", _ALL_HOSTS),
    Kind("concatenated-json", lambda good: orjson.dumps(good) * 2, _ALL_HOSTS),
    Kind("duplicate-key", _replaced(b'"status":', b'"status":"amended","status":')),
    Kind("nan-literal", _replaced(b'"value":', b'"value":NaN,"comparator":"<","code":')),
    Kind("bom-in-file", lambda good: b"\xef\xbb\xbf" + orjson.dumps(good), _ALL_HOSTS),
    Kind("nul-byte", _with_text(b"null \x00 byte")),
    Kind("nul-escape", _with_text(rb"null \u0000 escape")),
    Kind("lone-surrogate", _with_text(rb"lone \ud83d surrogate")),
    Kind("invalid-utf8", _with_text(b"latin \xe9 one")),
    Kind("huge-line", _with_text(b"x" * HUGE_STRING_LENGTH)),
    Kind("blank-string", _with_text(b"   ")),
    Kind("json-array", _in_array, _ALL_HOSTS, keeps_id=False),
    Kind("json-number", lambda good: b"42", _ALL_HOSTS, keeps_id=False),
    Kind("json-string", lambda good: b'"Observation"', _ALL_HOSTS, keeps_id=False),
    Kind("json-null", lambda good: b"null", _ALL_HOSTS, keeps_id=False),
    Kind("empty-object", lambda good: b"{}", _ALL_HOSTS, keeps_id=False),
    Kind("missing-resource-type", _without("resourceType"), _ALL_HOSTS),
    Kind("unknown-resource-type", _with(resourceType="Observatoin")),
    Kind("missing-id", _without("id"), _ALL_HOSTS, keeps_id=False),
    Kind("bad-id", _with(id="not/a valid id!"), _ALL_HOSTS),
    Kind("missing-required", _without("status"), ("Observation", "Encounter")),
    Kind("wrong-json-type", _with(status=7), ("Observation", "Encounter")),
    Kind("bad-code", _with(status="completely-done"), ("Observation", "Encounter")),
    Kind("array-for-single", _with(status=["final"]), ("Observation", "Encounter")),
    Kind("single-for-array", _with(note={"text": "not in an array"})),
    Kind("empty-array", _with(note=[])),
    Kind("null-element", _with(issued=None)),
    Kind("unknown-element", _with(colour="blue"), _ALL_HOSTS),
    Kind("two-values", _with(valueString="and a quantity")),
    Kind("decimal-as-string", _with_value("7.1")),
    Kind("impossible-date", _with(recordedDate="2024-02-30"), ("Condition",)),
    Kind("date-time-without-zone", _with(effectiveDateTime="2024-03-05T10:30:00")),
    Kind("bad-instant", _with_updated("2024-13-01T25:00:00Z"), _ALL_HOSTS),
    Kind("unknown-reference", _with(subject=ref("Patient", "nobody")), _ALL_HOSTS),
)
INVALID_KINDS: tuple[str, ...] = tuple(kind.name for kind in KINDS)
IGNORED_KINDS: tuple[str, ...] = ("empty-line", "white-line")


def _kinds_for(index: int) -> list[int]:
    """Which kinds subject `index` brings: two each at first, then one in every fifth subject."""
    if index < _ALL_BEFORE:
        return [2 * index % len(KINDS), (2 * index + 1) % len(KINDS)]
    return [index // _ONE_EVERY % len(KINDS)] if index % _ONE_EVERY == 0 else []


def bad_lines(person: Person, visit: Visit) -> Iterator[BadLine]:
    """Invalid lines and lines to ignore that arrive along with a subject's visit."""
    draws = person.draws("invalid")
    days = (person.last_day - person.randomised).days
    for number in _kinds_for(person.index):
        kind = KINDS[number]
        if kind.name == "huge-line" and person.index >= _HUGE_BEFORE:
            continue
        host = kind.hosts[(person.index + number) % len(kind.hosts)]
        at = person.moment(person.randomised + timedelta(days=draws.randint(0, days)), draws)
        good = _host(person, visit, host, (kind.name, instant(at)))
        resource_id = good["id"] if kind.keeps_id else None
        if kind.name == "bad-id":
            resource_id = "not/a valid id!"
        yield BadLine(kind.name, host, resource_id, kind.broken(good), instant(at))
    if person.index % 10 == 3:
        name = IGNORED_KINDS[person.index // 10 % 2]
        blank = b"" if name == "empty-line" else b"  \t"
        yield BadLine(name, "Observation", None, blank, visit.entered)


def _host(person: Person, visit: Visit, resource_type: str, use: tuple[str, str]) -> Json:
    """A good resource with a fresh id for a kind, last updated when it arrives; to be broken."""
    kind, updated = use
    if resource_type == "Observation":
        good = observation(person, visit, codes.HEART_RATE, "vital-signs", 72)
    elif resource_type == "Condition":
        good = condition(person, visit, codes.COMORBIDITIES[0], person.screened)
    else:
        good = next(encounters(person, (visit,)))
    meta = {"versionId": "1", "lastUpdated": updated}
    return {**good, "id": person.id_of("invalid", kind), "meta": meta}
