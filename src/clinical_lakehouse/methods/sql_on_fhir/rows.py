"""A view's rows as one array of structs per resource: for each, cross product, union, repeat.

One pass over the resources: nothing is joined or exploded before the end.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.fhirpath import Member, Node
from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.definition import (
    Expression,
    Select,
    View,
    ViewColumn,
    located,
)
from clinical_lakehouse.methods.sql_on_fhir.expression import compiled
from clinical_lakehouse.methods.sql_on_fhir.values import (
    Scope,
    Taken,
    Value,
    items,
    one,
    parsed,
)
from clinical_lakehouse.tables.views import spark_type

MAX_DEPTH = 64  # of a repeat; deeper nesting stops the query, it is not cut off
_NUMBERS = types.INTEGERS | {"integer64", "decimal"}


@dataclass(frozen=True)
class Field:
    """A column of the result: Spark type, FHIR type, its definition, and the FHIR types that its
    paths yield (one of each branch of a union), whatever is declared."""

    name: str
    type: str
    fhir_type: str
    column: ViewColumn
    found: frozenset[str]


@dataclass(frozen=True)
class Rows:
    """Rows of a select: what is the same in all of them, a Column per field, and the other fields
    as an array of structs; without an array there is exactly one row."""

    fields: tuple[Field, ...]
    single: Mapping[str, Column]
    array: Column | None

    def structs(self) -> Column:
        """The rows as an array of whole structs."""
        if self.array is None:
            return F.array(self.struct())
        return F.transform(self.array, self.struct) if self.single else self.array

    def struct(self, row: Column | None = None) -> Column:
        """One row: fields that are the same in all, others from an item of the array."""
        cells = (
            self.single[f.name] if f.name in self.single or row is None else row.getField(f.name)
            for f in self.fields
        )
        return F.struct(*(c.alias(f.name) for c, f in zip(cells, self.fields, strict=True)))


def rows_of(view: View, scope: Scope) -> Rows:
    """All rows that the view makes of one resource; names of columns must be unique."""
    made = _product([_select(view, select, scope) for select in view.selects])
    names = [field.name for field in made.fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"{view.source}: column {twice} is defined twice; rename one")
    return made


def _select(view: View, select: Select, scope: Scope) -> Rows:
    if select.repeat:
        return _for_each(view, select, _repeated(view, select, scope), scope)
    if select.for_each is None:
        return _within(view, select, scope)
    place = f"forEach {select.for_each.text!r}"
    with located(view.source, place):
        found = compiled(select.for_each.node, scope)
    return _for_each(view, select, found, scope)


def _for_each(view: View, select: Select, found: Value, scope: Scope) -> Rows:
    made: list[Rows] = []
    array = items(found)
    if select.or_null:
        array = F.when(F.size(array) > 0, array).otherwise(F.array(F.lit(None)))

    def body(column: Column, position: Column) -> Column:
        item = replace(found, column=column, many=False, beside=None)
        if found.raw is not None:
            item = replace(item, column=column.getField("parsed"), raw=column.getField("raw"))
        made.append(_within(view, select, replace(scope, context=item, row_index=position)))
        return made[-1].struct() if made[-1].array is None else made[-1].structs()

    nested = F.transform(array, body)
    rows = made[-1]
    return Rows(rows.fields, {}, nested if rows.array is None else F.flatten(nested))


def _within(view: View, select: Select, scope: Scope) -> Rows:
    """Columns, nested selects and the union, all combined."""
    columns = [_column(view, column, scope) for column in select.columns]
    own = Rows(
        tuple(field for field, _ in columns),
        {field.name: column for field, column in columns},
        None,
    )
    parts = [own] if columns else []
    parts += [_select(view, nested, scope) for nested in select.selects]
    if select.union:
        parts.append(_union(view, [_select(view, branch, scope) for branch in select.union]))
    return _product(parts)


def _product(parts: Sequence[Rows]) -> Rows:
    """Every combination of the parts' rows, their columns in order."""
    fields = tuple(field for part in parts for field in part.fields)
    single = {name: column for part in parts for name, column in part.single.items()}
    several = [(part, part.array) for part in parts if part.array is not None]
    if len(several) <= 1:
        return Rows(fields, single, several[0][1] if several else None)

    def combined(at: int, cells: tuple[Column, ...]) -> Column:
        if at == len(several):
            return F.struct(*cells)
        part, array = several[at]
        own = [f.name for f in part.fields if f.name not in part.single]

        def with_row(row: Column) -> Column:
            return combined(at + 1, (*cells, *(row.getField(n).alias(n) for n in own)))

        inner = F.transform(array, with_row)
        return inner if at == len(several) - 1 else F.flatten(inner)

    return Rows(fields, single, combined(0, ()))


