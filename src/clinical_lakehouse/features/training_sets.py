"""Training sets: labels with the features their people had at the labels' moments."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import Group
from clinical_lakehouse.features.index_moments import known_at
from clinical_lakehouse.features.point_in_time import as_columns, point_in_time

_MISSING = "_missing"


def training_set(
    labels: DataFrame, events: DataFrame, group: Group, as_of: datetime, floor: datetime
) -> DataFrame:
    """One row per label, its columns and one per feature (units in `group.features`), and
    `_missing`: the lake does not hold the person (any more), or the label names nobody.

    `labels` has subject_key, at (TIMESTAMP: nothing later enters) and any other columns. What the
    lake learnt after `at` does not enter either (see `index_moments` for `floor`), nor anything it
    learnt after as_of, so that the same as_of gives the same rows a year later too, but for people
    who left.
    """
    asked = labels.withColumn("known_at", known_at(group.knowledge, as_of, floor))
    found = point_in_time(asked, events, group)
    gone = ("no-subject", "no-time", "not-consented")
    why = F.get("null_reasons", F.lit(0))
    told = found.withColumn(_MISSING, F.when(why.isin(*gone), why))
    return as_columns(told, group).drop("known_at")


def missing_people(rows: DataFrame, absences: DataFrame) -> DataFrame:
    """One row per person asked for and not there, and reason: subject_key, reason, row_count and,
    where gold.feature_absence knows of them, noted_at."""
    left = absences.groupBy("subject_key").agg(
        F.max_by("reason", "noted_at").alias("left_reason"), F.max("noted_at").alias("noted_at")
    )
    lost = rows.filter(F.col(_MISSING).isNotNull()).groupBy("subject_key", _MISSING)
    named = lost.agg(F.count("*").alias("row_count")).join(left, "subject_key", "left")
    return named.select(
        "subject_key",
        F.coalesce("left_reason", _MISSING).alias("reason"),
        "row_count",
        F.unix_micros("noted_at").alias("noted_us"),
    )


def present_rows(rows: DataFrame) -> DataFrame:
    """The rows of people who are there, in one order."""
    kept = rows.filter(F.col(_MISSING).isNull()).drop(_MISSING)
    return kept.orderBy(*kept.columns)
