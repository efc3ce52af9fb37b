"""Online reads worked out again: what was served must be what was known at its moment."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import Group
from clinical_lakehouse.features.index_moments import end_of_day
from clinical_lakehouse.features.point_in_time import point_in_time


class Read(Protocol):
    """What was served of one subject."""

    @property
    def subject_key(self) -> int:
        """The person."""

    @property
    def index_date(self) -> date:
        """At whose end the values stood."""

    @property
    def known_at(self) -> datetime:
        """What the lake knew at this moment is in them."""

    @property
    def values(self) -> Mapping[str, float | None]:
        """By feature."""

    @property
    def null_reasons(self) -> Mapping[str, str]:
        """By feature that is null."""


def differing(reads: Sequence[Read], events: DataFrame, group: Group) -> DataFrame:
    """One row per feature of the group with how many reads served something else than the events
    give: feature_group, feature, read_count."""
    names = [feature.name for feature in group.features]
    rows = [
        (r.subject_key, r.index_date, r.known_at, [r.values.get(n) for n in names],
         [r.null_reasons.get(n) for n in names])
        for r in reads
    ]  # fmt: skip
    kinds = (
        "subject_key BIGINT, index_date DATE, known_at TIMESTAMP, served ARRAY<DOUBLE>, "
        "reasons ARRAY<STRING>"
    )
    asked = events.sparkSession.createDataFrame(rows, kinds).withColumn("at", end_of_day())
    keys = F.broadcast(asked.select("subject_key").distinct())
    again = point_in_time(asked, events.join(keys, "subject_key", "left_semi"), group)
    named = again.withColumn("name", F.split(F.lit(",".join(names)), ","))
    pairs = F.arrays_zip("name", "served", "reasons", "feature_values", "null_reasons")
    each = named.select(F.explode(pairs).alias("one")).select("one.*")
    same = F.col("served").eqNullSafe(F.col("feature_values")) & F.col("reasons").eqNullSafe(
        F.col("null_reasons")
    )
    wrong = each.filter(~same).groupBy(F.col("name").alias("feature"))
    counted = wrong.agg(F.count("*").alias("read_count"))
    return counted.select(F.lit(group.name).alias("feature_group"), "feature", "read_count")