def _union(view: View, branches: Sequence[Rows]) -> Rows:
    first = [(field.name, field.type) for field in branches[0].fields]
    for branch in branches[1:]:
        other = [(field.name, field.type) for field in branch.fields]
        if [name for name, _ in other] != [name for name, _ in first]:
            raise UsageError(
                f"{view.source}: unionAll: every branch needs the same columns in the same order"
            )
        differs = next((a[0] for a, b in zip(first, other, strict=True) if a != b), None)
        if differs:
            raise UsageError(f"{view.source}: unionAll: column {differs} has two types")
    fields = tuple(
        replace(same[0], found=frozenset[str]().union(*(field.found for field in same)))
        for same in zip(*(branch.fields for branch in branches), strict=True)
    )
    return Rows(fields, {}, F.concat(*(branch.structs() for branch in branches)))


def _column(view: View, column: ViewColumn, scope: Scope) -> tuple[Field, Column]:
    with located(view.source, f"column {column.name}, path {column.path.text!r}"):
        value = compiled(column.path.node, scope)
        fhir_type = _settled_type(value, column)
        wanted = _wanted_type(column, fhir_type)
        if column.collection:
            wanted = f"ARRAY<{wanted}>"
        found = items(value) if column.collection else _single(value, column)
        cell = _converted(found, wanted, fhir_type)
    found_type = frozenset(() if value.type is None else (value.type,))
    return Field(column.name, wanted, fhir_type, column, found_type), cell


def _single(value: Value, column: ViewColumn) -> Column:
    if not value.many:
        return value.column
    said = f"column {column.name} yields several values for a resource; set collection: true"
    several = F.size(value.column) > 1
    return F.when(several, F.raise_error(F.lit(said))).otherwise(F.get(value.column, F.lit(0)))


def _settled_type(value: Value, column: ViewColumn) -> str:
    """The column's FHIR type: as declared, if what the path yields can be that."""
    found = value.type
    if found is not None and not types.is_primitive(found):
        raise UsageError(f"yields a {types.short_name(found)}; go down to a primitive element")
    declared = column.type or found or "string"
    if found is None or types.sql_type(declared) in ("STRING", types.sql_type(found)):
        is_lost = declared == "decimal" and found is not None and found not in _NUMBERS
        if not is_lost:
            return declared
    if found in _NUMBERS and declared in _NUMBERS:
        return declared
    raise UsageError(f"yields a {found}, not the declared {declared}; correct `type`")


def _wanted_type(column: ViewColumn, fhir_type: str) -> str:
    given = column.tags.get("ansi/type")
    if given is None:
        return types.sql_type(fhir_type)
    return spark_type(given)


def _converted(found: Column, wanted: str, fhir_type: str) -> Column:
    """In the column's SQL type. A partial date is no DATE: it becomes null, never 1 January."""
    if wanted.endswith("STRING") or wanted.endswith("STRING>"):
        return found.cast(wanted)
    if wanted in ("DATE", "TIMESTAMP") and fhir_type in types.TEMPORALS:
        found = F.when(F.length(found) >= 10, found)
    return found.try_cast(wanted)


