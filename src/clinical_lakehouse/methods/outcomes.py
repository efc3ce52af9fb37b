"""The outcomes risk models predict: leaving the trial, or a serious adverse event, in a horizon."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

WITHDRAWAL, SERIOUS_ADVERSE_EVENT = "withdrawal", "serious_adverse_event"
FOLLOWED_TO_THE_END, EVENT, ANOTHER_END = 0, 1, 2  # values of `cause`


def followed(event: str, subjects: DataFrame, adverse_events: DataFrame) -> DataFrame:
    """One row per participation of silver.subject: research_subject_key, `ended_date`, and
    `event_dates`, the days of the event in order (none is an empty array).

    `event` is WITHDRAWAL or SERIOUS_ADVERSE_EVENT: an actual event of silver.adverse_event that is
    serious (ICH E2A); it counts from the first day of the participation on.
    """
    if event == WITHDRAWAL:
        return withdrawals(subjects)
    actual = F.coalesce("status", F.lit("actual")) == "actual"
    serious = adverse_events.filter(actual & (F.lower("seriousness_code") == "serious"))
    days = serious.groupBy("subject_key").agg(
        F.array_sort(F.collect_set(F.to_date("occurred_at"))).alias("_days")
    )
    none, begun = F.array().cast("array<date>"), F.to_date("started_at")
    begins = F.coalesce(begun, F.array_min("_days"))  # not known: everything counts
    own = F.filter(F.coalesce("_days", none), lambda day: day >= begins)
    joined = subjects.join(days, "subject_key", "left")
    return joined.select(
        "research_subject_key",
        F.to_date("ended_at").alias("ended_date"),
        own.alias("event_dates"),
    )


def withdrawals(subjects: DataFrame) -> DataFrame:
    """`followed` for WITHDRAWAL: status `withdrawn` with an end."""
    ended, none = F.to_date("ended_at"), F.array().cast("array<date>")
    left = (F.col("status") == "withdrawn") & ended.isNotNull()
    return subjects.select(
        "research_subject_key",
        ended.alias("ended_date"),
        F.when(left, F.array(ended)).otherwise(none).alias("event_dates"),
    )


def with_outcome(
    rows: DataFrame, ends: DataFrame, horizon_days: int, known_until: date, margin_days: int
) -> DataFrame:
    """Rows by research_subject_key and index_date with is_event, is_complete, followed_days, cause
    and days_since_event; `ends` is what `followed` gives.

    The event is one of event_dates in (index_date, index_date + horizon_days]. Death, completion
    and any other end is no event: it competes, and the risk predicted is the one in the presence of
    these. Dates are shifted per person by up to `margin_days`, so nothing is certain to be recorded
    that is dated after the last day, known_until - margin_days: events after it do not count, and a
    row is complete when its horizon ends on or before it. An early event does not make a row
    complete, or events would be over-represented among complete rows. `followed_days` is how long
    the row was followed: to the event, the end of the horizon, the last day, or any end before, and
    `cause` says which: EVENT, ANOTHER_END, else FOLLOWED_TO_THE_END. `days_since_event` counts from
    the last event up to the index date, null without one.
    """
    last_day = F.date_sub(F.lit(known_until), margin_days)
    horizon_ends = F.date_add("index_date", horizon_days)
    to_come = F.filter("event_dates", lambda day: day > F.col("index_date"))
    before = F.filter("event_dates", lambda day: day <= F.col("index_date"))
    first = F.try_element_at(to_come, F.lit(1))
    in_time = F.coalesce(first <= F.least(horizon_ends, last_day), F.lit(False))
    bound = F.least(horizon_ends, last_day, F.col("ended_date"))
    has_ended = F.coalesce(F.col("ended_date") <= F.least(horizon_ends, last_day), F.lit(False))
    cause = F.when(in_time, EVENT).when(has_ended, ANOTHER_END).otherwise(FOLLOWED_TO_THE_END)
    days = F.datediff(F.when(in_time, first).otherwise(bound), "index_date")
    return rows.join(ends, "research_subject_key", "left").select(
        *rows.columns,
        in_time.alias("is_event"),
        (horizon_ends <= last_day).alias("is_complete"),
        F.greatest(days, F.lit(0)).alias("followed_days"),
        cause.alias("cause"),
        F.datediff("index_date", F.try_element_at(before, F.lit(-1))).alias("days_since_event"),
    )
