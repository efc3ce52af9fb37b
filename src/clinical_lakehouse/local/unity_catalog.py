"""`bundle sql`: the whole Unity Catalog of one target as a script that may run again and again."""

from collections.abc import Iterator, Mapping

from clinical_lakehouse.local.access import Access
from clinical_lakehouse.local.unity_access import (
    filter_statements,
    grant_statements,
    mask_statements,
)
from clinical_lakehouse.local.unity_tables import (
    check_statements,
    key_statements,
    schema_statements,
    table_statements,
)
from clinical_lakehouse.tables.contract import Table

_HEAD = """-- Catalog {catalog}: schemas, tables, keys, checks, masks, row filters and grants.
-- Made by `clinical-lakehouse bundle sql` from the contracts and conf/access.yml; change those.
-- Run it as the catalog's owner, after `databricks bundle deploy` and before the first job, and
-- again after every change. What is no longer granted or masked is to be taken back by hand.
"""


def statements(
    catalog: str, tables: Mapping[str, Table], access: Access
) -> Iterator[tuple[str, list[str]]]:
    """All statements by section, in an order that can run."""
    yield "schemas", list(schema_statements(catalog, tables))
    made = [line for table in tables.values() for line in table_statements(catalog, table)]
    yield "tables", made
    yield "keys", list(key_statements(catalog, tables))
    checked = [
        line
        for table in tables.values()
        for line in check_statements(catalog, table, access.is_masked(table))
    ]
    yield "checks", checked
    yield "column masks", list(mask_statements(catalog, tables, access))
    yield "row filters", list(filter_statements(catalog, tables, access))
    yield "grants", list(grant_statements(catalog, access))


def script(catalog: str, tables: Mapping[str, Table], access: Access) -> str:
    """The statements as one file of SQL."""
    parts = [_HEAD.format(catalog=catalog)]
    for heading, lines in statements(catalog, tables, access):
        parts.append(f"\n-- {heading}\n")
        parts += [f"{line};\n" for line in lines]
    return "".join(parts)
