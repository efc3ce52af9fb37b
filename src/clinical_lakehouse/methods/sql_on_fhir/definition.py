"""A SQL-on-FHIR v2 ViewDefinition, read from JSON and judged before anything runs."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.fhirpath import Literal, Node, parse
from clinical_lakehouse.methods.sql_on_fhir import types

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_COLUMN_KEYS = frozenset(("name", "path", "description", "collection", "type", "tag"))
_SELECT_KEYS = frozenset(("column", "select", "forEach", "forEachOrNull", "repeat", "unionAll"))
_ALWAYS = frozenset(("id", "extension", "modifierExtension"))
_ITERATORS = ("forEach", "forEachOrNull", "repeat")


@dataclass(frozen=True)
class Expression:
    """A FHIRPath expression as written and as read."""

    text: str
    node: Node


@dataclass(frozen=True)
class ViewColumn:
    """A column: its path, whether it holds a collection, the declared FHIR type and tags."""

    name: str
    path: Expression
    collection: bool
    type: str | None
    description: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Select:
    """What makes rows: columns, nested selects and a union, once or for each item."""

    columns: tuple[ViewColumn, ...]
    selects: tuple["Select", ...]
    union: tuple["Select", ...]
    for_each: Expression | None
    or_null: bool
    repeat: tuple[Expression, ...]


@dataclass(frozen=True)
class View:
    """A view on one resource type; `source` names it in messages."""

    source: str
    name: str
    description: str
    resource: str
    constants: Mapping[str, Literal]
    where: tuple[Expression, ...]
    selects: tuple[Select, ...]


def read_view(path: Path) -> View:
    """The view of a file; UsageError if it is no valid ViewDefinition."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError:
        raise UsageError(f"cannot read the view {path}; check its name and permissions") from None
    except ValueError:
        raise UsageError(f"the view {path.name} is not valid JSON") from None
    return view_of(document, path.name)


def view_of(document: Any, source: str) -> View:
    """The view a JSON document defines; UsageError names what is wrong and where."""
    root = _object(document, source, "the view")
    resource = root.get("resource")
    if not isinstance(resource, str) or not resource:
        raise UsageError(f"{source}: `resource` is missing; name the resource type of the view")
    with located(source, "resource"):
        types.resource_named(resource)
    name = root.get("name", "view")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{source}: `name` must be letters, digits and underscores")
    selects = _selects(root.get("select"), source, "select")
    if not selects:
        raise UsageError(f"{source}: `select` is missing or empty; add the view's columns")
    where = [_object(w, source, "where") for w in _list(root.get("where", []), source, "where")]
    return View(
        source=source,
        name=name,
        description=str(root.get("description", "")),
        resource=resource,
        constants=_constants(root.get("constant", []), source),
        where=tuple(_path(w.get("path"), source, "where") for w in where),
        selects=selects,
    )


@contextmanager
def located(source: str, place: str) -> Iterator[None]:
    """Puts the view's name and the place before the message of what is refused within."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{source}: {place}: {error}") from None


def _selects(given: Any, source: str, place: str) -> tuple[Select, ...]:
    listed = _list([] if given is None else given, source, place)
    return tuple(_select(s, source, f"{place}[{n}]") for n, s in enumerate(listed))


def _select(given: Any, source: str, place: str) -> Select:
    found = _object(given, source, place)
    _known(found, _SELECT_KEYS, source, place)
    iterators = [name for name in _ITERATORS if name in found]
    if len(iterators) > 1:
        raise UsageError(f"{source}: {place} has {' and '.join(iterators)}; keep one of them")
    columns = _list(found.get("column", []), source, f"{place}.column")
    made = Select(
        columns=tuple(_column(c, source, f"{place}.column[{n}]") for n, c in enumerate(columns)),
        selects=_selects(found.get("select"), source, f"{place}.select"),
        union=_selects(found.get("unionAll"), source, f"{place}.unionAll"),
        for_each=_iterated(found, iterators, source, place),
        or_null="forEachOrNull" in found,
        repeat=tuple(
            _path(p, source, f"{place}.repeat")
            for p in _list(found.get("repeat", []), source, f"{place}.repeat")
        ),
    )
    if not (made.columns or made.selects or made.union):
        raise UsageError(f"{source}: {place} has no column, select or unionAll")
    return made


def _iterated(
    found: Mapping[str, Any], iterators: Sequence[str], source: str, place: str
) -> Expression | None:
    if not iterators or iterators[0] == "repeat":
        return None
    return _path(found[iterators[0]], source, f"{place}.{iterators[0]}")


def _column(given: Any, source: str, place: str) -> ViewColumn:
    found = _object(given, source, place)
    _known(found, _COLUMN_KEYS, source, place)
    name = found.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{source}: {place}: `name` must be letters, digits and underscores")
    collection = found.get("collection", False)
    if not isinstance(collection, bool):
        raise UsageError(f"{source}: column {name}: `collection` must be true or false")
    return ViewColumn(
        name=name,
        path=_path(found.get("path"), source, f"column {name}"),
        collection=collection,
        type=_declared(found.get("type"), source, name),
        description=str(found.get("description", "")),
        tags={str(t["name"]): str(t["value"]) for t in _tags(found, source, name)},
    )


def _declared(given: Any, source: str, column: str) -> str | None:
    if given is None:
        return None
    short = str(given).rsplit("/", 1)[-1].rsplit(".", 1)[-1]
    short = short[:1].lower() + short[1:] if "System." in str(given) else short
    if not types.is_primitive(short):
        raise UsageError(f"{source}: column {column}: type {short!r} is no FHIR primitive")
    return short


def _tags(found: Mapping[str, Any], source: str, column: str) -> list[Mapping[str, Any]]:
    tags = _list(found.get("tag", []), source, f"column {column}: tag")
    if not all(isinstance(t, dict) and {"name", "value"} <= t.keys() for t in tags):
        raise UsageError(f"{source}: column {column}: a tag needs `name` and `value`")
    return tags


def _constants(given: Any, source: str) -> Mapping[str, Literal]:
    made = {}
    for entry in _list(given, source, "constant"):
        found = _object(entry, source, "constant")
        values = [key for key in found if key.startswith("value")]
        name = found.get("name")
        if not isinstance(name, str) or len(values) != 1:
            raise UsageError(f"{source}: a constant needs `name` and one value[x]")
        type_ = values[0][5:6].lower() + values[0][6:]
        value = found[values[0]]
        if not types.is_primitive(type_) or isinstance(value, dict | list):
            raise UsageError(f"{source}: constant {name}: {values[0]} is no FHIR primitive")
        is_exact = type_ == "decimal" and not isinstance(value, bool)
        made[name] = Literal(Decimal(str(value)) if is_exact else value, type_)
    return made


def _path(given: Any, source: str, place: str) -> Expression:
    if not isinstance(given, str) or not given.strip():
        raise UsageError(f"{source}: {place}: a FHIRPath expression is expected")
    with located(source, f"{place}: cannot read {given!r}"):
        return Expression(given, parse(given))


def _known(found: Mapping[str, Any], keys: frozenset[str], source: str, place: str) -> None:
    unknown = sorted(key for key in found.keys() - keys - _ALWAYS if not key.startswith("_"))
    if unknown:
        raise UsageError(f"{source}: {place} has an unknown key {unknown[0]!r}; remove it")


def _object(given: Any, source: str, place: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{source}: {place} must be a JSON object")
    return given


def _list(given: Any, source: str, place: str) -> list[Any]:
    if not isinstance(given, list):
        raise UsageError(f"{source}: {place} must be a list")
    return given
