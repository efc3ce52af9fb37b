"""A silver table as a view on one resource type, and how bronze rows become its rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.fields import KeyOf
from clinical_lakehouse.ingestion.free_text import scrubbed, texts_of
from clinical_lakehouse.ingestion.versions import ORDER, only_newest
from clinical_lakehouse.tables.contract import Table

_RETRACTED = "entered-in-error"


@dataclass(frozen=True)
class View:
    """What a silver table takes from a resource type.

    `fields` is the narrow schema that the JSON is read with, into column `r`; `columns` gives each
    column of the contract; `unfolded` may turn a resource into several rows (column `item`).
    """

    table: Table
    resource_type: str
    fields: str
    columns: Callable[[KeyOf], Mapping[str, Column]]
    is_personal: bool = True
    retracted_by: tuple[str, ...] = ("status",)
    unfolded: Callable[[DataFrame], DataFrame] | None = None


def flattened(view: View, rows: DataFrame, people: DataFrame, key_of: KeyOf) -> DataFrame:
    """The view's rows: newest versions, not retracted, of permitted people, dates shifted.

    `rows` are valid bronze rows of the view's type; `people` holds patient_id, subject_key,
    date_shift_days and `known` of everybody who may be used, and for participations their site.
    """
    parsed = rows.select(
        "resource_type",
        "resource_id",
        "patient_id",
        *ORDER,
        F.from_json("content", view.fields).alias("r"),
    )
    current = only_newest(parsed)
    for element in view.retracted_by:
        current = current.filter(~_is_retracted(element))
    if view.is_personal:
        current = current.join(people, "patient_id")
    items = view.unfolded(current) if view.unfolded else current
    made = view.columns(key_of)
    cells = [made[c.name].cast(c.type).alias(c.name) for c in view.table.columns]
    if not view.is_personal:
        return items.select(*cells)
    schema = ", ".join(f"`{c.name}` {c.type}" for c in view.table.columns)
    return scrubbed(items.select(*cells, "known"), texts_of(view.table), schema)


def stored_keys(view: View, stored: DataFrame, keys: DataFrame) -> DataFrame:
    """Keys of the rows that `stored`, the view's table, holds of the resources with these `keys`
    (one column, named as the table's first key column)."""
    return stored.select(*view.table.key).join(keys, view.table.key[0], "left_semi")


def with_lost(view: View, current: DataFrame, before: DataFrame) -> DataFrame:
    """`current` and the keys `before` that it lacks: retracted, denied or shortened (`is_lost`)."""
    marked = current.withColumn("is_lost", F.lit(False))
    both = before.join(marked, list(view.table.key), "full")
    return both.withColumn("is_lost", F.coalesce(F.col("is_lost"), F.lit(True)))


def _is_retracted(element: str) -> Column:
    value = F.col(f"r.{element}")
    if element == "status":
        return value.eqNullSafe(F.lit(_RETRACTED))
    found = F.exists(value["coding"], lambda c: c["code"] == _RETRACTED)
    return F.coalesce(found, F.lit(False))
