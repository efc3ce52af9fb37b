"""A task's command line: `--name=value`; what every task understands and what is its own."""

import os
from collections.abc import Mapping, Sequence

from clinical_lakehouse.errors import UsageError

# What every task understands; anything else is a parameter of its own.
COMMON = ("root", "env", "as-of", "run-id", "attempt", "catalog", "master", "remote", "result")


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """`--name=value` and `--name value` as a dictionary."""
    found: dict[str, str] = {}
    waiting: str | None = None
    for argument in arguments:
        if waiting is not None:
            found[waiting], waiting = argument, None
        elif not argument.startswith("--"):
            raise UsageError(f"{argument!r} is not understood; write --name=value")
        elif "=" in argument:
            name, value = argument[2:].split("=", 1)
            found[name] = value
        else:
            waiting = argument[2:]
    if waiting is not None:
        raise UsageError(f"--{waiting} needs a value")
    return found


def own_parameters(
    name: str, defaults: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """The task's own parameters: its defaults, overridden by what is given and not empty."""
    own = {key.replace("-", "_"): value for key, value in given.items() if key not in COMMON}
    unknown = sorted(set(own) - set(defaults))
    if unknown:
        known = ", ".join(f"--{n}" for n in (*COMMON, *defaults))
        raise UsageError(f"{name} does not know --{unknown[0]}; it knows {known}")
    return {**defaults, **{key: value for key, value in own.items() if value}}


def default_root() -> str:
    """CLINICAL_LAKE_ROOT, else ./lake."""
    return os.environ.get("CLINICAL_LAKE_ROOT", "lake")
