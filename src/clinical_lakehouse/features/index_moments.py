"""The rows of gold.feature_value: who is asked about at which moment, and what changes them."""

from datetime import date, datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import Group
from clinical_lakehouse.features.index_dates import FIRST_MONDAY, index_rows


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


def last_index_date(until: date, every_days: int) -> date:
    """The grid's last date before `until`."""
    passed = (until - FIRST_MONDAY).days - 1
    return until - timedelta(days=1 + passed % every_days)


def due(moments: DataFrame, changed: DataFrame, last: date | None) -> DataFrame:
    """The moments to compute again: all of people of whom the lake learnt something, and of the
    others those after `last`, the last index date there is."""
    marked = moments.join(changed.withColumn("is_changed", F.lit(True)), "subject_key", "left")
    is_new = F.lit(True) if last is None else F.col("index_date") > F.lit(last)
    return marked.filter(F.coalesce("is_changed", F.lit(False)) | is_new).drop("is_changed")


def outdated(stored: DataFrame, changed: DataFrame, moments: DataFrame) -> DataFrame:
    """Keys of stored rows of changed people that are no moments any more."""
    keys = stored.join(changed, "subject_key", "left_semi").select("subject_key", "index_date")
    return keys.join(moments, ["subject_key", "index_date"], "left_anti")
