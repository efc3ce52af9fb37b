"""The FHIRPath functions a view may call, and those SQL on FHIR adds, each on Columns."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.fhirpath import Member, Node
from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.boundaries import boundary
from clinical_lakehouse.methods.sql_on_fhir.operators import text, truth
from clinical_lakehouse.methods.sql_on_fhir.values import (
    Choice,
    Scope,
    Taken,
    Value,
    each,
    exists,
    items,
    kept,
    navigate,
    one,
    parsed,
    picked,
)


class Evaluation(Protocol):
    """How a function evaluates its arguments."""

    scope: Scope

    def value(self, node: Node, scope: Scope | None = None) -> Value:
        """The value of an argument, in the function's own scope or that of an item."""


Found = Value | Choice
Arguments = tuple[Node, ...]
Function = Callable[[Evaluation, Found, Arguments], Value]


def _plain(function: Callable[[Value], Value]) -> Function:
    """A function of a collection without arguments."""

    def call(run: Evaluation, base: Found, arguments: Arguments) -> Value:
        _counted(arguments, 0, 0)
        return function(_settled(base))

    return call


def _of_text(type_: str, least: int, most: int, function: Callable[..., Column]) -> Function:
    """A function of a single text and of constants; empty in, empty out."""

    def call(run: Evaluation, base: Found, arguments: Arguments) -> Value:
        _counted(arguments, least, most)
        given = [one(run.value(a)) for a in arguments]
        return Value(function(text(_settled(base)), *given), type_)

    return call


def _settled(base: Found) -> Value:
    if isinstance(base, Choice):
        raise UsageError("the element may be of several types; pick one with ofType(...)")
    return base


def _counted(arguments: Arguments, least: int, most: int) -> None:
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise UsageError(f"a function is given {len(arguments)} arguments, {wanted} are allowed")


def _condition(run: Evaluation, node: Node) -> Callable[[Value, Column], Column]:
    def holds(item: Value, position: Column) -> Column:
        scope = replace(run.scope, context=item, index=position)
        return F.coalesce(truth(run.value(node, scope)), F.lit(False))

    return holds


def _where(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 1, 1)
    found = _settled(base)
    return found if found.type is None else kept(found, _condition(run, arguments[0]))


def _exists(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 0, 1)
    found = _where(run, base, arguments) if arguments else base
    return Value(exists(found), "boolean")


def _empty(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 0, 0)
    return Value(~exists(base), "boolean")


def _all(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 1, 1)
    holds, found = _condition(run, arguments[0]), _settled(base)
    failing = kept(found, lambda item, at: ~holds(item, at))
    return Value(~exists(failing), "boolean")


def _select(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 1, 1)

    def project(item: Value, position: Column) -> Value:
        return run.value(arguments[0], replace(run.scope, context=item, index=position))

    return each(_settled(base), project)


def _of_type(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 1, 1)
    wanted = types.type_named(_name(arguments[0]))
    if isinstance(base, Choice):
        element = base.options.get(wanted)
        if element is None:
            allowed = ", ".join(sorted(map(types.short_name, base.options)))
            raise UsageError(f"{_name(arguments[0])} is not among the types {allowed}")
        return picked(base, element)
    if base.type == types.ANY_RESOURCE and types.is_resource(wanted):
        return _resources(run, base, wanted)
    return base if base.type == wanted else replace(base, column=_none(base), type=wanted)


def _none(value: Value) -> Column:
    empty = F.filter(value.column, lambda c: F.lit(False)) if value.many else None
    return F.when(F.lit(False), value.column) if empty is None else empty


def _resources(run: Evaluation, base: Value, wanted: str) -> Value:
    """Contained resources of one type, each read from its own JSON text."""
    name = types.short_name(wanted)
    path = f"{base.node.path if base.node else ''}<{name}>"
    tree = run.scope.trees.setdefault(path, Taken(path, decimals=run.scope.decimals))
    fits = kept(base, lambda c, i: F.get_json_object(c.column, "$.resourceType") == name)
    return each(fits, lambda item, i: parsed(item.column, wanted, tree))


def _is(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 1, 1)
    if not isinstance(base, Choice):
        same = base.type == types.type_named(_name(arguments[0]))
        return Value(F.when(exists(base), F.lit(same)), "boolean")
    return Value(F.when(exists(base), exists(_of_type(run, base, arguments))), "boolean")


def _name(node: Node) -> str:
    """A type specifier, which the grammar reads as a path."""
    if not isinstance(node, Member):
        raise UsageError("a type name is expected")
    return f"{_name(node.base)}.{node.name}" if node.base else node.name


def _extension(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 1, 1)
    found = navigate(_settled(base), "extension")
    url = one(run.value(arguments[0]))
    assert isinstance(found, Value)
    return kept(found, lambda item, at: one(_settled(navigate(item, "url"))) == url)


def _join(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 0, 1)
    found = _settled(base)
    separator = one(run.value(arguments[0])) if arguments else F.lit("")
    if found.type is not None and not types.is_primitive(found.type):
        raise UsageError("join() needs primitives; go down to a text")
    texts = items(found).cast("ARRAY<STRING>")
    return Value(F.call_function("array_join", texts, separator), "string")


def _taken_from(keep: Callable[[Column, Column], Column]) -> Function:
    def call(run: Evaluation, base: Found, arguments: Arguments) -> Value:
        _counted(arguments, 1, 1)
        found = _settled(base)
        made = keep(items(found), F.greatest(one(run.value(arguments[0])), F.lit(0)))
        return replace(found, column=made, many=True, beside=None)

    return call


