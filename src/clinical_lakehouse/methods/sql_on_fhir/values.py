"""What an expression yields, as Spark Columns, and which elements it takes from the JSON.

A collection that may hold several items is an array without nulls; one that cannot is a scalar.
Every primitive is read as text, so that 1.10 stays 1.10.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.fhirpath import Literal
from clinical_lakehouse.methods.sql_on_fhir import types


@dataclass(frozen=True)
class Taken:
    """Elements that a view takes below one JSON object; `path` is a pattern of where it lies.

    `decimals` is the SQL type that decimals are read as, `sql` that of this element if it is one.
    """

    path: str
    is_list: bool = False
    decimals: str = "STRING"
    sql: str = "STRING"
    children: dict[str, "Taken"] = field(default_factory=dict)
    only_seen: set[str] = field(default_factory=set)  # children asked for their presence only

    def child(self, element: types.Element) -> "Taken":
        """The element below, noted as taken."""
        sql = self.decimals if element.type == "decimal" else "STRING"
        path = rf"{self.path}\.{element.name}"
        self.only_seen.discard(element.name)
        made = Taken(path, element.is_list, self.decimals, sql)
        return self.children.setdefault(element.name, made)

    def ddl(self) -> str:
        """The narrow schema of the object's content for from_json."""
        fields = [f"`{name}`: {node._type()}" for name, node in sorted(self.children.items())]
        return ", ".join(fields or ["`resourceType`: STRING"]).replace("`: ", "` ")

    def _type(self) -> str:
        inner = f"STRUCT<{self.ddl().replace('` ', '`: ')}>" if self.children else self.sql
        return f"ARRAY<{inner}>" if self.is_list else inner


Trees = dict[str, Taken]
RESOURCE = ""  # key of the tree of elements taken from the resource itself


@dataclass(frozen=True)
class Value:
    """A collection of one FHIR type (None: always empty).

    `raw` is its JSON text where there is one; `beside` gives what stands beside a primitive.
    """

    column: Column
    type: str | None
    many: bool = False
    node: Taken | None = None
    raw: Column | None = None
    beside: Callable[[], "Value"] | None = None


@dataclass(frozen=True)
class Choice:
    """An element of several possible types (value[x]), before ofType() picks one."""

    options: Mapping[str, types.Element]
    parent: Value


@dataclass(frozen=True)
class Scope:
    """What names mean in an expression."""

    context: Value
    root: Value
    trees: Trees
    constants: Mapping[str, Literal]
    row_index: Column
    index: Column | None = None

    @property
    def decimals(self) -> str:
        """The SQL type that decimals are read as."""
        return self.trees[RESOURCE].decimals


def nothing() -> Value:
    """The empty collection."""
    return Value(F.lit(None), None)


def items(value: Value) -> Column:
    """The collection as an array, never null."""
    if value.many:
        return F.coalesce(value.column, F.array())
    return F.array_compact(F.array(value.column))


def one(value: Value) -> Column:
    """The single item, or null; several stop the query."""
    if not value.many:
        return value.column
    said = "several values where the view allows one; use first() or collection: true"
    several = F.size(value.column) > 1
    return F.when(several, F.raise_error(F.lit(said))).otherwise(F.get(value.column, F.lit(0)))


def item_of(value: Value, column: Column) -> Value:
    """One item of a collection."""
    return replace(value, column=column, many=False, beside=None)


def each(value: Value, project: Callable[[Value, Column], Value]) -> Value:
    """The collection of what `project` yields for each item and its position."""
    if not value.many:
        made = project(value, F.lit(0))
        return replace(made, column=F.when(value.column.isNotNull(), made.column))
    seen: list[Value] = []

    def body(column: Column, position: Column) -> Column:
        seen.append(project(item_of(value, column), position))
        return seen[-1].column

    column = F.array_compact(F.transform(value.column, body))
    result = seen[-1]
    return replace(result, column=F.flatten(column) if result.many else column, many=True)


def kept(value: Value, holds: Callable[[Value, Column], Column]) -> Value:
    """The items for which a condition holds."""
    if not value.many:
        return replace(value, column=F.when(holds(value, F.lit(0)), value.column))
    column = F.filter(value.column, lambda c, i: holds(item_of(value, c), i))
    return replace(value, column=column, beside=None)


def exists(found: Value | Choice) -> Column:
    """Is there any item?"""
    if isinstance(found, Choice):
        options = [_is_there(found, element) for element in found.options.values()]
        result = options[0]
        for option in options[1:]:
            result = result | option
        return result
    if found.many:
        return F.coalesce(F.size(found.column) > 0, F.lit(False))
    return found.column.isNotNull()


def _is_there(choice: Choice, element: types.Element) -> Column:
    node = choice.parent.node
    assert node is not None
    is_new = element.name not in node.children or element.name in node.only_seen
    there = exists(picked(choice, element))
    if is_new:
        node.only_seen.add(element.name)
    return there


def navigate(value: Value, name: str) -> Value | Choice:
    """An element of a value; UsageError if the type has none of that name."""
    if value.type is None:
        return value
    if types.is_primitive(value.type):
        if value.beside is None or name not in ("extension", "id"):
            raise UsageError(f"a {value.type} has no element {name!r} here")
        return navigate(value.beside(), name)
    if value.type == types.ANY_RESOURCE:
        raise UsageError(f"add ofType(...) before {name!r}: the resource may be of any type")
    elements = types.elements_of(value.type)
    options = {e.type: e for e in elements.values() if e.choice == name}
    if options:
        return Choice(options, value)
    element, of = elements.get(name), types.short_name(value.type)
    if element is not None and element.choice is not None:
        wanted = types.short_name(element.type)
        raise UsageError(f"write {element.choice}.ofType({wanted}) instead of {name!r}")
    if element is None:
        raise UsageError(f"{of} has no element {name!r}")
    return _child(value, element)


def picked(choice: Choice, element: types.Element) -> Value:
    """A choice's value of one type."""
    return _child(choice.parent, element)


def _child(value: Value, element: types.Element) -> Value:
    assert value.node is not None
    node = value.node.child(element)
    column = value.column.getField(element.name)
    many = value.many or element.is_list
    # JSON has no null among complex items, so only a primitive or a missing element makes one.
    if value.many or (element.is_list and types.is_primitive(element.type)):
        column = F.array_compact(column)
    if value.many and element.is_list:
        column = F.flatten(column)
        column = F.array_compact(column) if types.is_primitive(element.type) else column
    if not types.is_primitive(element.type):
        return Value(column, element.type, many, node)
    sql = types.sql_type(element.type)
    if sql != "STRING":
        column = column.try_cast(f"ARRAY<{sql}>" if many else sql)
    return Value(column, element.type, many, node, beside=lambda: _beside(value, element))


def _beside(value: Value, element: types.Element) -> Value:
    path = types.type_named("FHIRPrimitiveExtension")
    found = _child(value, types.Element(f"_{element.name}", path, element.is_list, None))
    return replace(found, column=F.array_compact(found.column)) if found.many else found


def parsed(raw: Column, type_: str, tree: Taken) -> Value:
    """A resource or element read from its JSON text with the elements known to be taken."""
    return Value(F.from_json(raw, tree.ddl()), type_, node=tree, raw=raw)
