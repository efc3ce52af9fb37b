"""Unity Catalog DDL of schemas and tables, from the contracts: every statement may run again.

Statements come in an order that can run. Keys and checks are dropped and made anew, so that a
table which a job made first gets them too.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from clinical_lakehouse.tables.contract import Check, Phi, Severity, Table

SCHEMAS = {
    "bronze": "As received and restricted, identifies people",
    "vault": "Who a subject key is; ingestion and privacy only",
    "silver": "De-identified FHIR and trial records, dates shifted per person",
    "omop": "OMOP common data model 5.4, exact names and types",
    "gold": "Features, predictions, metrics and what code mapping needs",
    "ops": "What ran, what it read and wrote, what is alerting",
}
# Rows are appended there; only a merge by key keeps a key unique, and a wrong RELY a wrong answer.
_APPENDED = ("bronze", "ops")
_RANK = (Phi.NONE, Phi.PSEUDONYM, Phi.QUASI, Phi.DIRECT)


def quoted(*names: str) -> str:
    """A name of one or more parts as Databricks quotes it."""
    return ".".join(f"`{name.replace('`', '``')}`" for name in names)


def literal(text: str) -> str:
    """A text as a SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(catalog: str, table: Table) -> str:
    """The table's full name."""
    return quoted(catalog, table.schema_name, table.short_name)


def schema_statements(catalog: str, tables: Mapping[str, Table]) -> Iterator[str]:
    """Each schema with its comment and tags."""
    for schema in sorted({table.schema_name for table in tables.values()}):
        name = quoted(catalog, schema)
        comment = literal(SCHEMAS.get(schema, schema))
        classes = [_phi(table) for table in tables.values() if table.schema_name == schema]
        yield f"CREATE SCHEMA IF NOT EXISTS {name} COMMENT {comment}"
        yield f"ALTER SCHEMA {name} {_tags(layer=schema, phi=_highest(classes))}"


def table_statements(catalog: str, table: Table) -> Iterator[str]:
    """One table with comments, clustering, properties and tags."""
    name = identifier(catalog, table)
    columns = ",\n  ".join(column.ddl() for column in table.columns)
    clauses = [f"CREATE TABLE IF NOT EXISTS {name} (\n  {columns}\n)", "USING DELTA"]
    if table.cluster_by:
        clauses.append(f"CLUSTER BY ({_columns(table.cluster_by)})")
    clauses.append(f"COMMENT {literal(table.comment)}")
    properties = (f"{literal(k)} = {literal(v)}" for k, v in table.properties().items())
    clauses.append(f"TBLPROPERTIES ({', '.join(properties)})")
    yield "\n".join(clauses)
    tags = {"layer": table.schema_name, "owner": table.owner, "phi": _phi(table).value}
    if table.retention_days:
        tags["retention_days"] = str(table.retention_days)
    yield f"ALTER TABLE {name} {_tags(**tags)}"
    for column in table.columns:
        if column.phi is not Phi.NONE:
            place = f"ALTER TABLE {name} ALTER COLUMN {quoted(column.name)}"
            yield f"{place} {_tags(phi=column.phi.value)}"


def key_statements(catalog: str, tables: Mapping[str, Table]) -> Iterator[str]:
    """Primary keys of all tables, then the foreign keys that need them."""
    for table in tables.values():
        if table.key:
            name, key = identifier(catalog, table), quoted(f"pk_{table.short_name}")
            trust = "NORELY" if table.schema_name in _APPENDED else "RELY"
            yield f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {key} CASCADE"
            primary = f"PRIMARY KEY ({_key_columns(table)}) NOT ENFORCED {trust}"
            yield f"ALTER TABLE {name} ADD CONSTRAINT {key} {primary}"
    for table in tables.values():
        for check in table.checks:
            yield from _foreign_key(catalog, table, check, tables)


def _key_columns(table: Table) -> str:
    """The key's columns; point-in-time joins of Databricks look for the one that is TIMESERIES."""
    mark = {table.time_key: " TIMESERIES"}
    return ", ".join(f"{quoted(name)}{mark.get(name, '')}" for name in table.key)


def check_statements(catalog: str, table: Table, masked: bool) -> Iterator[str]:
    """CHECK constraints of the row checks that must hold; of a masked table only their removal:
    Databricks refuses masks and CHECK constraints on one table.

    Checks of severity warn may fail and stay out. Delta takes null for a violation (delta-io/delta
    issue 1714), the contract does not: hence coalesce.
    """
    name = identifier(catalog, table)
    for check in table.checks:
        if check.scope != "row" or check.severity is Severity.WARN:
            continue
        constraint = quoted(re.sub(r"\W", "_", check.name))
        yield f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {constraint}"
        if not masked:
            predicate = check.predicate.removeprefix("NOT (true) OR ")  # `between` at all times
            condition = f"coalesce({predicate}, true)"
            yield f"ALTER TABLE {name} ADD CONSTRAINT {constraint} CHECK ({condition})"


def _foreign_key(
    catalog: str, table: Table, check: Check, tables: Mapping[str, Table]
) -> Iterator[str]:
    """A reference to another table's whole key; Databricks knows no other. It may lead nowhere, a
    check counts those, so that nothing may rely on it."""
    if check.refers is None:
        return
    column, other, target = check.refers
    if other not in tables or tables[other].key != (target,):
        return
    name, key = identifier(catalog, table), quoted(f"fk_{table.short_name}_{column}")
    yield f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {key}"
    parent = f"{identifier(catalog, tables[other])} ({quoted(target)})"
    reference = f"FOREIGN KEY ({quoted(column)}) REFERENCES {parent}"
    yield f"ALTER TABLE {name} ADD CONSTRAINT {key} {reference} NOT ENFORCED"


def _columns(names: Collection[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _tags(**tags: str) -> str:
    return f"SET TAGS ({', '.join(f'{literal(k)} = {literal(v)}' for k, v in tags.items())})"


def _phi(table: Table) -> Phi:
    return _highest([column.phi for column in table.columns])


def _highest(classes: Collection[Phi]) -> Phi:
    return max(classes, key=_RANK.index)
