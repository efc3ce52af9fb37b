"""Checks of `conf/quality/*.yml`: each entry becomes a `Check`, or is refused with file and line.

conf/quality/README.md describes the fields for people.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from clinical_lakehouse.methods.quality.sql_names import column_names, names_a_regular_expression
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields
from clinical_lakehouse.tables.contract import (
    CATEGORIES,
    Check,
    Lookup,
    Measure,
    Severity,
    Table,
    unique,
)

# The vault is nobody's to count, and the suite's own records are judged by its tests.
JUDGED_SCHEMAS = ("bronze", "silver", "omop", "gold")
_EVERY = ("name", "kind", "severity", "where", "max_failed", "owner", "why", "lookups")
_OF_VALUES = ("column", "in", "between", "pattern", "refers_to", "refers_where", "holds")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "schema": (),
    "completeness": ("column",),
    "validity": _OF_VALUES,
    "code": _OF_VALUES,
    "unit": _OF_VALUES,
    "uniqueness": ("columns",),
    "reference": ("column", "refers_to", "refers_where"),
    "temporal": ("earlier", "later", "holds"),
    "cross_field": ("holds",),
    "freshness": ("column", "max_age_hours"),
    "volume": ("min", "max"),
    "distribution": ("measure", "min", "max"),
    "reconciliation": ("measure", "other", "tolerance"),
}
_OF_TABLES = ("schema", "freshness", "volume", "distribution", "reconciliation")

Checks = Mapping[str, tuple[Check, ...]]


def read_checks(folder: Path, tables: Mapping[str, Table]) -> dict[str, tuple[Check, ...]]:
    """The checks of every file of the folder by table; SettingsError names file and line of what
    does not fit `tables` or the grammar."""
    found: dict[str, list[Check]] = {}
    for path in sorted(folder.glob("*.yml")):
        fields = read_fields(path, folder.parent.parent).allow("tables", "scores")
        for name, entry in fields.named("tables"):
            found.setdefault(name, []).extend(_of_table(name, entry, tables, found.get(name, ())))
    return {name: tuple(checks) for name, checks in sorted(found.items())}


def _of_table(
    name: str, entry: Fields, tables: Mapping[str, Table], before: "list[Check] | tuple[()]"
) -> Iterator[Check]:
    table = tables.get(name)
    if table is None or table.schema_name not in JUDGED_SCHEMAS:
        known = f"a table of {', '.join(JUDGED_SCHEMAS)} with a contract"
        raise entry.refusal(f"names {name!r}, which is not {known}")
    entry.allow("owner", "checks")
    owner, given = entry.text("owner", table.owner), list(entry.each("checks"))
    if not given:
        raise entry.refusal(f"says nothing of {name}: give it checks, or remove it")
    taken = {check.name for check in (*table.all_checks(), *before)}
    meant: dict[str, object] = {}
    for one in given:
        check = _check(one, table, tables, owner)
        for word, meaning in _taken(check):
            if meant.setdefault(word, meaning) != meaning:
                raise one.refusal(f"take gives {word!r} a second meaning; rename one", "lookups")
        if check.name in taken:
            raise one.refusal(f"{name} has a check {check.name!r} already; rename one", "name")
        taken.add(check.name)
        yield check


def _taken(check: Check) -> Iterator[tuple[str, object]]:
    for look in check.lookups:
        for name, sql in look.takes:
            yield name, (look.table, look.on, look.where, sql)


def _check(one: Fields, table: Table, tables: Mapping[str, Table], owner: str) -> Check:
    kind = one.choice("kind", tuple(CATEGORIES))
    one.allow(*_EVERY, *_FIELDS[kind])
    lookups = tuple(_lookup(each, table, tables) for each in one.each("lookups"))
    where, severity = one.text("where", "true"), one.choice("severity", _SEVERITIES, "error")
    if kind in _OF_TABLES and (lookups or "max_failed" in one.content):
        raise one.refusal(f"{kind} judges the table as a whole: no lookups, no max_failed")
    known = {*table.column_names, *(name for look in lookups for name, _ in look.takes)}
    _refuse_unknown(one, "where", where, known)
    made = _MADE[kind](one, table, tables, known)
    return replace(
        made,
        name=one.text("name"),
        severity=Severity(severity),
        kind=kind,
        where=where,
        max_failed_ratio=_ratio(one),
        lookups=(*made.lookups, *lookups),
        owner=one.text("owner", owner),
        why=one.text("why", ""),
        place=str(one.place("name")),
    )


_SEVERITIES = tuple(severity.value for severity in Severity)


def _ratio(one: Fields) -> str:
    """The tolerated share as the decimal that was written: as a float, 0.05 of 100 is not 5."""
    given = one.number("max_failed", 0)
    if given >= 1:
        raise one.refusal("max_failed must be below 1: it is a share of the rows", "max_failed")
    return str(given)


def _refuse_unknown(one: Fields, field: str, sql: str, known: set[str]) -> None:
    for name in column_names(sql):
        if name not in known:
            raise one.refusal(f"{field} names an unknown column {name!r}", field)


def _column(one: Fields, known: set[str], field: str = "column") -> str:
    name = one.text(field)
    if name not in known:
        raise one.refusal(f"{field} names an unknown column {name!r}", field)
    return name


def _predicate(one: Fields, known: set[str]) -> str:
    text = one.text("holds")
    if names_a_regular_expression(text):
        raise one.refusal("holds must not match patterns: use the field pattern", "holds")
    _refuse_unknown(one, "holds", text, known)
    return text


def _lookup(each: Fields, table: Table, tables: Mapping[str, Table]) -> Lookup:
    each.allow("table", "on", "take", "where")
    other = _other(each, "table", tables)
    given, where = each.value("on"), each.text("where", "true")
    on = {given: given} if isinstance(given, str) else given
    if not isinstance(on, dict) or not on:
        raise each.refusal("on must be a column, or own columns with the other's", "on")
    for own, its in on.items():
        if own not in table.column_names or its not in other.column_names:
            raise each.refusal(f"on pairs {own!r} with {its!r}: no such columns", "on")
    takes = tuple((name, str(sql)) for name, sql in dict(each.inner("take").content).items())
    if not takes:
        raise each.refusal("needs the field 'take': a name with a SQL aggregate")
    for sql in (where, *(sql for _, sql in takes)):
        _refuse_unknown(each, "where" if sql == where else "take", sql, set(other.column_names))
    taken = [name for name, _ in takes if name in table.column_names]
    if taken:
        raise each.refusal(f"take names a column of {table.name} again: {taken[0]!r}", "take")
    return Lookup(other.name, tuple(on.items()), takes, where)


def _other(one: Fields, field: str, tables: Mapping[str, Table]) -> Table:
    name = one.text(field)
    if name not in tables or tables[name].schema_name not in JUDGED_SCHEMAS:
        raise one.refusal(f"{field} names an unknown table {name!r}", field)
    return tables[name]


def _values(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    """Values of a column: listed, in a range, of a form, codes of another table, or a predicate."""
    ways = [way for way in ("in", "between", "pattern", "refers_to", "holds") if way in one.content]
    if len(ways) != 1:
        raise one.refusal("needs one of the fields in, between, pattern, refers_to or holds")
    if ways == ["holds"]:
        return Check("", _predicate(one, known))
    if ways == ["refers_to"]:
        return _reference(one, table, tables, known)
    column = _column(one, known)
    if ways == ["in"]:
        return Check("", f"`{column}` IN ({', '.join(_literal(one, v) for v in one.value('in'))})")
    if ways == ["between"]:
        low, high = _limits(one)
        return Check("", f"`{column}` BETWEEN {low} AND {high}")
    return Check("", f"regexp_like(CAST(`{column}` AS STRING), {_whole(one)})")


def _literal(one: Fields, value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or "'" in value or "\\" in value:
        raise one.refusal("in must list numbers, or words without quotes and backslashes", "in")
    return f"'{value}'"


def _limits(one: Fields) -> tuple[float, float]:
    given = one.value("between")
    is_pair = isinstance(given, list) and len(given) == 2
    if not is_pair or not all(isinstance(v, int | float) for v in given) or given[0] > given[1]:
        raise one.refusal("between must be [low, high]", "between")
    return given[0], given[1]


def _whole(one: Fields) -> str:
    r"""The pattern as one that fits the whole value: `$` alone would let a newline follow (\z)."""
    pattern = one.text("pattern")
    if "'" in pattern:
        raise one.refusal("pattern must have no single quote; write \\x27", "pattern")
    return rf"r'\A(?:{pattern})\z'"


def _complete(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    return Check("", f"`{_column(one, known)}` IS NOT NULL")


def _unique(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    for name in one.words("columns"):
        if name not in table.column_names:
            raise one.refusal(f"columns names an unknown column {name!r}", "columns")
    return unique(*one.words("columns"))


def _reference(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    """A value that the other table does not hold fails; a null refers to nothing and passes."""
    column, target = _column(one, known), one.text("refers_to")
    name, _, its = target.rpartition(".")
    other, where = tables.get(name), one.text("refers_where", "true")
    if other is None or other.schema_name not in JUDGED_SCHEMAS or its not in other.column_names:
        raise one.refusal(f"refers_to names no column: {target!r}", "refers_to")
    _refuse_unknown(one, "refers_where", where, set(other.column_names))
    return Check("", "true", scope="reference", refers=(column, name, its), refers_where=where)


def _temporal(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    if "holds" in one.content:
        return Check("", _predicate(one, known))
    return Check("", f"`{_column(one, known, 'earlier')}` <= `{_column(one, known, 'later')}`")


def _cross(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    return Check("", _predicate(one, known))


def _schema(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    return Check("", "true", scope="table", high=0)


def _fresh(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    column = _column(one, known)
    age = f"(unix_timestamp(:as_of) - unix_timestamp(max(`{column}`))) / 3600"
    hours = one.number("max_age_hours")
    return Check("", "true", scope="table", measure=Measure(age, one.text("where", "true")),
                 high=hours)  # fmt: skip


def _volume(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    return _bounded(one, Measure("count(1)", one.text("where", "true")))


def _spread(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    _refuse_unknown(one, "measure", one.text("measure"), known)
    return _bounded(one, Measure(one.text("measure"), one.text("where", "true")))


def _bounded(one: Fields, measure: Measure) -> Check:
    low = one.number("min", None, least=float("-inf"))
    high = one.number("max", None, least=float("-inf"))
    if low is None and high is None:
        raise one.refusal("needs the field min, max or both")
    return Check("", "true", scope="table", measure=measure, low=low, high=high)


def _reconciled(one: Fields, table: Table, tables: Mapping[str, Table], known: set[str]) -> Check:
    """A figure of this table and one of another, which may differ by the tolerance as a ratio."""
    other = one.inner("other").allow("table", "measure", "where")
    its_table = _other(other, "table", tables)
    its_names, where = set(its_table.column_names), other.text("where", "true")
    _refuse_unknown(one, "measure", one.text("measure"), known)
    _refuse_unknown(other, "measure", other.text("measure"), its_names)
    _refuse_unknown(other, "where", where, its_names)
    return Check("", "true", scope="table", high=one.number("tolerance", 0),
                 measure=Measure(one.text("measure"), one.text("where", "true")),
                 against=Measure(other.text("measure"), where, its_table.name))  # fmt: skip


_Maker = Callable[[Fields, Table, Mapping[str, Table], set[str]], Check]
_MADE: Mapping[str, _Maker] = {
    "schema": _schema,
    "completeness": _complete,
    "validity": _values,
    "code": _values,
    "unit": _values,
    "uniqueness": _unique,
    "reference": _reference,
    "temporal": _temporal,
    "cross_field": _cross,
    "freshness": _fresh,
    "volume": _volume,
    "distribution": _spread,
    "reconciliation": _reconciled,
}
