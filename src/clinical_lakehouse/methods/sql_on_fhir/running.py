"""Runs a view: raw JSON in, typed rows out; and derives the contract of the table it makes."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.definition import View
from clinical_lakehouse.methods.sql_on_fhir.rows import Field, Rows, condition_of, rows_of
from clinical_lakehouse.methods.sql_on_fhir.values import Scope, Taken, Trees, Value
from clinical_lakehouse.tables.contract import Column as ContractColumn
from clinical_lakehouse.tables.contract import Phi, Table

_KEY, _PHI = "clinical-lakehouse/key", "clinical-lakehouse/phi"
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
    exact = F.regexp_replace(F.col(content), F.lit(_DECIMAL), F.lit('$1"$2"'))
    is_wanted = F.get_json_object(content, "$.resourceType") == compiled.view.resource
    read = resources.filter(is_wanted).select(exact.alias("content"))
    read = read.select("content", F.from_json("content", compiled.schema).alias("resource"))
    if compiled.condition is not None:
        read = read.filter(compiled.condition)
    if compiled.rows.single is not None:
        return read.select(*(compiled.rows.single[f.name].alias(f.name) for f in compiled.fields))
    return read.select(F.inline(compiled.rows.structs()))


def contract(compiled: Compiled, name: str = "", owner: str = "patient_ingestion") -> Table:
    """The contract of the table that the view makes, so that nothing of it is written twice.

    Tags of a column: `ansi/type`, `ucum/unit`, `clinical-lakehouse/phi` (direct unless said
    otherwise: raw values may identify) and `clinical-lakehouse/key`. `owner` is the job.
    """
    view = compiled.view
    grain = view.description or f"Rows that the view {view.name} makes of {view.resource}."
    return Table(
        name=name or f"silver.{view.name}",
        comment=grain,
        owner=owner,
        key=tuple(f.name for f in compiled.fields if _KEY in f.column.tags),
        columns=tuple(_contract_column(view, field) for field in compiled.fields),
    )


def _contract_column(view: View, field: Field) -> ContractColumn:
    tags = field.column.tags
    phi = tags.get(_PHI, Phi.DIRECT.value)
    if phi not in {known.value for known in Phi}:
        raise UsageError(f"{view.source}: column {field.name}: the tag {_PHI} has no class {phi!r}")
    return ContractColumn(
        name=field.name,
        type=field.type,
        comment=field.column.description or f"FHIR {field.fhir_type}: {field.column.path.text}",
        nullable=_KEY not in tags,
        phi=Phi(phi),
        unit=tags.get("ucum/unit"),
    )
