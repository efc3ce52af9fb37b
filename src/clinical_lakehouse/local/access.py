"""conf/access.yml: which role reads and writes which tables, and what it sees of people."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.checks.shapes import as_list, as_mapping
from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.methods.yaml_source import Source, Where, read_source
from clinical_lakehouse.tables.contract import Column, Phi, Table

FILE = "conf/access.yml"
ARM = "arm"
# What may be hidden; pseudonyms are what tables are joined by, every reader sees them.
SIGHTS = (Phi.QUASI.value, Phi.DIRECT.value, ARM)
# Raw and identifying: only for roles that may see direct identifiers (DESIGN, section 2).
_RESTRICTED = ("bronze", "vault")
_TOP_KEYS = ("roles", "arm", "read_by_version", "row_filters")
_ROLE_KEYS = ("group", "reads", "writes", "sees")
_FILTER_KEYS = ("columns", "where", "all_rows")
_KIND_NAMES = {list: "list", dict: "mapping"}
# Where resources name groups; schemas are compared whole.
_GRANTED = (
    ("volumes", "grants", "principal"),
    ("registered_models", "grants", "principal"),
    ("secret_scopes", "permissions", "group_name"),
)
READ = ("USE SCHEMA", "SELECT")
WRITE = ("USE SCHEMA", "SELECT", "MODIFY", "CREATE TABLE")
_OF_TABLES = ("SELECT", "MODIFY")
_MODELS = "gold"  # models are registered there


@dataclass(frozen=True)
class Role:
    """A group of people or a service, with schemas or tables it reads and writes (which is reading
    too), and what of people it sees."""

    name: str
    group: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    sees: frozenset[str]

    def may_read(self, table: Table) -> bool:
        """May it read the table, masked or not?"""
        return bool({table.name, table.schema_name} & {*self.reads, *self.writes})

    def privileges(self) -> dict[str, tuple[str, ...]]:
        """Privileges by schema or table; on a table's schema the right to use it."""
        schemas = {name.split(".")[0]: ("USE SCHEMA",) for name in (*self.reads, *self.writes)}
        granted: dict[str, tuple[str, ...]] = {**schemas}
        for names, of_schema in ((self.reads, READ), (self.writes, WRITE)):
            for name in names:
                granted[name] = tuple(p for p in of_schema if "." not in name or p in _OF_TABLES)
        if _MODELS in self.writes:
            granted[_MODELS] += ("CREATE MODEL",)
        return dict(sorted(granted.items()))


@dataclass(frozen=True)
class RowFilter:
    """Rows of a table that roles outside `all_rows` see: those where `where` holds."""

    table: str
    columns: tuple[str, ...]
    where: str
    all_rows: tuple[str, ...]


@dataclass(frozen=True)
class Access:
    """The whole of conf/access.yml."""

    roles: Mapping[str, Role]
    arm: frozenset[str]
    row_filters: tuple[RowFilter, ...]

    def hidden(self, table: Table, column: Column) -> frozenset[str]:
        """Why the column is hidden from a role that may read the table; empty if it is not."""
        reasons = self._reasons(table, column)
        readers = [role for role in self.roles.values() if role.may_read(table)]
        return reasons if any(not reasons <= role.sees for role in readers) else frozenset()

    def is_masked(self, table: Table) -> bool:
        """Is any of its columns or rows hidden from a role that may read it?"""
        is_filtered = any(one.table == table.name for one in self.row_filters)
        return is_filtered or any(self.hidden(table, column) for column in table.columns)

    def seers(self, reasons: frozenset[str]) -> list[Role]:
        """The roles that see a column hidden for these reasons."""
        return [role for role in self.roles.values() if reasons <= role.sees]

    def _reasons(self, table: Table, column: Column) -> frozenset[str]:
        own = {column.phi.value} & set(SIGHTS)
        return frozenset(own | ({ARM} if f"{table.name}.{column.name}" in self.arm else set()))


def read_access(folder: Path, tables: Mapping[str, Table]) -> Access:
    """The access of the bundle below `folder`; BundleError says the first fault."""
    if not (folder / FILE).is_file():
        raise BundleError(f"{FILE} is missing; it says which role reads which tables")
    source = read_source(folder / FILE, folder)
    for fault in _faults(source, tables):
        raise BundleError(fault)
    return _made(source)


