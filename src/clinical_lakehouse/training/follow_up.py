"""Follow-up of each participation from its first feature row to dropout, death or censoring."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.training.families import CORE

CENSORED, DROPOUT, DEATH = 0, 1, 2
COLUMNS = ("research_subject_key", "subject_key", "index_date", "sex", *CORE)


def follow_up(
    features: DataFrame, subjects: DataFrame, patients: DataFrame, until: date, margin_days: int
) -> DataFrame:
    """One row per participation: its first feature row, `days` (at least 1) and `cause`.

    Withdrawal is dropout; an end that is no withdrawal, of somebody who died, is death; everything
    else is censored, at the latest on until - margin_days, the last day that is surely recorded.
    """
    first = Window.partitionBy("research_subject_key").orderBy("index_date")
    starts = features.withColumn("_place", F.row_number().over(first)).filter("_place = 1")
    died = patients.filter("is_deceased").select("subject_key", F.lit(True).alias("_died"))
    ends = subjects.join(died, "subject_key", "left").select(
        "research_subject_key",
        F.to_date("ended_at").alias("_ended"),
        F.when(F.col("status") == "withdrawn", DROPOUT)
        .when(F.col("ended_at").isNotNull() & F.col("_died"), DEATH)
        .otherwise(CENSORED)
        .alias("_cause"),
    )
    last = F.date_sub(F.lit(until), margin_days)
    followed_to = F.least(F.col("_ended"), last)
    seen = F.col("_ended").isNotNull() & (F.col("_ended") <= last)
    days = F.datediff(followed_to, "index_date")
    return (
        starts.join(ends, "research_subject_key")
        .filter(F.col("index_date") < last)
        .select(
            *COLUMNS,
            F.greatest(days, F.lit(1)).alias("days"),
            F.when(seen, F.col("_cause")).otherwise(CENSORED).alias("cause"),
        )
    )
