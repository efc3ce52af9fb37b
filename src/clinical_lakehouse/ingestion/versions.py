"""Which row of a resource counts: the newest version, whatever order the rows arrived in."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

PLACE = ("file_id", "line", "entry")
ORDER = ("last_updated_at", "version_id", "received_at", *PLACE)


def only_newest(rows: DataFrame) -> DataFrame:
    """One row per (resource_type, resource_id): by meta.lastUpdated, versionId, then row order."""
    newest = [
        F.col("last_updated_at").desc_nulls_last(),
        F.col("version_id").try_cast("bigint").desc_nulls_last(),
        *(F.col(name).desc() for name in ("received_at", *PLACE)),
    ]
    order = Window.partitionBy("resource_type", "resource_id").orderBy(*newest)
    ranked = rows.withColumn("_rank", F.row_number().over(order))
    return ranked.filter(F.col("_rank") == 1).drop("_rank")
