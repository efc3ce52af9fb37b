"""The outcome a risk model predicts: leaving the trial by withdrawal within a horizon."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def with_outcome(
    rows: DataFrame, subjects: DataFrame, horizon_days: int, known_until: date, margin_days: int
) -> DataFrame:
    """Rows by research_subject_key and index_date with is_event, is_complete and followed_days.

    The event is status `withdrawn` with an end in (index_date, index_date + horizon_days]. Death,
    completion and any other end is no event: it competes, and the risk predicted is the one in the
    presence of these. Dates are shifted per person by up to `margin_days`, so nothing is certain to
    be recorded that is dated after the last day, known_until - margin_days: events after it do not
    count, and a row is complete when its horizon ends on or before it. An early event does not make
    a row complete, or events would be over-represented among complete rows. `followed_days` is how
    long the row was followed: to the end of the horizon, the last day, or any end before.
    """
    ends = subjects.select(
        "research_subject_key",
        F.to_date("ended_at").alias("_ended"),
        F.coalesce(F.col("status") == "withdrawn", F.lit(False)).alias("_withdrew"),
    )
    last_day = F.date_sub(F.lit(known_until), margin_days)
    horizon_ends = F.date_add("index_date", horizon_days)
    followed_to = F.least(horizon_ends, last_day, F.col("_ended"))
    left = F.col("_ended").isNotNull() & (F.col("_ended") > F.col("index_date"))
    in_time = F.col("_ended") <= F.least(horizon_ends, last_day)
    return rows.join(ends, "research_subject_key", "left").select(
        *rows.columns,
        F.coalesce(F.col("_withdrew") & left & in_time, F.lit(False)).alias("is_event"),
        (horizon_ends <= last_day).alias("is_complete"),
        F.greatest(F.datediff(followed_to, "index_date"), F.lit(0)).alias("followed_days"),
    )
