"""A FHIRPath syntax tree compiled to a Column: paths, constants, indices and operators."""

from dataclasses import replace
from decimal import Decimal

from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods import fhirpath
from clinical_lakehouse.methods.sql_on_fhir import operators, types
from clinical_lakehouse.methods.sql_on_fhir.functions import FUNCTIONS
from clinical_lakehouse.methods.sql_on_fhir.values import (
    Choice,
    Scope,
    Value,
    navigate,
    nothing,
    one,
)


def compiled(node: fhirpath.Node, scope: Scope) -> Value:
    """The value of an expression in a scope; UsageError says what of it is not supported."""
    found = evaluated(node, scope)
    if isinstance(found, Choice):
        raise UsageError("the element may be of several types; pick one with ofType(...)")
    return found


def evaluated(node: fhirpath.Node, scope: Scope) -> Value | Choice:
    """Like `compiled`, but a choice of types may be left open."""
    match node:
        case fhirpath.Literal():
            return literal(node)
        case fhirpath.Variable(name):
            return _variable(name, scope)
        case fhirpath.Member(base, name):
            return _member(base, name, scope)
        case fhirpath.Index(base, position):
            return _indexed(compiled(base, scope), compiled(position, scope))
        case fhirpath.Call(fhirpath.Operation("|") as union, "first", ()):
            parts = [compiled(part, scope) for part in _alternatives(union)]
            return operators.first_of(parts, scope.decimals)
        case fhirpath.Call(base, name, arguments):
            function = FUNCTIONS.get(name)
            if function is None:
                raise UsageError(f"the function {name}() is not supported")
            found = scope.context if base is None else evaluated(base, scope)
            return function(_Evaluation(scope), found, arguments)
        case fhirpath.Operation(operator, operands):
            return _operation(operator, operands, scope)


def literal(constant: fhirpath.Literal) -> Value:
    """A constant as a value."""
    value = constant.value
    if constant.type is None or value is None:
        return nothing()
    return Value(F.lit(str(value) if isinstance(value, Decimal) else value), constant.type)


class _Evaluation:
    """Gives functions the value of their arguments without an import in a circle."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def value(self, node: fhirpath.Node, scope: Scope | None = None) -> Value:
        return compiled(node, scope or self.scope)


def _variable(name: str, scope: Scope) -> Value:
    if name == "$this":
        return scope.context
    if name == "$index" and scope.index is not None:
        return Value(scope.index, "integer")
    if name == "%rowIndex":
        return Value(scope.row_index, "integer")
    if name in ("%resource", "%rootResource"):
        return scope.root
    if name == "%context":
        return scope.context
    constant = scope.constants.get(name[1:])
    if constant is None:
        raise UsageError(f"the constant {name} is not defined; add it to the view's `constant`")
    return literal(constant)


def _member(base: fhirpath.Node | None, name: str, scope: Scope) -> Value | Choice:
    if base is not None:
        found = evaluated(base, scope)
        if isinstance(found, Choice):
            raise UsageError(f"add ofType(...) before {name!r}: several types are possible")
        return navigate(found, name)
    context = scope.context
    if context.type and types.short_name(context.type) == name and types.is_resource(context.type):
        return context
    return navigate(context, name)


def _indexed(value: Value, position: Value) -> Value:
    if position.type not in types.INTEGERS:
        raise UsageError("an index must be an integer")
    at = one(position)
    if value.many:
        return replace(value, column=F.get(value.column, at), many=False, beside=None)
    return replace(value, column=F.when(at == 0, value.column))


def _alternatives(node: fhirpath.Node) -> list[fhirpath.Node]:
    """The operands of a | b | c."""
    if isinstance(node, fhirpath.Operation) and node.operator == "|":
        return [part for operand in node.operands for part in _alternatives(operand)]
    return [node]


def _operation(operator: str, operands: tuple[fhirpath.Node, ...], scope: Scope) -> Value:
    if operator in ("is", "as"):
        function = FUNCTIONS[operator]
        return function(_Evaluation(scope), evaluated(operands[0], scope), operands[1:])
    first = compiled(operands[0], scope)
    if len(operands) == 1:
        return first if operator == "+" else operators.negative(first)
    return operators.apply(operator, first, compiled(operands[1], scope))
