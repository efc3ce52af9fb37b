"""References that lead nowhere in the lake, counted by file and element, tried again later."""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.accounting import only_valid
from clinical_lakehouse.tables.ops import UNRESOLVED_REFERENCE

_KEY = list(UNRESOLVED_REFERENCE.key)
_URN = "urn:uuid"
_OTHER = "other"  # a search (Organization?identifier=...) or an address outside FHIR
_PATTERN = r"^([A-Z][A-Za-z]+)/[A-Za-z0-9.\-]{1,64}$"


def files_to_resolve(new: DataFrame, stored: DataFrame) -> DataFrame:
    """file_ids of `new` bronze rows, and of files (`stored`) that lack what may have come now."""
    types = only_valid(new).select(F.col("resource_type").alias("target_type")).distinct()
    waiting = stored.filter("unresolved_count > 0")
    late = waiting.join(types, "target_type", "left_semi")
    late = late.unionByName(waiting.filter(F.col("target_type") == _URN))
    return new.select("file_id").union(late.select("file_id")).distinct()


def unresolved(rows: DataFrame, bronze: DataFrame) -> DataFrame:
    """One row per file, resource type, element and target type with references to no resource of
    `bronze` (any version of it, deleted since or not): how many, and up to three lines."""
    named = F.explode("reference_targets").alias("reference")
    each = only_valid(rows).select("file_id", "file_name", "line", "resource_type", named)
    parts = F.split("reference", " ", 2)
    targets = each.withColumns({"path": parts[0], "target": parts[1]}).withColumns(
        {"target_type": _type_of(F.col("target")), "_key": F.xxhash64("target")}
    )
    # Hashes are compared: 8 bytes for each resource of the lake go between workers, no ids.
    known = only_valid(bronze).filter("NOT is_deleted")
    keys = known.select(F.xxhash64(F.concat_ws("/", "resource_type", "resource_id")).alias("_key"))
    urns = known.select(F.xxhash64(F.concat(F.lit(f"{_URN}:"), "resource_id")).alias("_key"))
    lost = targets.join(keys, "_key", "left_anti")
    is_urn = F.col("target_type") == _URN
    lost = lost.filter(~is_urn).union(lost.filter(is_urn).join(urns, "_key", "left_anti"))
    return lost.groupBy(*_KEY).agg(
        F.first("file_name").alias("file_name"),
        F.count(F.lit(1)).alias("unresolved_count"),
        _sample().alias("lines"),
    )


def _type_of(target: Column) -> Column:
    local = F.nullif(F.regexp_extract(target, _PATTERN, 1), F.lit(""))
    urn = F.when(target.startswith(f"{_URN}:"), _URN)
    return F.coalesce(local, urn, F.lit(_OTHER))


def _sample() -> Column:
    """The first line, the last one, and one between: bounded, whatever the count."""
    middle = F.min_by("line", F.xxhash64("line"))
    return F.array_sort(F.array_distinct(F.array(F.min("line"), middle, F.max("line"))))


def with_history(found: DataFrame, stored: DataFrame, as_of: datetime) -> DataFrame:
    """The rows of ops.unresolved_reference after a look at `as_of`: `found` now, and rows `stored`
    earlier of the same files, of which what is not found any more has come (a count of 0)."""
    now = F.lit(as_of).cast("timestamp")
    before = stored.select(*_KEY, *(F.col(n).alias(f"_{n}") for n in _KEPT))
    both = found.join(before, _KEY, "full")
    is_found = F.col("unresolved_count").isNotNull()
    return both.select(
        *_KEY,
        F.coalesce("file_name", "_file_name").alias("file_name"),
        F.coalesce("unresolved_count", F.lit(0)).alias("unresolved_count"),
        F.coalesce("lines", "_lines").alias("lines"),
        F.coalesce("_first_seen_at", now).alias("first_seen_at"),
        F.when(is_found, now).otherwise(F.col("_last_seen_at")).alias("last_seen_at"),
    )


_KEPT = ("file_name", "lines", "first_seen_at", "last_seen_at")
