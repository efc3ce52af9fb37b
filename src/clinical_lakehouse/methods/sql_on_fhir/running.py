"""Runs a view: raw JSON in, typed rows out."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.definition import View
from clinical_lakehouse.methods.sql_on_fhir.rows import Field, Rows, condition_of, rows_of
from clinical_lakehouse.methods.sql_on_fhir.values import RESOURCE, Scope, Taken, Trees, Value

# A decimal gets quotes, so that from_json keeps its digits. A key in quotes cannot stand inside
# a JSON string (its quotes would be escaped), so text that looks like one is safe.
_DECIMAL = r'("[A-Za-z]+"\s*:\s*)(-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))'


@dataclass(frozen=True)
class Compiled:
    """A view ready to run: its fields, rows, condition, and the elements it takes."""

    view: View
    fields: tuple[Field, ...]
    rows: Rows
    condition: Column | None
    trees: Trees

    @property
    def schema(self) -> str:
        """The narrow schema that a resource is read with."""
        return self.trees[RESOURCE].ddl()

    @property
    def reads_text(self) -> bool:
        """Is the JSON text itself needed beside the parsed resource (contained, repeat)?"""
        return len(self.trees) > 1


def compile_view(view: View, decimals: str = "STRING") -> Compiled:
    """The view as Columns over `content`; UsageError names the column and the expression.

    `decimals` is the SQL type decimals are read as: STRING keeps their digits, DOUBLE is faster.
    """
    trees: Trees = {RESOURCE: Taken("", decimals=decimals)}
    made = _compiled(view, trees)
    # What is parsed apart needs a schema, which is complete only once all elements are noted.
    return _compiled(view, trees) if made.reads_text else made


def _compiled(view: View, trees: Trees) -> Compiled:
    type_ = types.resource_named(view.resource)
    root = Value(F.col("resource"), type_, node=trees[RESOURCE], raw=F.col("content"))
    scope = Scope(root, root, trees, view.constants, row_index=F.lit(0))
    condition = condition_of(view, scope)
    rows = rows_of(view, scope)
    return Compiled(view, rows.fields, rows, condition, trees)


def run_view(compiled: Compiled, resources: DataFrame, content: str = "content") -> DataFrame:
    """The view's rows, columns in the view's order.

    `resources` has one row per resource, its JSON text in column `content`; resources of other
    types make no rows. Decimals are text and keep their digits unless a tag says otherwise.
    """
    is_wanted = F.get_json_object(content, "$.resourceType") == compiled.view.resource
    read = resources.filter(is_wanted).select(readable(compiled, F.col(content)).alias("content"))
    read = read.select("content", F.from_json("content", compiled.schema).alias("resource"))
    if compiled.condition is not None:
        read = read.filter(compiled.condition)
    return rows_from(compiled, read).select(*(field.name for field in compiled.fields))


def readable(compiled: Compiled, content: Column) -> Column:
    """The JSON text as the view's schema reads it: with decimals in quotes if they are text."""
    if compiled.trees[RESOURCE].decimals != "STRING":
        return content
    return F.regexp_replace(content, F.lit(_DECIMAL), F.lit('$1"$2"'))


def rows_from(compiled: Compiled, read: DataFrame, *carried: Column) -> DataFrame:
    """The view's rows of parsed resources (column `resource`), and `carried` columns."""
    rows = compiled.rows
    made = [column.alias(name) for name, column in rows.single.items()]
    several = [] if rows.array is None else [F.inline(rows.array)]
    return read.select(*carried, *made, *several)
