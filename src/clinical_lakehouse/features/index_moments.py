"""The rows of gold.feature_value: who is asked about at which moment, and what changes them."""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import Group
from clinical_lakehouse.features.index_dates import index_rows


def index_moments(
    subjects: DataFrame, patients: DataFrame, group: Group, as_of: datetime, floor: datetime
) -> DataFrame:
    """One row per person and index date on study: `at`, its last microsecond, and `known_at`.

    `floor` is when the lake first held anything: of days before nobody can say what was known, so
    what the first delivery brought stands for it.
    """
    grid = index_rows(subjects, patients, as_of.date(), group.every_days)
    once = grid.select("subject_key", "index_date").distinct()
    return once.withColumn("at", end_of_day()).withColumn(
        "known_at", known_at(group.knowledge, as_of, floor)
    )


def end_of_day() -> Column:
    """The last microsecond of `index_date`."""
    following = F.date_add("index_date", 1).cast("TIMESTAMP")
    return F.timestamp_micros(F.unix_micros(following) - 1)


def known_at(knowledge: str, as_of: datetime, floor: datetime) -> Column:
    """What the lake must have known for the features of `at`: at that very moment (`then`), or at
    the run (`now`)."""
    if knowledge == "now":
        return F.lit(as_of)
    return F.least(F.lit(as_of), F.greatest(F.col("at"), F.lit(floor)))


def due(moments: DataFrame, changed: DataFrame, last: DataFrame) -> DataFrame:
    """The moments to compute again: all of people of whom the lake learnt something, and of the
    others those after the last index date there is (`last`, one row; null for none)."""
    marked = moments.join(changed.withColumn("is_changed", F.lit(True)), "subject_key", "left")
    told = marked.crossJoin(F.broadcast(last))
    is_new = F.col("last_date").isNull() | (F.col("index_date") > F.col("last_date"))
    return told.filter(F.col("is_changed") | is_new).drop("is_changed", "last_date")


def outdated(stored: DataFrame, changed: DataFrame, moments: DataFrame) -> DataFrame:
    """Keys of stored rows of changed people that are no moments any more."""
    keys = stored.join(changed, "subject_key", "left_semi").select("subject_key", "index_date")
    return keys.join(moments, ["subject_key", "index_date"], "left_anti")
