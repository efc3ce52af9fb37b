"""Two versions of a group side by side: whose values change, and by how much."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_KEY = ("subject_key", "index_date", "feature")


def compared(before: DataFrame, after: DataFrame) -> DataFrame:
    """One row per feature of two versions' rows of gold.feature_value: rows and people of both,
    people whose value changes, mean and largest change (in the feature's unit) where both have one,
    and rows that lose or get a value."""
    old, new = _long(before).alias("o"), _long(after).alias("n")
    both = old.join(new, list(_KEY), "full_outer")
    was, now = F.col("o.value"), F.col("n.value")
    change = F.abs(now - was)
    differs = ~was.eqNullSafe(now)
    grouped = both.groupBy("feature").agg(
        F.count("*").alias("row_count"),
        F.count_distinct("subject_key").alias("person_count"),
        F.count_distinct(F.when(differs, F.col("subject_key"))).alias("changed_person_count"),
        F.count_if(differs).alias("changed_row_count"),
        F.round(F.mean(change), 6).alias("mean_change"),
        F.max(change).alias("largest_change"),
        F.count_if(was.isNotNull() & now.isNull()).alias("lost_count"),
        F.count_if(was.isNull() & now.isNotNull()).alias("new_count"),
    )
    return grouped.orderBy("feature")


def _long(rows: DataFrame) -> DataFrame:
    pairs = F.explode("feature_values").alias("feature", "value")
    return rows.select("subject_key", "index_date", pairs)
