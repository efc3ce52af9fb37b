"""Finds every task: the only module that imports the domains."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import clinical_lakehouse
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.task import Task
from clinical_lakehouse.tables.contract import Table

DOMAINS = (
    "ingestion",
    "standardization",
    "quality",
    "features",
    "training",
    "monitoring",
    "alerting",
    "governance",
)


@cache
def tasks() -> dict[str, Task]:
    """Every task of every domain by its entry-point name."""
    found: dict[str, Task] = {}
    for domain in DOMAINS:
        package = import_module(f"{clinical_lakehouse.__name__}.{domain}")
        for module in sorted(info.name for info in iter_modules(package.__path__)):
            contents = vars(import_module(f"{package.__name__}.{module}")).values()
            found.update({item.name: item for item in contents if isinstance(item, Task)})
    return dict(sorted(found.items()))


def task_named(name: str) -> Task:
    """The task of that entry-point name, or a UsageError that lists the known ones."""
    known = tasks()
    if name not in known:
        raise UsageError(f"no task {name!r}; known: {', '.join(known)}")
    return known[name]


def edges() -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Lineage as declared: each task with the names of the tables it reads and writes."""
    return [
        (name, tuple(t.name for t in task.reads), tuple(t.name for t in task.writes))
        for name, task in tasks().items()
    ]


def lineage_of(table: Table, upstream: bool) -> list[tuple[int, str, str]]:
    """Steps from a table, depth first: (depth from 1, task, table reached); each table once."""
    steps: list[tuple[int, str, str]] = []
    _follow(table.name, 1, upstream, {table.name}, steps)
    return steps


def _follow(
    name: str, depth: int, upstream: bool, seen: set[str], steps: list[tuple[int, str, str]]
) -> None:
    for task, reads, writes in edges():
        here, there = (writes, reads) if upstream else (reads, writes)
        if name not in here:
            continue
        for other in there:
            if other not in seen:
                seen.add(other)
                steps.append((depth, task, other))
                _follow(other, depth + 1, upstream, seen, steps)
