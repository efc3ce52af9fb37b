"""Which row of a resource counts: the newest version, whatever order the rows arrived in."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

PLACE = ("file_id", "line", "entry")
ORDER = ("is_deleted", "last_updated_at", "version_id", "received_at", *PLACE)
_RESOURCE = ("resource_type", "resource_id")


def only_newest(rows: DataFrame) -> DataFrame:
    """One row per (resource_type, resource_id) that is not deleted: the newest by
    meta.lastUpdated, versionId, then row order.

    A deletion takes every version that is not newer than itself; one without lastUpdated comes
    back where it was received by a later run.
    """
    newest = [
        F.col("is_deleted"),
        F.col("last_updated_at").desc_nulls_last(),
        F.col("version_id").try_cast("bigint").desc_nulls_last(),
        *(F.col(name).desc() for name in ("received_at", *PLACE)),
    ]
    order = Window.partitionBy(*_RESOURCE).orderBy(*newest)
    whole = order.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    gone = {f"_{name}": _last_deletion(name).over(whole) for name in _TIMES}
    ranked = rows.withColumns({"_rank": F.row_number().over(order), **gone})
    later = F.coalesce(*(F.col(name) > F.col(f"_{name}") for name in _TIMES), F.lit(True))
    kept = ranked.filter((F.col("_rank") == 1) & ~F.col("is_deleted") & later)
    return kept.drop("_rank", *gone)


def version_time(received_at: Column) -> Column:
    """What a row just read is compared by; a deletion that says no time is from its receipt."""
    said = F.col("last_updated").try_cast("timestamp")
    return F.coalesce(said, F.when(F.col("is_deleted"), received_at.cast("timestamp")))


def only_deleted(rows: DataFrame) -> DataFrame:
    """Type and id of the resources whose last word in `rows` (all valid versions) is a deletion."""
    named = rows.filter("is_deleted").select(*_RESOURCE).distinct()
    there = only_newest(rows.select(*_RESOURCE, *ORDER).join(named, list(_RESOURCE), "left_semi"))
    return named.join(there.select(*_RESOURCE), list(_RESOURCE), "left_anti")


# What a version and a deletion are compared by, the second only where the first is not known.
_TIMES = ("last_updated_at", "received_at")


def _last_deletion(name: str) -> Column:
    return F.max(F.when(F.col("is_deleted"), F.col(name)))
