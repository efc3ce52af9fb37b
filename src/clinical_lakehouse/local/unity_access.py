"""Unity Catalog DDL of who sees what: mask and filter functions, where they hold, and grants."""

import re
from collections.abc import Iterator, Mapping

from clinical_lakehouse.local.access import Access, Role, RowFilter
from clinical_lakehouse.local.unity_tables import identifier, literal, quoted
from clinical_lakehouse.tables.contract import Column, Table

_SCHEMA = "ops"  # functions live there; asking a masked table needs no right to them
# What stands for a hidden value where null is not allowed; 0 is OMOP's "no matching concept".
_NEUTRAL = {
    "STRING": "''",
    "BOOLEAN": "false",
    "DATE": "DATE '1900-01-01'",
    "TIMESTAMP": "TIMESTAMP '1900-01-01 00:00:00'",
    "BINARY": "X''",
}


def mask_statements(catalog: str, tables: Mapping[str, Table], access: Access) -> Iterator[str]:
    """A function for each kind of hidden column, then the columns it masks."""
    made: dict[str, str] = {}
    masks = []
    for table in tables.values():
        for column in table.columns:
            reasons = access.hidden(table, column)
            if reasons:
                name = quoted(catalog, _SCHEMA, _mask_name(reasons, column))
                made[name] = _mask(name, column, access.seers(reasons))
                place = f"ALTER TABLE {identifier(catalog, table)}"
                masks.append(f"{place} ALTER COLUMN {quoted(column.name)} SET MASK {name}")
    yield from (made[name] for name in sorted(made))
    yield from masks


def filter_statements(catalog: str, tables: Mapping[str, Table], access: Access) -> Iterator[str]:
    """A function for each filtered table, and the table it filters."""
    for one in access.row_filters:
        table = tables[one.table]
        name = quoted(catalog, _SCHEMA, f"rows_{table.schema_name}_{table.short_name}")
        yield _filter(name, table, one, [access.roles[role] for role in one.all_rows])
        columns = ", ".join(quoted(column) for column in one.columns)
        yield f"ALTER TABLE {identifier(catalog, table)} SET ROW FILTER {name} ON ({columns})"


def grant_statements(catalog: str, access: Access) -> Iterator[str]:
    """What each role may do, on the catalog, then on schemas, then on tables."""
    for role in access.roles.values():
        yield f"GRANT USE CATALOG ON CATALOG {quoted(catalog)} TO {quoted(role.group)}"
        for what, privileges in role.privileges().items():
            kind = "TABLE" if "." in what else "SCHEMA"
            target = f"{kind} {quoted(catalog, *what.split('.'))}"
            yield f"GRANT {', '.join(privileges)} ON {target} TO {quoted(role.group)}"


def _mask_name(reasons: frozenset[str], column: Column) -> str:
    type_ = re.sub(r"\W+", "_", column.type.lower()).strip("_")
    required = () if column.nullable else ("required",)
    return "_".join(("mask", *sorted(reasons), type_, *required))


def _mask(name: str, column: Column, seers: list[Role]) -> str:
    otherwise = "" if column.nullable else f" ELSE {_neutral(column.type)}"
    shown = f"CASE WHEN {_is_member(seers)} THEN `value`{otherwise} END"
    return (
        f"CREATE OR REPLACE FUNCTION {name}(`value` {column.type}) RETURNS {column.type} "
        f"COMMENT {literal('Shows a hidden column to the roles of conf/access.yml')} "
        f"RETURN {shown}"
    )


def _neutral(type_: str) -> str:
    return _NEUTRAL.get(type_.upper(), f"CAST(0 AS {type_})")


def _filter(name: str, table: Table, one: RowFilter, unfiltered: list[Role]) -> str:
    types = {column.name: column.type for column in table.columns}
    arguments = ", ".join(f"{quoted(column)} {types[column]}" for column in one.columns)
    where = re.sub(r"\b(" + "|".join(one.columns) + r")\b", r"`\1`", one.where)
    return (
        f"CREATE OR REPLACE FUNCTION {name}({arguments}) RETURNS BOOLEAN "
        f"COMMENT {literal('Rows that roles outside all_rows of conf/access.yml see')} "
        f"RETURN {_is_member(unfiltered)} OR ({where})"
    )


def _is_member(roles: list[Role]) -> str:
    asked = (f"is_account_group_member({literal(role.group)})" for role in roles)
    return " OR ".join(asked) or "false"
