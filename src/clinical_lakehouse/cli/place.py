"""Where a command works (--root, --env, --debug), and what several commands do there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.execution import JobResult
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.local.progress import told_as_json, watch
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.way import Way
from clinical_lakehouse.runtime.arguments import default_root

_MOST_ROWS = 10_000


@dataclass(frozen=True)
class Place:
    """Where a command works: the lake's folder, the environment, and whether to show traces."""

    root: Path
    env: str
    debug: bool


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that works on a lake its `place`, from --root, --env and --debug, which may
    stand before or after the command's name."""

    @click.option("--root", type=click.Path(path_type=Path), help="The lake's folder.")
    @click.option("--env", help="Settings conf/<env>.yml (default dev).")
    @click.option("--debug", is_flag=True, help="Show the stack trace of a failure.")
    @click.pass_context
    @wraps(command)
    def with_place(context: click.Context, root: Path | None, env: str | None, debug: bool,
               **own: Any) -> None:  # fmt: skip
        command(place=_place(context, root, env, debug), **own)

    return with_place


def _place(context: click.Context, root: Path | None, env: str | None, debug: bool) -> Place:
    outer = context.obj if isinstance(context.obj, Place) else None
    given_root = root or (outer.root if outer else Path(default_root()))
    given_env = env or (outer.env if outer else "dev")
    return Place(given_root.expanduser().resolve(), given_env, debug)


def perform(
    place: Place, request: Request, way: Way | None = None, *, as_json: bool = False
) -> JobResult:
    """Run a job there, with its progress on the terminal, or as JSON lines for a machine."""
    from clinical_lakehouse.local.workspace import run_here

    with told_as_json() if as_json else watch() as listen:
        return run_here(load_bundle(place.env), request, place.root, listen, way)


def show_found(place: Place, statement: str, values: Mapping[str, Any], otherwise: str) -> None:
    """At most 10,000 rows of a SELECT as a grid; UsageError `otherwise` where there is none."""
    from clinical_lakehouse.runtime.entry import open_lake

    lake = open_lake({"root": str(place.root)})
    found = lake.query(statement, values).limit(_MOST_ROWS).collect()
    if not found:
        raise UsageError(otherwise)
    grid(list(found[0].asDict()), found)
