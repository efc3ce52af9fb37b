"""The functions and operators of our part of FHIRPath; Microsoft's nodesByType and nodesByName."""

import operator
import re
from collections.abc import Callable
from typing import Any

from clinical_lakehouse.errors import LakehouseError, SourceError
from clinical_lakehouse.methods.deid.fhir_tree import Node
from clinical_lakehouse.methods.deid.fhirpath_values import Items, Moment, plain

# What a function or operator raises on values or arguments that it is not for.
MISFITS = (LakehouseError, TypeError, ValueError, re.error)
_RESOURCES = frozenset(("Resource", "DomainResource"))


def true(items: Items) -> bool:
    """Is it a collection that holds `true`, or one item that is no boolean (FHIRPath 4.5)?"""
    if len(items) != 1:
        return False
    value = plain(items[0])
    return value if isinstance(value, bool) else True


def is_of_type(item: Any, name: str) -> bool:
    """Is a node of that type? Every resource is a Resource."""
    if not isinstance(item, Node):
        return False
    return item.type == name or (item.is_resource and name in _RESOURCES)


def _nodes(items: Items) -> list[Node]:
    return [item for item in items if isinstance(item, Node)]


def _within(items: Items) -> list[Node]:
    return [inner for node in _nodes(items) for inner in (node, *node.descendants())]


def _by_type(items: Items, name: Items) -> Items:
    return [node for node in _within(items) if node.type == name[0]]


def _by_name(items: Items, name: Items) -> Items:
    return [node for node in _within(items) if node.element.name == name[0]]


def _of_type(items: Items, name: Items) -> Items:
    return [item for item in items if is_of_type(item, name[0])]


def _text(function: Callable[..., Any]) -> Callable[..., Items]:
    """A function of one text; nothing for nothing, SourceError for what is no text."""

    def called(items: Items, *arguments: Items) -> Items:
        if not items or any(not argument for argument in arguments):
            return []
        value = plain(items[0])
        text = value.text if isinstance(value, Moment) else value
        if not isinstance(text, str):
            raise SourceError("a text function of a rule met a value that is no text")
        return [function(text, *(plain(argument[0]) for argument in arguments))]

    return called


def _substring(text: str, start: int, length: int | None = None) -> str:
    return text[start:] if length is None else text[start : start + length]


FUNCTIONS: dict[str, Callable[..., Items]] = {
    "nodesByType": _by_type,
    "nodesByName": _by_name,
    "ofType": _of_type,
    "as": _of_type,
    "is": lambda items, name: [is_of_type(items[0], name[0])] if items else [],
    "exists": lambda items: [bool(items)],
    "empty": lambda items: [not items],
    "not": lambda items: [not true(items)] if items else [],
    "count": lambda items: [len(items)],
    "first": lambda items: items[:1],
    "last": lambda items: items[-1:],
    "children": lambda items: [child for node in _nodes(items) for child in node.children],
    "descendants": lambda items: [under for node in _nodes(items) for under in node.descendants()],
    "toString": lambda items: [str(plain(item)) for item in items[:1]],
    "toInteger": lambda items: [int(plain(item)) for item in items[:1]],
    "length": _text(len),
    "upper": _text(str.upper),
    "lower": _text(str.lower),
    "startsWith": _text(str.startswith),
    "endsWith": _text(str.endswith),
    "contains": _text(lambda text, part: part in text),
    "matches": _text(lambda text, pattern: re.search(pattern, text) is not None),
    "replace": _text(str.replace),
    "substring": _text(_substring),
}


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Items, Items], Items]:
    """An operator of two single values; nothing for nothing, SourceError for types that differ."""

    def called(left: Items, right: Items) -> Items:
        if not left or not right:
            return []
        try:
            return [compare(plain(left[0]), plain(right[0]))]
        except (TypeError, ZeroDivisionError):
            raise SourceError("an operator of a rule met values it is not for") from None

    return called


def _equal(left: Items, right: Items) -> Items:
    if not left or not right:
        return []
    return [[plain(item) for item in left] == [plain(item) for item in right]]


def _member(one: Items, many: Items) -> Items:
    return [plain(one[0]) in [plain(item) for item in many]] if one else []


def _union(left: Items, right: Items) -> Items:
    found: Items = []
    for item in (*left, *right):
        if not any(item is other or (item == other) for other in found):
            found.append(item)
    return found


OPERATORS: dict[str, Callable[[Items, Items], Items]] = {
    "|": _union,
    "=": _equal,
    "!=": lambda left, right: [not same for same in _equal(left, right)],
    "<": _compared(operator.lt),
    ">": _compared(operator.gt),
    "<=": _compared(operator.le),
    ">=": _compared(operator.ge),
    "+": _compared(operator.add),
    "-": _compared(operator.sub),
    "*": _compared(operator.mul),
    "/": _compared(operator.truediv),
    "div": _compared(lambda left, right: int(left / right)),
    "mod": _compared(operator.mod),
    "&": lambda left, right: ["".join(str(plain(i)) for i in (*left[:1], *right[:1]))],
    "in": _member,
    "contains": lambda many, one: _member(one, many),
    "and": lambda left, right: [true(left) and true(right)],
    "or": lambda left, right: [true(left) or true(right)],
    "xor": lambda left, right: [true(left) != true(right)],
    "implies": lambda left, right: [not true(left) or true(right)],
}
