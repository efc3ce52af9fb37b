"""FHIRPath operators on Columns: three-valued logic is SQL's own."""

from collections.abc import Callable, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.values import Value, exists, items, one

# Compared with 12 decimals; calculated with 8, so that a product keeps its integer digits.
_COMPARED, _CALCULATED = "DECIMAL(38,12)", "DECIMAL(20,8)"
_NUMBERS = types.INTEGERS | {"integer64", "decimal"}


def apply(operator: str, left: Value, right: Value) -> Value:
    """The result of a binary operator; UsageError where the operands' types do not fit."""
    if left.type is None or right.type is None:
        return _with_empty(operator, left, right)
    if operator in ("and", "or", "xor", "implies"):
        return Value(_LOGIC[operator](truth(left), truth(right)), "boolean")
    if operator in ("=", "!="):
        equal = _equal(left, right)
        return Value(equal if operator == "=" else ~equal, "boolean")
    if operator in ("~", "!~"):
        same = _equivalent(left, right)
        return Value(same if operator == "~" else ~same, "boolean")
    if operator in _ORDER:
        return Value(_ordered(operator, left, right), "boolean")
    if operator in ("in", "contains"):
        item, among = (left, right) if operator == "in" else (right, left)
        kind = _kind(left, right)
        held = F.array_contains(_comparables(among, kind), _comparable(one(item), item, kind))
        return Value(held, "boolean")
    if operator == "|":
        _kind(left, right)
        a, b = items(left), items(right)
        if left.type != right.type and "decimal" in (left.type, right.type):
            a, b = a.cast("ARRAY<STRING>"), b.cast("ARRAY<STRING>")
        return Value(F.array_distinct(F.concat(a, b)), left.type, True)
    return _calculated(operator, left, right)


def first_of(parts: Sequence[Value], decimals: str) -> Value:
    """(a | b).first(): the first item that there is, which needs no collection to be made."""
    known = [part for part in parts if part.type is not None]
    if not known:
        return parts[0]
    for part in known[1:]:
        _kind(known[0], part)
    columns = [F.get(p.column, F.lit(0)) if p.many else p.column for p in known]
    mixed = len({part.type for part in known}) > 1 and "decimal" in {p.type for p in known}
    made = F.coalesce(*(column.cast(decimals) if mixed else column for column in columns))
    return Value(made, "decimal" if mixed else known[0].type)


def negative(value: Value) -> Value:
    """The number with its sign turned."""
    return _calculated("*", value, Value(F.lit(-1), "integer"))


def truth(value: Value) -> Column:
    """A boolean operand; UsageError for any other type."""
    if value.type is None:
        return F.lit(None).cast("boolean")
    if value.type != "boolean":
        raise UsageError(f"a {types.short_name(value.type)} stands where a boolean is needed")
    return one(value)


def text(value: Value) -> Column:
    """A single primitive as text."""
    if value.type is not None and not types.is_primitive(value.type):
        raise UsageError(f"a {types.short_name(value.type)} stands where a primitive is needed")
    return one(value).cast("string")


def plain(number: Column) -> Column:
    """A calculated decimal as text, without the zeros that only its SQL type has."""
    return F.regexp_replace(
        F.regexp_replace(number.cast("string"), r"(\.\d*?)0+$", "$1"), r"\.$", ""
    )


def _with_empty(operator: str, left: Value, right: Value) -> Value:
    """Operators with a literal {}: everything is empty but logic, union, & and ~."""
    if operator in ("and", "or", "xor", "implies"):
        return Value(_LOGIC[operator](truth(left), truth(right)), "boolean")
    other = left if right.type is None else right
    if operator == "|":
        return other
    if operator == "&":
        return Value(F.coalesce(text(other), F.lit("")), "string")
    if operator in ("~", "!~"):
        return Value(exists(other) if operator == "!~" else ~exists(other), "boolean")
    return Value(F.lit(None).cast("boolean"), "boolean")


def _kind(left: Value, right: Value) -> str:
    kinds = {_kind_of(left), _kind_of(right)}
    if len(kinds) == 2 and kinds == {"text", "time"}:
        return "text"
    if len(kinds) == 2:
        raise UsageError(f"a {left.type} cannot be compared with a {right.type}")
    return kinds.pop()


