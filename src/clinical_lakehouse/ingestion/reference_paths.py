"""Which other resources a resource points to, and from which element; compiled from the models."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from clinical_lakehouse.ingestion.structure import is_modelled
from clinical_lakehouse.methods.fhir_models import (
    model_at,
    path_of_known,
    primitive_named,
    unwrapped,
)

# Given a value and the targets to pass over, a finder adds "element target" to a list.
_Finder = Callable[[Any, tuple[str, ...], list[str]], None]
# Not looked into: resources inside a resource and extensions (profiles say what those mean), and
# who assigned an identifier (named there in words, if at all).
_LEFT_OUT = ("Extension", "Identifier", "Resource", "Meta", "Narrative")


def references_of(resource: Mapping[str, Any], name: str, person: str | None) -> list[str]:
    """The references of a valid resource of type `name` as "element target", without those to
    `person` (logical id of the Patient it is about) and to its own contained resources."""
    found: list[str] = []
    if is_modelled(name):
        own = (f"Patient/{person}", f"urn:uuid:{person}")
        _elements_of_type(name)(resource, own, found)
    return found


@cache
def _elements_of_type(name: str) -> _Finder:
    return _elements(path_of_known(name), name)


def _elements(path: str, at: str) -> _Finder:
    """Looks at the elements of a value of this model that may hold references."""
    finders: dict[str, _Finder] = {}
    is_compiled = False

    def look(value: Any, own: tuple[str, ...], found: list[str]) -> None:
        nonlocal is_compiled
        if not is_compiled:  # when first met: a model may contain itself
            for name, inner, is_list in _complex(path):
                if _leads(inner):
                    finder = _finder(inner, f"{at}.{name}")
                    finders[name] = _each(finder) if is_list else finder
            is_compiled = True
        for name, inside in value.items():
            if name in finders:
                finders[name](inside, own, found)

    return look


def _finder(path: str, at: str) -> _Finder:
    return _reference(f"{at} ") if _named(path) == "Reference" else _elements(path, at)


def _reference(lead: str) -> _Finder:
    def add(value: Any, own: tuple[str, ...], found: list[str]) -> None:
        target = value.get("reference")
        if target is not None and target not in own and target[0] != "#":
            found.append(lead + target)

    return add


def _each(finder: _Finder) -> _Finder:
    def all_(values: Any, own: tuple[str, ...], found: list[str]) -> None:
        for value in values:
            finder(value, own, found)

    return all_


@cache
def _leads(path: str) -> bool:
    """Can a value of this model hold a reference, at any depth?"""
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if _named(one) == "Reference":
            return True
        seen.add(one)
        waiting += [inner for _, inner, _ in _complex(one) if inner not in seen]
    return False


@cache
def _complex(path: str) -> tuple[tuple[str, str, bool], ...]:
    """Name, model and whether it is a list, of each element that is no primitive."""
    return tuple(_found(path))


def _found(path: str) -> Iterator[tuple[str, str, bool]]:
    for field in model_at(path).model_fields.values():
        inner, is_list = unwrapped(field.annotation)
        name = field.alias
        if primitive_named(inner) is None and not name.startswith("_") and name != "fhir_comments":
            model: str = getattr(inner, "_model_klass", "")
            if model and _named(model) not in _LEFT_OUT:
                yield name, model, is_list


def _named(path: str) -> str:
    return path.rsplit(".", 1)[1]
