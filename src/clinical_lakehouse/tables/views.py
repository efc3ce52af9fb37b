"""Silver's contracts, each derived from the ViewDefinition that makes its rows.

conf/views/README.md says what a column's tags mean. Paths are judged when the view is compiled
(methods/sql_on_fhir); here they only say which columns are keys.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import ContractError, UsageError
from clinical_lakehouse.tables.conf import view_dirs
from clinical_lakehouse.tables.contract import (
    Check,
    Column,
    Phi,
    Table,
    between,
    is_one_of,
    ordered,
    refers_to,
)

_OWN = "clinical-lakehouse/"
_OWNER = "data-engineering"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_REFERENCE_KEY = re.compile(r"(.+)\.getReferenceKey\((\w*)\)(?:\.first\(\))?")
_PERSON = ("subject", "patient", "individual", "beneficiary")
# Types of which no resource is about a person, so that a view of them needs no subject.
_IMPERSONAL = frozenset(
    ("Organization", "Location", "Practitioner", "PractitionerRole", "ResearchStudy", "Medication")
    + ("MedicationKnowledge", "Substance", "HealthcareService", "OrganizationAffiliation")
)  # fmt: skip
_NOTHING = "{}"  # the empty collection: a column that is there for later, or filled otherwise
_TEMPORALS = ("date", "dateTime", "instant")
_SQL = {
    "boolean": "BOOLEAN", "integer": "INT", "positiveInt": "INT", "unsignedInt": "INT",
    "integer64": "BIGINT", "decimal": "DOUBLE", "date": "DATE", "dateTime": "TIMESTAMP",
    "instant": "TIMESTAMP", "code": "STRING", "time": "STRING",
}  # fmt: skip
# What may hold anything, so that a column of it must say that it may pass.
FREE = frozenset(
    ("string", "markdown", "id", "uri", "url", "canonical", "oid", "uuid", "base64Binary", "xhtml")
)
_ANSI = {
    "CHARACTER VARYING": "STRING",
    "VARCHAR": "STRING",
    "CHARACTER": "STRING",
    "INTEGER": "INT",
    "DOUBLE PRECISION": "DOUBLE",
    "REAL": "FLOAT",
    "NUMERIC": "DECIMAL",
}
_SPARK = ("INT", "BIGINT", "SMALLINT", "DOUBLE", "FLOAT", "BOOLEAN", "DATE", "TIMESTAMP", "DECIMAL")


class Step(StrEnum):
    """What de-identification does to a column on its way into silver."""

    KEEP = "keep"
    SCRUB = "scrub"
    DROP = "drop"
    SURROGATE_KEY = "surrogate-key"
    SUBJECT_KEY = "subject-key"
    SUBJECT_SITE = "subject-site"
    SHIFT_DATE = "shift-date"
    BIRTH_YEAR = "birth-year"
    OVER_89 = "over-89"
    ZIP3 = "zip3"


_OF_DATES = (Step.SHIFT_DATE, Step.BIRTH_YEAR, Step.OVER_89, Step.DROP)


@dataclass(frozen=True)
class SilverView:
    """A ViewDefinition that makes a silver table: the contract, and each column's step and tags."""

    file: Path
    resource: str
    table: Table
    steps: Mapping[str, Step]
    tags: Mapping[str, Mapping[str, str]]
    key_types: Mapping[str, str]  # resource type of each surrogate key
    decimals: frozenset[str]  # columns of FHIR decimals

    @property
    def is_personal(self) -> bool:
        """Is every row about a person?"""
        return Step.SUBJECT_KEY in self.steps.values()


@cache
def silver_views() -> tuple[SilverView, ...]:
    """Every view that makes a silver table, the suite's own first; UsageError names the first that
    is wrong."""
    return views_of([file for folder in view_dirs() for file in sorted(folder.glob("*.json"))])


def silver_table(name: str) -> Table:
    """The contract that the view of this name makes."""
    for view in silver_views():
        if view.table.short_name == name:
            return view.table
    raise UsageError(f"no view makes silver.{name}; restore conf/views/silver/{name}.json")


def views_of(files: Sequence[Path]) -> tuple[SilverView, ...]:
    """The views of these files with the checks that refer from one to another."""
    views = [_view(file) for file in files]
    tables: dict[str, Table] = {}
    for view in views:
        if tables.setdefault(view.table.name, view.table) is not view.table:
            raise UsageError(f"{view.file.name}: another view makes {view.table.name}; rename one")
    return tuple(replace(view, table=_with_checks(view, tables)) for view in views)