def _position(value: Value, at: int) -> Value:
    if not value.many:
        return value
    found = F.get(value.column, F.lit(0) if at == 0 else F.size(value.column) - 1)
    return replace(value, column=found, many=False, beside=None)


def _tail(value: Value) -> Value:
    rest = F.slice(items(value), F.lit(2), F.greatest(F.size(items(value)), F.lit(1)))
    return replace(value, column=rest, many=True, beside=None)


def _distinct(value: Value) -> Value:
    return replace(value, column=F.array_distinct(value.column)) if value.many else value


def _iif(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    _counted(arguments, 2, 3)
    condition = F.coalesce(truth(run.value(arguments[0])), F.lit(False))
    then = run.value(arguments[1])
    other = run.value(arguments[2]) if len(arguments) == 3 else replace(then, column=F.lit(None))
    if None not in (then.type, other.type) and then.type != other.type:
        raise UsageError("both results of iif() must be of one type")
    many = then.many or other.many
    first, second = (items(then), items(other)) if many else (then.column, other.column)
    return Value(F.when(condition, first).otherwise(second), then.type or other.type, many,
                 then.node or other.node)  # fmt: skip


def _resource_key(value: Value) -> Value:
    if value.type is None or not types.is_resource(value.type):
        raise UsageError("getResourceKey() belongs to a resource")
    return Value(one(_settled(navigate(value, "id"))), "string")


def _reference_key(run: Evaluation, base: Found, arguments: Arguments) -> Value:
    """The id a reference names, relative, absolute or urn:uuid; the last has no type in it."""
    _counted(arguments, 0, 1)
    found, wanted = _settled(base), None
    if found.type is None or types.short_name(found.type) != "Reference":
        raise UsageError("getReferenceKey() belongs to a Reference")
    if arguments:
        wanted = types.short_name(types.resource_named(_name(arguments[0]).rsplit(".", 1)[-1]))

    def key(item: Value, position: Column) -> Value:
        return Value(_key_of(item, wanted), "string")

    return each(found, key)


def _key_of(reference: Value, wanted: str | None) -> Column:
    written = one(_settled(navigate(reference, "reference")))
    # One pattern for both forms: a look-up like this is made for every reference of a row.
    type_ = wanted or "[A-Z][A-Za-z]+"
    pattern = rf"(?:(?:^|/){type_}/|^urn:(?:uuid|oid):)([A-Za-z0-9.\-]{{1,64}})(?:/_history/.*)?$"
    found = F.regexp_extract(written, pattern, 1)
    if wanted is None:
        return F.nullif(found, F.lit(""))
    declared = one(_settled(navigate(reference, "type")))
    is_other = declared.isNotNull() & (declared != wanted) & written.startswith("urn:")
    return F.when((found != "") & ~F.coalesce(is_other, F.lit(False)), found)


def _substring(value: Column, start: Column, length: Column | None = None) -> Column:
    whole = F.length(value) if length is None else length
    return F.when((start >= 0) & (start < F.length(value)), F.substring(value, start + 1, whole))


def _cast(type_: str) -> Function:
    def call(value: Value) -> Value:
        sql = types.sql_type(type_)
        number = text(value).try_cast("DECIMAL(38,12)" if type_ == "decimal" else sql)
        return Value(
            F.when(number.isNotNull(), text(value)) if type_ == "decimal" else number, type_
        )

    return _plain(call)


FUNCTIONS: Mapping[str, Function] = {
    "where": _where,
    "exists": _exists,
    "empty": _empty,
    "all": _all,
    "select": _select,
    "ofType": _of_type,
    "as": _of_type,
    "is": _is,
    "extension": _extension,
    "join": _join,
    "iif": _iif,
    "getResourceKey": _plain(_resource_key),
    "getReferenceKey": _reference_key,
    "first": _plain(lambda value: _position(value, 0)),
    "last": _plain(lambda value: _position(value, -1)),
    "single": _plain(lambda value: replace(value, column=one(value), many=False)),
    "tail": _plain(_tail),
    "skip": _taken_from(lambda array, n: F.slice(array, n + 1, F.size(array) + 1)),
    "take": _taken_from(lambda array, n: F.slice(array, F.lit(1), n)),
    "count": _plain(lambda value: Value(F.size(items(value)), "integer")),
    "distinct": _plain(_distinct),
    "hasValue": _plain(lambda value: Value(exists(value), "boolean")),
    "not": _plain(lambda value: Value(~truth(value), "boolean")),
    "lowBoundary": _plain(lambda value: boundary(value, True)),
    "highBoundary": _plain(lambda value: boundary(value, False)),
    "toString": _plain(lambda value: Value(text(value), "string")),
    "toInteger": _cast("integer"),
    "toDecimal": _cast("decimal"),
    "startsWith": _of_text("boolean", 1, 1, lambda value, part: value.startswith(part)),
    "endsWith": _of_text("boolean", 1, 1, lambda value, part: value.endswith(part)),
    "contains": _of_text("boolean", 1, 1, lambda value, part: value.contains(part)),
    "matches": _of_text("boolean", 1, 1, lambda value, pattern: F.regexp(value, pattern)),
    "replace": _of_text("string", 2, 2, F.replace),
    "substring": _of_text("string", 1, 2, _substring),
    "length": _of_text("integer", 0, 0, F.length),
    "upper": _of_text("string", 0, 0, F.upper),
    "lower": _of_text("string", 0, 0, F.lower),
    "trim": _of_text("string", 0, 0, F.trim),
}