def _kind_of(value: Value) -> str:
    assert value.type is not None
    if not types.is_primitive(value.type):
        raise UsageError(f"a {types.short_name(value.type)} cannot be compared; go down to a value")
    if value.type in types.TEMPORALS:
        return "time"
    return {"boolean": "boolean"}.get(value.type, "number" if value.type in _NUMBERS else "text")


def _comparable(column: Column, value: Value, kind: str) -> Column:
    return column.try_cast(_COMPARED) if kind == "number" else column


def _comparables(value: Value, kind: str) -> Column:
    found = items(value)
    return F.transform(found, lambda c: _comparable(c, value, kind)) if kind == "number" else found


def _equal(left: Value, right: Value) -> Column:
    kind = _kind(left, right)
    if left.many or right.many:
        a, b = _comparables(left, kind), _comparables(right, kind)
        return F.when((F.size(a) > 0) & (F.size(b) > 0), a == b)
    a, b = _comparable(left.column, left, kind), _comparable(right.column, right, kind)
    return _on_times(a, b, lambda x, y: x == y) if kind == "time" else a == b


def _equivalent(left: Value, right: Value) -> Column:
    kind = _kind(left, right)
    a, b = _comparables(left, kind), _comparables(right, kind)
    if kind == "text":
        a, b = F.transform(a, F.lower), F.transform(b, F.lower)
    return F.array_sort(a) == F.array_sort(b)


def _ordered(operator: str, left: Value, right: Value) -> Column:
    kind = _kind(left, right)
    if kind == "boolean":
        raise UsageError(f"booleans have no order; {operator!r} cannot compare them")
    a, b = _comparable(one(left), left, kind), _comparable(one(right), right, kind)
    return _on_times(a, b, _ORDER[operator]) if kind == "time" else _ORDER[operator](a, b)


def _on_times(a: Column, b: Column, compare: Callable[[Column, Column], Column]) -> Column:
    """Dates and times: instants as points in time, others as far as both are precise.

    Where the shared part is equal and one goes on, the answer is unknown (FHIRPath N1, 6.1.1).
    """
    zone = r"T.*(Z|[+-]\d\d:\d\d)$"
    instants = a.rlike(zone) & b.rlike(zone)
    shared = F.least(F.length(a), F.length(b))
    x, y = F.substring(a, F.lit(1), shared), F.substring(b, F.lit(1), shared)
    known = (x != y) | (F.length(a) == F.length(b))
    points = compare(a.try_cast("timestamp"), b.try_cast("timestamp"))
    return F.when(instants, points).when(known, compare(x, y))


def _calculated(operator: str, left: Value, right: Value) -> Value:
    if operator == "&":
        empty = F.lit("")
        return Value(
            F.concat(F.coalesce(text(left), empty), F.coalesce(text(right), empty)), "string"
        )
    if operator == "+" and _kind_of(left) == _kind_of(right) == "text":
        return Value(F.concat(one(left), one(right)), "string")
    if _kind_of(left) != "number" or _kind_of(right) != "number":
        raise UsageError(f"{operator!r} cannot join a {left.type} and a {right.type}")
    is_whole = operator in ("div", "mod") or "decimal" not in (left.type, right.type)
    a, b = one(left), one(right)
    if is_whole and operator != "/" and "decimal" not in (left.type, right.type):
        return Value(
            _WHOLE[operator](a.cast("bigint"), b.cast("bigint")).try_cast("int"), "integer"
        )
    x, y = a.try_cast(_CALCULATED), b.try_cast(_CALCULATED)
    if operator == "div":
        return Value(F.try_divide(x, y).try_cast("int"), "integer")
    made = F.try_divide(x, y) if operator == "/" else _WHOLE[operator](x, y)
    return Value(plain(made), "decimal")


_LOGIC: dict[str, Callable[[Column, Column], Column]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a != b,
    "implies": lambda a, b: ~a | b,
}
_ORDER: dict[str, Callable[[Column, Column], Column]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}
_WHOLE: dict[str, Callable[[Column, Column], Column]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "div": lambda a, b: F.try_divide(a, b).cast("bigint"),
    "mod": F.try_mod,
}