def _repeated(view: View, select: Select, scope: Scope) -> Value:
    """Items found by following the paths again and again, each before what lies below it.

    The items stay JSON text while the tree is walked, so its depth needs no schema.
    """
    context = scope.context
    with located(view.source, f"repeat {', '.join(repr(p.text) for p in select.repeat)}"):
        if context.raw is None:
            raise UsageError("may stand in the resource, a repeat or a contained resource only")
        below = f"{context.node.path if context.node else ''}{_pattern(select.repeat)}"
        start, type_ = _children(context, select.repeat, scope, f"{below} start")
        node = Taken(below, decimals=scope.decimals)
        inner = Value(F.lit(None), type_, node=node, raw=F.lit(None))
        _, again = _children(inner, select.repeat, scope, f"{below} again")
        if again != type_:
            raise UsageError("the paths must lead to elements that hold the same elements again")

    def below_of(raw: Column) -> Column:
        return _children(replace(inner, raw=raw), select.repeat, scope, f"{below} again")[0]

    tree = scope.trees.setdefault(below, Taken(below, decimals=scope.decimals))
    texts = _walked(start, below_of)
    column = F.transform(
        texts,
        lambda item: F.struct(
            item.getField("raw").alias("raw"),
            parsed(item.getField("raw"), type_, tree).column.alias("parsed"),
        ),
    )
    return Value(column, type_, True, tree, raw=texts)


def _pattern(paths: Sequence[Expression]) -> str:
    return f"(?:{'|'.join(re.escape(f'.{path.text.strip()}') for path in paths)})+"


def _children(
    parent: Value, paths: Sequence[Expression], scope: Scope, key: str
) -> tuple[Column, str]:
    """The JSON texts that the paths lead to from one parent, and their type."""
    assert parent.raw is not None and parent.type is not None
    above = parent.node.path if parent.node else ""
    tree = scope.trees.setdefault(key, Taken(above, decimals=scope.decimals))
    inner = replace(scope, context=parsed(parent.raw, parent.type, tree))
    found = []
    for path in paths:
        if _first_name(path.node) in types.elements_of(parent.type):  # answer.item: not at the top
            found.append(compiled(path.node, inner))
    kinds = {value.type for value in found}
    if len(kinds) != 1 or None in kinds or any(types.is_primitive(str(k)) for k in kinds):
        raise UsageError("the paths must lead to elements of one complex type")
    return F.concat(*(items(value) for value in found)), str(found[0].type)


def _first_name(node: Node | None) -> str:
    if not isinstance(node, Member):
        raise UsageError("only names of elements joined by dots are supported")
    return _first_name(node.base) if node.base is not None else node.name


def _walked(start: Column, below_of: Callable[[Column], Column]) -> Column:
    """All items in order of a depth-first walk: sorted by their places (0, 0.1, 1, ...)."""
    first = F.transform(start, lambda raw, i: F.struct(F.array(i).alias("place"), raw.alias("raw")))
    empty = F.filter(first, lambda item: F.lit(False))
    zero = F.struct(empty.alias("done"), first.alias("left"))

    def step(state: Column, _: Column) -> Column:
        left = state.getField("left")
        below = F.transform(left, lambda item: F.transform(
            below_of(item.getField("raw")),
            lambda raw, i: F.struct(
                F.concat(item.getField("place"), F.array(i)).alias("place"), raw.alias("raw")
            ),
        ))  # fmt: skip
        done = F.concat(state.getField("done"), left)
        return F.struct(done.alias("done"), F.flatten(below).alias("left"))

    def finish(state: Column) -> Column:
        too_deep = F.raise_error(F.lit(f"a repeat goes deeper than {MAX_DEPTH} levels"))
        return F.when(F.size(state.getField("left")) > 0, too_deep).otherwise(
            F.sort_array(state.getField("done"))
        )

    return F.aggregate(F.sequence(F.lit(1), F.lit(MAX_DEPTH)), zero, step, finish)


def condition_of(view: View, scope: Scope) -> Column | None:
    """Which resources the view takes: those for which every `where` is true."""
    result = None
    for expression in view.where:
        with located(view.source, f"where, path {expression.text!r}"):
            value = compiled(expression.node, scope)
            if value.type not in ("boolean", None):
                raise UsageError(f"yields a {value.type}; a condition must yield a boolean")
            holds = F.coalesce(one(value).cast("boolean"), F.lit(False))
        result = holds if result is None else result & holds
    return result
