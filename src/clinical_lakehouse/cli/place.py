"""Where a command works: --root, --env and --debug, before or after the command's name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from clinical_lakehouse.runtime.entry import default_root


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
