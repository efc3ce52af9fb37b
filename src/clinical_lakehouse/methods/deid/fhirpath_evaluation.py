"""The part of FHIRPath that de-identification rules are written in, evaluated on a resource's tree.

HL7 FHIRPath 2.0.0; what is not here is refused by name when a rule is read, never passed over.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from clinical_lakehouse.errors import SettingsError, UsageError
from clinical_lakehouse.methods import fhirpath
from clinical_lakehouse.methods.deid.fhirpath_functions import (
    FUNCTIONS,
    OPERATORS,
    is_of_type,
    true,
)
from clinical_lakehouse.methods.deid.fhirpath_values import MOMENTS, Items, Moment

# What an expression gives for the items it stands on and for $this.
Expression = Callable[[Items, Items], Items]

_TAKES_TYPE = frozenset(("ofType", "as", "is"))
_TAKES_ONE = _TAKES_TYPE | {"where", "nodesByType", "nodesByName"}


def compiled(expression: str) -> Expression:
    """The function of an expression; SettingsError names what is not understood."""
    try:
        return _made(fhirpath.parse(expression))
    except UsageError as error:
        raise SettingsError(f"FHIRPath {expression!r}: {error}; correct it") from None


def values_of(path: Expression, node: Any) -> Items:
    """What a compiled expression gives for one node."""
    return path([node], [node])


def _made(node: fhirpath.Node) -> Expression:
    match node:
        case fhirpath.Literal():
            items = _constant(node)
            return lambda here, this: items
        case fhirpath.Variable("$this"):
            return lambda here, this: this
        case fhirpath.Variable(name):
            raise UsageError(f"{name} is not understood")
        case fhirpath.Member(base, name):
            return _then(base, _child(name))
        case fhirpath.Index(base, position):
            return _indexed(_made(base), _made(position))
        case fhirpath.Call(base, name, arguments):
            return _then(base, _called(name, arguments))
        case fhirpath.Operation(operator, operands):
            return _operated(operator, operands)


def _constant(literal: fhirpath.Literal) -> Items:
    value = literal.value
    if value is None:
        return []
    if literal.type in MOMENTS:
        return [Moment.of(str(value))]
    return [float(value) if isinstance(value, Decimal) else value]


def _then(base: fhirpath.Node | None, step: Expression) -> Expression:
    if base is None:
        return step
    path = _made(base)
    return lambda here, this: step(path(here, this), this)


def _child(name: str) -> Expression:
    """A child by name, or the items themselves by the name of their type."""

    def step(here: Items, this: Items) -> Items:
        found: Items = []
        for item in here:
            own = item.named(name) if hasattr(item, "named") else []
            found += own or ([item] if name[0].isupper() and is_of_type(item, name) else [])
        return found

    return step


def _indexed(path: Expression, index: Expression) -> Expression:
    def pick(here: Items, this: Items) -> Items:
        found, at = path(here, this), index(here, this)
        return found[at[0] : at[0] + 1] if at else []

    return pick


def _called(name: str, arguments: tuple[fhirpath.Node, ...]) -> Expression:
    if name != "where" and name not in FUNCTIONS:
        raise UsageError(f"the function {name} is not understood")
    if name in _TAKES_ONE and len(arguments) != 1:
        raise UsageError(f"the function {name} takes one argument")
    if name in _TAKES_TYPE:
        return _typed(name, arguments[0])
    given = [_made(argument) for argument in arguments]
    if name == "where":
        return lambda here, this: [i for i in here if true(given[0]([i], [i]))]
    function = FUNCTIONS[name]
    return lambda here, this: function(here, *(argument(here, this) for argument in given))


def _typed(name: str, wanted: fhirpath.Node) -> Expression:
    if not isinstance(wanted, fhirpath.Member) or wanted.base is not None:
        raise UsageError(f"{name} takes the plain name of a type")
    type_name = wanted.name
    return lambda here, this: FUNCTIONS[name](here, [type_name])


def _operated(operator: str, operands: tuple[fhirpath.Node, ...]) -> Expression:
    left = _made(operands[0])
    if operator in ("is", "as"):
        step = _typed(operator, operands[1])
        return lambda here, this: step(left(here, this), this)
    if len(operands) == 1:
        zero: Items = [0]
        signed = OPERATORS[operator]
        return lambda here, this: signed(zero, left(here, this))
    if operator not in OPERATORS:
        raise UsageError(f"the operator {operator} is not understood")
    function, right = OPERATORS[operator], _made(operands[1])
    return lambda here, this: function(left(here, this), right(here, this))