def access_faults(folder: Path, tables: Mapping[str, Table]) -> list[str]:
    """Every name in conf/access.yml that leads nowhere, and what Databricks would refuse of it."""
    if not (folder / FILE).is_file():
        return []
    try:
        return list(_faults(read_source(folder / FILE, folder), tables))
    except BundleError as error:
        return [str(error)]


def grant_faults(
    folder: Path, definitions: Mapping[str, Mapping[str, Definition]], tables: Mapping[str, Table]
) -> list[str]:
    """Schemas whose grants say something else than conf/access.yml (deploying would undo it), and
    groups that are no role's."""
    if not (folder / FILE).is_file() or access_faults(folder, tables):
        return []
    faults, roles = [], read_access(folder, tables).roles.values()
    for one in definitions.get("schemas", {}).values():
        name = str(one.content.get("name"))
        wanted = {r.group: set(r.privileges()[name]) for r in roles if name in r.privileges()}
        grants = [g for g in as_list(one.content.get("grants")) if isinstance(g, Mapping)]
        given = {
            str(grant.get("principal")): {
                str(privilege).replace("_", " ") for privilege in as_list(grant.get("privileges"))
            }
            for grant in grants
        }
        for group in sorted({*wanted, *given}):
            has, needs = given.get(group, set()), wanted.get(group, set())
            if has != needs:
                said = f"{group} is granted {_listed(has)} here, {_listed(needs)} in {FILE}"
                faults.append(str(one.refuse(said, "grants")))
    return faults + list(_group_faults(definitions, {role.group for role in roles}))


def _group_faults(
    definitions: Mapping[str, Mapping[str, Definition]], groups: Collection[str]
) -> Iterator[str]:
    """Databricks refuses a group that does not exist; a role's group does."""
    for kind, name, key in _GRANTED:
        for one in definitions.get(kind, {}).values():
            for at, item in enumerate(as_list(one.content.get(name))):
                group = as_mapping(item).get(key)
                if group is not None and group not in groups:
                    said = f"{group} is the group of no role in {FILE}"
                    yield str(one.refuse(said, name, at, key))


def _listed(privileges: set[str]) -> str:
    return ", ".join(sorted(privileges)) or "nothing"


def _made(source: Source) -> Access:
    content = source.content
    roles = {
        name: Role(
            name,
            str(role["group"]),
            tuple(role.get("reads") or ()),
            tuple(role.get("writes") or ()),
            frozenset(role.get("sees") or ()),
        )
        for name, role in content["roles"].items()
    }
    filters = tuple(
        RowFilter(table, tuple(one["columns"]), str(one["where"]), tuple(one["all_rows"]))
        for table, one in (content.get("row_filters") or {}).items()
    )
    return Access(roles, frozenset(content.get("arm") or ()), filters)


def _faults(source: Source, tables: Mapping[str, Table]) -> Iterator[str]:
    shape = [*_shape_faults(source)]
    yield from shape
    if shape:
        return
    names = [*_name_faults(source, tables)]
    yield from names
    if not names:
        yield from _rule_faults(source, _made(source), tables)


def _shape_faults(source: Source) -> Iterator[str]:
    """Keys and kinds of values."""
    content = source.content
    yield from _unknown(source, content, _TOP_KEYS)
    roles = content.get("roles")
    if not isinstance(roles, Mapping) or not roles:
        yield f"{source.place('roles')}: roles must map each role to its group and tables"
        return
    for name, role in roles.items():
        where: Where = ("roles", name)
        if not isinstance(role, Mapping) or not role.get("group"):
            yield f"{source.place(*where)}: role {name!r} names no group"
            continue
        yield from _unknown(source, role, _ROLE_KEYS, *where)
        for key in ("reads", "writes", "sees"):
            if not isinstance(role.get(key) or [], list):
                yield f"{source.place(*where, key)}: {key} must be a list"
    for name, kind in (("arm", list), ("read_by_version", list), ("row_filters", dict)):
        if not isinstance(content.get(name) or kind(), kind):
            yield f"{source.place(name)}: {name} must be a {_KIND_NAMES[kind]}"
    for table, one in as_mapping(content.get("row_filters")).items():
        yield from _filter_shape_faults(source, table, one)


