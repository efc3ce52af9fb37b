"""Seeded mutations of FHIR resources: each class changes one place of a resource's JSON text."""

import gzip
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

Place = tuple[Any, Any]  # a container and the key or index in it


def resources(public: Path) -> list[bytes]:
    """Synthea's, a bulk export's first lines and the official examples, up to 20 kB each."""
    found = [line.strip() for path in sorted(public.glob("synthea_r4_10/ndjson/*.ndjson"))
             for line in path.read_bytes().splitlines()[:60]]  # fmt: skip
    for path in sorted(public.glob("smart_bulk_10_partial/[A-Z]*.ndjson.gz")):
        found += [line.strip() for line in gzip.decompress(path.read_bytes()).splitlines()[:20]]
    with tarfile.open(public / "fhir_r4_examples/fhir_r4_examples_instances.tar.xz") as files:
        for member in files:
            if member.name.endswith(".json") and not member.name.endswith("package.json"):
                found.append(files.extractfile(member).read())
    return [raw for raw in found if len(raw) < 20_000]


def mutants(sources: list[bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` pairs of class and mutated text; the classes take turns."""
    rng = random.Random(seed)
    names = list(CLASSES)
    made = 0
    while made < count:
        name = names[made % len(names)]
        mutated = CLASSES[name](rng, rng.choice(sources))
        if mutated is not None:
            made += 1
            yield name, mutated


def _places(value: Any) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)


def _put(wanted: Callable[[Any], bool], change: Callable[[random.Random, Any], Any]) -> Any:
    """Replaces one value that `wanted` takes."""

    def mutate(rng: random.Random, raw: bytes) -> bytes | None:
        resource = orjson.loads(raw)
        places = [p for p in _places(resource) if wanted(p[0][p[1]]) and p[1] != "resourceType"]
        if not places:
            return None
        container, key = rng.choice(places)
        container[key] = change(rng, container[key])
        return orjson.dumps(resource)

    return mutate


def _named(*names: str) -> Callable[[Any, Any], bool]:
    return lambda container, key: key in names and isinstance(container, dict)


def _at(
    wanted: Callable[[Any, Any], bool], change: Callable[[random.Random, Any, Any], Any]
) -> Any:
    """Changes a container at one key that `wanted` takes."""

    def mutate(rng: random.Random, raw: bytes) -> bytes | None:
        resource = orjson.loads(raw)
        places = [p for p in _places(resource) if wanted(*p)]
        if not places:
            return None
        change(rng, *rng.choice(places))
        return orjson.dumps(resource)

    return mutate


def _drop(rng: random.Random, container: Any, key: Any) -> None:
    del container[key]


def _rename(rng: random.Random, container: Any, key: Any) -> None:
    container[f"{key}{rng.choice(('x', 's', ' ', 'Code'))}"] = container.pop(key)


def _second_choice(rng: random.Random, container: Any, key: Any) -> None:
    stem = next(s for s in _CHOICES if key.startswith(s))
    container[stem + rng.choice(("String", "Boolean", "DateTime", "Integer"))] = rng.choice(
        ("x", True, "2024-01-01", 3)
    )


_CHOICES = ("value", "effective", "onset", "deceased", "occurrence", "performed", "multipleBirth")


def _has_choice(container: Any, key: Any) -> bool:
    stems = [s for s in _CHOICES if isinstance(key, str) and key.startswith(s)]
    return any(key[len(stem) : len(stem) + 1].isupper() for stem in stems)


def _text(find: bytes, put: Callable[[random.Random], bytes]) -> Any:
    """Replaces one occurrence of a text by other bytes."""

    def mutate(rng: random.Random, raw: bytes) -> bytes | None:
        spots = [at for at in range(len(raw)) if raw.startswith(find, at)]
        if not spots:
            return None
        at = rng.choice(spots)
        return raw[:at] + put(rng) + raw[at + len(find) :]

    return mutate


def _doubled(rng: random.Random, raw: bytes) -> bytes | None:
    resource = orjson.loads(raw)
    places = [p for p in _places(resource) if isinstance(p[0], dict)]
    container, key = rng.choice(places)
    container["\x7f"] = container[key]
    name = json.dumps(key).encode()
    return orjson.dumps(resource).replace(b'"\x7f"', name)


def _spaced(rng: random.Random, raw: bytes) -> bytes:
    return json.dumps(orjson.loads(raw), indent=rng.choice((None, 1, "\t"))).encode()


def _shuffled(rng: random.Random, raw: bytes) -> bytes:
    items = list(orjson.loads(raw).items())
    rng.shuffle(items)
    return orjson.dumps(dict(items))


def _beside(rng: random.Random, container: Any, key: Any) -> None:
    container[f"_{key}"] = {"extension": [{"url": "http://x.org/e", "valueCode": "unknown"}]}


def _reversed(rng: random.Random, container: Any, key: Any) -> None:
    period = container[key]
    period["start"], period["end"] = "2020-02-01", rng.choice(("2020-01-31", "2019", "2020-03"))


def _is(type_: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is type_


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 10 and value[4:5] == value[7:8] == "-"


CLASSES: dict[str, Callable[[random.Random, bytes], bytes | None]] = {
    "unchanged": lambda rng, raw: raw,
    "spaces": _spaced,
    "order": _shuffled,
    "extension-beside": _at(
        lambda c, k: isinstance(c, dict) and isinstance(k, str) and isinstance(c[k], str)
        and k[0] != "_" and k not in ("resourceType", "id", "url", "div", "reference"),
        _beside,
    ),  # fmt: skip
    "drop": _at(lambda c, k: isinstance(c, dict), _drop),
    "drop-top": lambda rng, raw: _dropped_top(rng, raw),
    "rename": _at(lambda c, k: isinstance(c, dict), _rename),
    "null": _put(lambda v: True, lambda rng, v: None),
    "empty-string": _put(_is(str), lambda rng, v: ""),
    "blank": _put(_is(str), lambda rng, v: rng.choice((" ", "\t", "\n", "\u00a0"))),
    "empty-object": _put(_is(dict), lambda rng, v: {}),
    "empty-array": _put(_is(list), lambda rng, v: []),
    "to-array": _put(lambda v: type(v) is not list, lambda rng, v: [v]),
    "from-array": _put(_is(list), lambda rng, v: v[0]),
    "string-to-number": _put(_is(str), lambda rng, v: rng.choice((0, 7, 1.5, True))),
    "number-to-string": _put(lambda v: type(v) in (int, float), lambda rng, v: str(v)),
    "boolean-to-other": _put(_is(bool), lambda rng, v: rng.choice(("true", 1, "yes"))),
    "object-to-string": _put(_is(dict), lambda rng, v: "x"),
    "string-to-object": _put(_is(str), lambda rng, v: {"value": v}),
    "number": _put(
        _is(int), lambda rng, v: rng.choice((-1, 0, 1 << 31, -(1 << 31) - 1, 1.5, 1 << 62))
    ),
    "code": _at(
        _named("status", "use", "system", "type", "intent", "gender", "comparator", "mode", "code",
               "kind", "priority", "severity", "category", "criticality", "lifecycleStatus"),
        lambda rng, c, k: c.__setitem__(
            k, f"{c[k]}{rng.choice(('x', ' ', '-', ' x'))}" if isinstance(c[k], str) else c[k]
        ),
    ),  # fmt: skip
    "day": _put(_is_date, lambda rng, v: v[:5] + rng.choice(("02-30", "13-01", "04-31", "00-10"))
                + v[10:]),
    "date-form": _put(_is_date, lambda rng, v: rng.choice(
        (v[:7], v[:4], v[:10], v.replace("-", "/"), v[:10] + "T10:00", v[:10] + "T10:00:00",
         v[:10] + "T24:00:00Z", v[:10] + " 10:00:00Z", v[:10] + "T10:00:00.123+05:30", "24-01-01",
         v[:10] + "T10:00Z", v[:10] + "T10:00:60Z", v[:10] + "T10:00:00+15:00", "+" + v))),
    "id": _at(_named("id", "versionId"), lambda rng, c, k: c.__setitem__(
        k, rng.choice(("a b", "x" * 65, "ä", "a_b", "a/b", "x" * 64, "A.b-1")))),
    "uri": _at(_named("url", "system", "reference", "fullUrl", "profile"),
               lambda rng, c, k: c.__setitem__(k, rng.choice(("a b", "x", " urn:x", "urn:x ")))),
    "second-choice": _at(_has_choice, _second_choice),
    "resource-type": lambda rng, raw: _retyped(rng, raw),
    "null-item": _put(_is(list), lambda rng, v: [*v, None]),
    "reversed-period": _at(lambda c, k: isinstance(c[k], dict) and {"start", "end"} & c[k].keys(),
                           _reversed),
    "twice": _doubled,
    "cut": lambda rng, raw: raw[: rng.randrange(1, len(raw.rstrip()))],
    "trailing": lambda rng, raw: raw + rng.choice((b"x", b"{}", b",", b"]", b"}")),
    "bom": lambda rng, raw: b"\xef\xbb\xbf" + raw,
    "nul": _text(b'":"', lambda rng: b'":"' + rng.choice((b"\\u0000", b"\0"))),
    "surrogate": _text(b'":"', lambda rng: b'":"' + rng.choice((b"\\ud800", b"\\udc00x"))),
    "utf8": _text(b'":"', lambda rng: b'":"' + rng.choice((b"\xe9", b"\xc0\x80", b"\xed\xa0\x80"))),
    "nan": _put(lambda v: type(v) in (int, float), lambda rng, v: "\x7f"),
}  # fmt: skip


def _dropped_top(rng: random.Random, raw: bytes) -> bytes:
    resource = orjson.loads(raw)
    del resource[rng.choice(list(resource))]
    return orjson.dumps(resource)


def _retyped(rng: random.Random, raw: bytes) -> bytes:
    resource = orjson.loads(raw)
    types = ("Patient", "Observation", "Resource", "patient", "Foo", "DomainResource", "HumanName")
    resource["resourceType"] = rng.choice(types)
    return orjson.dumps(resource)


def _not_numbers(rng: random.Random, raw: bytes) -> bytes | None:
    marked = _MARK_NUMBER(rng, raw)
    literal = rng.choice((b"NaN", b"Infinity", b"01", b"+1", b".5", b"1."))
    return marked and marked.replace(b'"\x7f"', literal)


_MARK_NUMBER = CLASSES["nan"]
CLASSES["nan"] = _not_numbers
