"""Finds every contract: each `Table` that a module of this package names, or a view makes."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import clinical_lakehouse.tables as package
from clinical_lakehouse.errors import ContractError, UsageError
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.views import silver_views


@cache
def all_tables() -> dict[str, Table]:
    """Every contract by `schema.table` name; two contracts of one name are an error."""
    found: dict[str, Table] = {}
    for module in sorted(info.name for info in iter_modules(package.__path__)):
        contents = vars(import_module(f"{package.__name__}.{module}")).values()
        made = [view.table for view in silver_views()] if module == "views" else []
        for table in (value for value in (*contents, *made) if isinstance(value, Table)):
            if found.setdefault(table.name, table) is not table:
                raise ContractError(f"{table.name} has two contracts; keep one")
    return dict(sorted(found.items()))


def table_named(name: str) -> Table:
    """The contract of that name, or a UsageError that lists near ones."""
    tables = all_tables()
    if name in tables:
        return tables[name]
    schema = name.split(".")[0]
    near = [other for other in tables if other.startswith(f"{schema}.")] or sorted(tables)
    raise UsageError(f"no table {name!r}; known: {', '.join(near[:12])}")
