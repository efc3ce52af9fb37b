"""Runs a view: raw JSON in, typed rows out; and derives the contract of the table it makes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.definition import View
from clinical_lakehouse.methods.sql_on_fhir.rows import Field, Rows, condition_of, rows_of
from clinical_lakehouse.methods.sql_on_fhir.values import Scope, Taken, Trees, parsed
from clinical_lakehouse.tables.contract import Column as ContractColumn
from clinical_lakehouse.tables.contract import Phi, Table

RESOURCE = ""  # key of the tree of elements taken from the resource itself
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


def compile_view(view: View) -> Compiled:
    """The view as Columns over `content`; UsageError names the column and the expression."""
    trees: Trees = {RESOURCE: Taken("")}
    _compiled(view, trees)  # notes which elements are taken; only then schemas are complete
    return _compiled(view, trees)


def _compiled(view: View, trees: Trees) -> Compiled:
    type_ = types.resource_named(view.resource)
    root = parsed(F.col("content"), type_, trees[RESOURCE])
    constants, no_index = view.constants, F.lit(0)
    root = _with_column(root, F.col("resource"))
    scope = Scope(root, root, trees, constants, no_index)
    condition = condition_of(view, scope)
    rows = rows_of(view, scope)
    return Compiled(view, rows.fields, rows, condition, trees)


def _with_column(root, column):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(root, column=column)


def run_view(compiled: Compiled, resources: DataFrame, content: str = "content") -> DataFrame:
    """The view's rows, columns in the view's order.

    `resources` has one row per resource, its JSON text in column `content`; resources of other
    types make no rows. Decimals are text and keep their digits unless a tag says otherwise.
    """
    exact = F.regexp_replace(F.col(content), F.lit(_DECIMAL), F.lit('$1"$2"'))
    is_wanted = F.get_json_object(content, "$.resourceType") == compiled.view.resource
    read = resources.filter(is_wanted).select(exact.alias("content"))
    read = read.select("content", F.from_json("content", compiled.schema).alias("resource"))
    if compiled.condition is not None:
        read = read.filter(compiled.condition)
    if compiled.rows.single is not None:
        return read.select(*(compiled.rows.single[f.name].alias(f.name) for f in compiled.fields))
    return read.select(F.inline(compiled.rows.structs()))


def contract(compiled: Compiled, schema: str = "silver", owner: str = "", key: Sequence[str] = ()) -> Table:
    """The contract of the table that the view makes; nothing of it is written twice."""
    raise NotImplementedError


_ = (ContractColumn, Phi)
