"""What fhir.resources' R4B models say of FHIR types: the one place that reads their annotations."""

from functools import cache
from importlib import import_module
from typing import Any, get_args, get_origin

import fhir.resources.R4B.fhirtypes  # noqa: F401  (fills the map of types)
from fhir_core.constraints import FHIR_TYPES_MAPS

_PREFIX = "R4."


def path_of_type(name: str) -> str | None:
    """Import path of the model of a FHIR type by its name, None where R4B has none."""
    path: str | None = FHIR_TYPES_MAPS.get(f"{_PREFIX}{name}Type")
    return path


def path_of_known(name: str) -> str:
    """The same for a type that R4B is known to have; KeyError for any other."""
    return str(FHIR_TYPES_MAPS[f"{_PREFIX}{name}Type"])


@cache
def model_at(path: str) -> Any:
    """The model class at an import path."""
    module, name = path.rsplit(".", 1)
    return getattr(import_module(module), name)


def unwrapped(annotation: Any) -> tuple[Any, bool]:
    """The type inside Optional and List, and whether there was a List."""
    is_list = False
    while get_origin(annotation) is not None and not hasattr(annotation, "__metadata__"):
        is_list = is_list or get_origin(annotation) is list
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation, is_list


def primitive_named(inner: Any) -> str | None:
    """The FHIR name of a primitive type, None for a complex one."""
    if inner is bool:
        return "boolean"
    for mark in getattr(inner, "__metadata__", ()):
        named = getattr(mark, "__visit_name__", None)
        if named:
            return str(named)
        if type(mark).__name__ == "UuidVersion":
            return "uuid"
    return None