def _filter_shape_faults(source: Source, table: str, one: Any) -> Iterator[str]:
    missing = [key for key in _FILTER_KEYS if not as_mapping(one).get(key)]
    if missing:
        place = source.place("row_filters", table)
        yield f"{place}: row filter of {table} lacks {', '.join(missing)}"
        return
    for key in ("columns", "all_rows"):
        if not isinstance(one[key], list):
            yield f"{source.place('row_filters', table, key)}: {key} must be a list"


def _unknown(
    source: Source, content: Mapping[str, Any], known: tuple[str, ...], *where: str | int
) -> Iterator[str]:
    for key in content:
        if key not in known:
            yield f"{source.place(*where, key)}: unknown key {key!r} (known: {', '.join(known)})"


def _name_faults(source: Source, tables: Mapping[str, Table]) -> Iterator[str]:
    """Tables, columns, roles and sights that do not exist."""
    for name, role in source.content["roles"].items():
        yield from _role_faults(source, name, role, tables)
    for at, what in enumerate(source.content.get("arm") or []):
        table, _, column = str(what).rpartition(".")
        yield from _column_fault(source, tables, table, column, "arm", at)
    for at, what in enumerate(source.content.get("read_by_version") or []):
        if what not in tables:
            yield f"{source.place('read_by_version', at)}: no table {what!r}"
    yield from _filter_faults(source, tables)


def _role_faults(
    source: Source, name: str, role: Mapping[str, Any], tables: Mapping[str, Table]
) -> Iterator[str]:
    schemas = {table.schema_name for table in tables.values()}
    for key in ("reads", "writes"):
        for at, what in enumerate(role.get(key) or []):
            if what not in tables and what not in schemas:
                place = source.place("roles", name, key, at)
                yield f"{place}: role {name}: no table or schema {what!r}"
    for at, sight in enumerate(role.get("sees") or []):
        if sight not in SIGHTS:
            place, known = source.place("roles", name, "sees", at), ", ".join(SIGHTS)
            yield f"{place}: role {name}: sees {sight!r}, which is none of {known}"


def _filter_faults(source: Source, tables: Mapping[str, Table]) -> Iterator[str]:
    for table, one in (source.content.get("row_filters") or {}).items():
        where = ("row_filters", table)
        for at, column in enumerate(one["columns"]):
            yield from _column_fault(source, tables, table, column, *where, "columns", at)
        for at, name in enumerate(one["all_rows"]):
            if name not in source.content["roles"]:
                place = source.place(*where, "all_rows", at)
                yield f"{place}: row filter of {table}: no role {name!r}"


def _column_fault(
    source: Source, tables: Mapping[str, Table], table: str, column: str, *where: str | int
) -> Iterator[str]:
    if table not in tables:
        yield f"{source.place(*where)}: no table {table!r}"
    elif column not in tables[table].column_names:
        yield f"{source.place(*where)}: {table} has no column {column!r}"


def _rule_faults(source: Source, access: Access, tables: Mapping[str, Table]) -> Iterator[str]:
    """What must not be, though every name is right."""
    for role in access.roles.values():
        for key, names in (("reads", role.reads), ("writes", role.writes)):
            for at, name in enumerate(names):
                schema = name.split(".")[0]
                if schema in _RESTRICTED and Phi.DIRECT.value not in role.sees:
                    place = source.place("roles", role.name, key, at)
                    yield f"{place}: role {role.name}: {schema} is only for roles that see direct"
    for at, name in enumerate(source.content.get("read_by_version") or []):
        if access.is_masked(tables[name]):
            # COLUMN_MASKS_FEATURE_NOT_SUPPORTED.TIME_TRAVEL
            said = f"jobs read {name} by version, which Databricks refuses of a masked or filtered"
            place = source.place("read_by_version", at)
            yield f"{place}: {said} table; let only roles read it that see all of it"
    for one in access.row_filters:
        if "select" in one.where.lower():
            # Databricks: MERGE does not take tables whose filter nests a query.
            place = source.place("row_filters", one.table, "where")
            yield f"{place}: row filter of {one.table} must not hold a query; MERGE refuses it"
