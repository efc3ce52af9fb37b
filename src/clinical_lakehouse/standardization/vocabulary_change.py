"""What a newer vocabulary, or a person's map, changes: codes, the events that hold them, rows."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.code_map import USE, uses_of
from clinical_lakehouse.tables.gold_standardization import RESTATED_RECORD, VOCABULARY_CHANGE

_RECORD = RESTATED_RECORD.key
_MEANING = ("concept_id", "domain_id", "value_concept_id", "source_concept_id")


def changes(before: DataFrame, after: DataFrame, as_of: datetime) -> DataFrame:
    """gold.vocabulary_change: one row per code of both code maps whose concepts are not the same.

    A code that is new in the data, or gone from it, is no change of the vocabulary.
    """
    then = {name: f"{name}_before" for name in ("ids", "domains", "meaning")}
    earlier = _per_code(before).select(*USE, *then).withColumnsRenamed(then)
    both = _per_code(after).join(earlier, list(USE))
    changed = both.filter(~F.col("meaning").eqNullSafe(F.col("meaning_before")))
    return changed.select(
        F.lit(as_of).cast("timestamp").alias("changed_at"),
        *USE,
        "display",
        _kind().alias("kind"),
        F.col("ids_before").alias("concept_ids_before"),
        F.col("ids").alias("concept_ids_after"),
        F.col("domains_before").alias("domain_ids_before"),
        F.col("domains").alias("domain_ids_after"),
        "reason",
        "row_count",
    ).select(*VOCABULARY_CHANGE.column_names)


def holding(events: Mapping[str, DataFrame], changed: DataFrame) -> list[DataFrame]:
    """Records (source_table, source_key) whose events hold a changed code in any role, by table; a
    record stands once per such use."""
    keys = changed.select(*USE)
    tables = {row[0] for row in keys.select("source_table").distinct().collect()}
    return [_holding(events[name], keys) for name in sorted(tables & events.keys())]


def _per_code(code_map: DataFrame) -> DataFrame:
    """One row per code: its concepts and domains in order, and all that its rows mean."""
    known = F.when(F.col("concept_id") > 0, F.col("concept_id"))
    meaning = F.struct("map_index", *_MEANING)
    return code_map.groupBy(*USE).agg(
        F.max("display").alias("display"),
        F.max("row_count").alias("row_count"),
        F.max("reason").alias("reason"),
        F.array_sort(F.collect_set(known)).alias("ids"),
        F.array_sort(F.collect_set("domain_id")).alias("domains"),
        F.array_sort(F.collect_list(meaning)).alias("meaning"),
    )


def _kind() -> Column:
    """rerouted wins over changed: the rows move to another table."""
    return (
        F.when((F.size("ids_before") == 0) & (F.size("ids") > 0), "new_map")
        .when((F.size("ids_before") > 0) & (F.size("ids") == 0), "deprecated")
        .when(F.col("domains_before") != F.col("domains"), "rerouted")
        .otherwise("changed")
    )


def _holding(events: DataFrame, keys: DataFrame) -> DataFrame:
    uses = F.explode(F.array(*uses_of(events))).alias("use")
    used = events.select(*_RECORD, uses).select(*_RECORD, "use.*")
    return used.join(F.broadcast(keys), list(USE), "left_semi").select(*_RECORD)