def spark_type(ansi: str) -> str:
    """The Spark SQL type of the standard's tag `ansi/type`; UsageError if Spark has none."""
    name, _, size = ansi.upper().partition("(")
    name = _ANSI.get(name.strip(), name.strip())
    if name == "STRING":
        return name
    if name not in _SPARK:
        raise UsageError(f"the tag ansi/type has {ansi!r}, which is no type Spark has")
    return f"{name}({size}" if size else name


def _view(file: Path) -> SilverView:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{file.name} cannot be read as JSON; correct or remove it") from None
    try:
        return _read(file, document)
    except ContractError as error:
        raise UsageError(f"{file.name}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        said = "is no ViewDefinition; see conf/views/README.md, and `clinical-lakehouse view`"
        raise UsageError(f"{file.name} {said}") from None


def _read(file: Path, document: Any) -> SilverView:
    source, name, resource = file.name, document["name"], document["resource"]
    if not _NAME.fullmatch(name):
        raise UsageError(f"{source}: `name` must be lower-case letters, digits and underscores")
    entries = list(_entries(document["select"]))
    is_personal = any(_is_person(entry["path"], resource) for entry in entries)
    if not is_personal and resource not in _IMPERSONAL:
        raise UsageError(
            f"{source}: add the person's key, e.g. path subject.getReferenceKey(Patient): a row "
            f"of {resource} may be about a person"
        )
    columns: dict[str, _Column] = {}
    for entry in entries:
        made = _column(source, entry, resource, is_personal)
        if columns.setdefault(entry["name"], made) != made:
            raise UsageError(f"{source}: column {entry['name']} differs in two branches of a union")
    kept = {n: c for n, c in columns.items() if c.step is not Step.DROP}
    return SilverView(
        file=file,
        resource=resource,
        table=_table(source, document, list(kept.values())),
        steps={n: c.step for n, c in columns.items()},
        tags={n: c.tags for n, c in columns.items()},
        key_types={n: c.key_type for n, c in kept.items() if c.key_type},
        decimals=frozenset(e["name"] for e in entries if e.get("type") == "decimal"),
    )


@dataclass(frozen=True)
class _Column:
    column: Column
    step: Step
    tags: Mapping[str, str]
    key_type: str
    is_key: bool


def _entries(selects: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """The columns of a view, those of every branch of a union."""
    for select in selects:
        yield from select.get("column", ())
        yield from _entries(select.get("select", ()))
        yield from _entries(select.get("unionAll", ()))


def _column(source: str, entry: Mapping[str, Any], resource: str, is_personal: bool) -> _Column:
    name, place = entry["name"], f"{source}: column {entry['name']}"
    tags = {tag["name"]: str(tag["value"]) for tag in entry.get("tag", ())}
    type_, comment = entry.get("type"), entry.get("description")
    if type_ not in _SQL and type_ not in FREE:
        raise UsageError(f"{place}: give `type`, a FHIR primitive type")
    if not comment:
        raise UsageError(f"{place}: give `description`; it is the column's comment")
    key_type = _key_type(place, entry["path"], resource)
    is_free = type_ in FREE and entry["path"] != _NOTHING
    given = _given_step(place, tags)
    step = _step(place, given, key_type, is_free, is_personal and type_ in _TEMPORALS)
    if entry.get("collection") and (step is not Step.KEEP or type_ in _TEMPORALS):
        raise UsageError(f"{place}: `collection` is for columns that are kept as they are")
    sql = "BIGINT" if _is_keyed(step) else _sql(place, tags.get("ansi/type"), type_)
    is_key = f"{_OWN}key" in tags
    column = Column(
        name=name,
        type=f"ARRAY<{sql}>" if entry.get("collection") else sql,
        comment=comment,
        nullable=not (is_key or step is Step.SUBJECT_KEY or f"{_OWN}required" in tags),
        phi=_phi(place, tags.get(f"{_OWN}phi"), step),
        unit=tags.get("ucum/unit"),
    )
    return _Column(column, step, tags, "" if step is Step.SUBJECT_KEY else key_type, is_key)


def _sql(place: str, ansi: str | None, type_: str) -> str:
    try:
        return spark_type(ansi) if ansi else _SQL.get(type_, "STRING")
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def _is_keyed(step: Step) -> bool:
    return step in (Step.SURROGATE_KEY, Step.SUBJECT_KEY, Step.SUBJECT_SITE)


def _is_person(path: str, resource: str) -> bool:
    if resource == "Patient":
        return path == "getResourceKey()"
    return path in [f"{element}.getReferenceKey(Patient)" for element in _PERSON]


def _key_type(place: str, path: str, resource: str) -> str:
    """The type of the resource whose key the path yields; "" if it yields none."""
    if path == "getResourceKey()":
        return resource
    found = _REFERENCE_KEY.fullmatch(path)
    if found is None:
        return ""
    if not found[2]:
        raise UsageError(f"{place}: name the type, as in getReferenceKey(Encounter)")
    if found[2] == "Patient" and not _is_person(path, resource):
        raise UsageError(f"{place}: only the resource's own person has a key here")
    return found[2]


def _given_step(place: str, tags: Mapping[str, str]) -> Step | None:
    tag = tags.get(f"{_OWN}deidentify")
    if tag is not None and tag not in set(Step):
        raise UsageError(f"{place}: de-identification has no step {tag!r}")
    return Step(tag) if tag else None


def _step(place: str, given: Step | None, key_type: str, is_free: bool, is_date: bool) -> Step:
    """The column's step: as tagged, else by its path and type; what may identify is refused."""
    if key_type:
        own = Step.SUBJECT_KEY if key_type == "Patient" else Step.SURROGATE_KEY
        if given not in (None, own, Step.DROP):
            raise UsageError(f"{place}: an id becomes a surrogate key; remove the step '{given}'")
        return given or own
    if is_date:
        if given not in (None, *_OF_DATES):
            raise UsageError(f"{place}: a person's dates are shifted; remove the step '{given}'")
        return given or Step.SHIFT_DATE
    if given in (*_OF_DATES[:3], Step.SURROGATE_KEY, Step.SUBJECT_KEY):
        raise UsageError(f"{place}: the step '{given}' fits neither its path nor its type")
    if given is None and is_free:
        said = f"add the tag {_OWN}deidentify: keep, scrub or drop"
        raise UsageError(f"{place}: its text may hold an identifier; {said}")
    return given or Step.KEEP


def _phi(place: str, tag: str | None, step: Step) -> Phi:
    if tag is None:
        is_linked = _is_keyed(step) or step is Step.SHIFT_DATE
        return Phi.PSEUDONYM if is_linked else Phi.NONE
    if tag not in set(Phi) or tag == Phi.DIRECT:
        raise UsageError(f"{place}: the tag {_OWN}phi must be none, pseudonym or quasi")
    return Phi(tag)


def _table(source: str, document: Mapping[str, Any], columns: Sequence[_Column]) -> Table:
    key = tuple(c.column.name for c in columns if c.is_key)
    own = next((c for c in columns if c.is_key), None)
    if own is None or own.step not in (Step.SURROGATE_KEY, Step.SUBJECT_KEY):
        raise UsageError(f"{source}: tag the column of getResourceKey() with {_OWN}key")
    if len(key) == 1 and _has_several_rows(document["select"]):
        raise UsageError(f"{source}: a resource makes several rows; tag their number as key too")
    meta = {t["system"]: t["code"] for t in document.get("meta", {}).get("tag", ())}
    kept = meta.get(f"{_OWN}retention-days")
    clustered = meta.get(f"{_OWN}cluster-by", "").split(",")
    return Table(
        name=f"silver.{document['name']}",
        comment=document["description"],
        owner=meta.get(f"{_OWN}owner", _OWNER),
        key=key,
        columns=tuple(c.column for c in columns),
        cluster_by=tuple(name.strip() for name in clustered if name.strip()),
        retention_days=int(kept) if kept else None,
        change_feed=True,
    )


def _has_several_rows(selects: Sequence[Any]) -> bool:
    several = ("forEach", "forEachOrNull", "repeat", "unionAll")
    return any(
        any(name in select for name in several) or _has_several_rows(select.get("select", ()))
        for select in selects
    )


def _with_checks(view: SilverView, tables: Mapping[str, Table]) -> Table:
    names = view.table.column_names
    found = [check for name in names for check in _checks(view, name, tables)]
    return replace(view.table, checks=tuple(found))


def _checks(view: SilverView, name: str, tables: Mapping[str, Table]) -> Iterator[Check]:
    """The checks that a column's tags ask for, with the severity that contracts give them."""
    tags = view.tags[name]
    other, later = tags.get(f"{_OWN}refers-to"), tags.get(f"{_OWN}not-after")
    limits, words = tags.get(f"{_OWN}between"), tags.get(f"{_OWN}one-of")
    if other is not None:
        if other not in tables:
            raise UsageError(f"{view.file.name}: column {name} refers to {other}: no such view")
        yield refers_to(name, tables[other])
    if later is not None:
        if later not in view.table.column_names:
            raise UsageError(f"{view.file.name}: column {name} is compared with no column {later}")
        yield ordered(name, later)
    if limits is not None:
        yield between(name, *_limits(view, name, limits))
    if words is not None:
        yield is_one_of(name, *words.split("|"))


def _limits(view: SilverView, name: str, given: str) -> tuple[float, float]:
    low, _, high = given.partition("..")
    try:
        return float(low), float(high)
    except ValueError:
        said = f"the tag {_OWN}between must be like 0..500"
        raise UsageError(f"{view.file.name}: column {name}: {said}") from None
