"""Who was at risk when: the rows behind each window of outcomes."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.outcomes import with_outcome

WINDOW_DAYS = 28
STEP_DAYS = 7
OLDEST_PREDICTION_DAYS = 14
_A_MONDAY = date(1970, 1, 5)


def index_dates(trained_until: date, as_of: date, margin_days: int) -> list[date]:
    """Mondays from the end of training on, whose window of outcomes is certainly recorded.

    Outcomes before were seen in training; dates are shifted by up to `margin_days`, so a window is
    known when its last day lies that far back.
    """
    first = trained_until + timedelta(days=(_A_MONDAY - trained_until).days % STEP_DAYS)
    last = as_of - timedelta(days=WINDOW_DAYS + margin_days)
    count = (last - first).days // STEP_DAYS + 1
    return [first + timedelta(days=STEP_DAYS * step) for step in range(max(count, 0))]


def rows_at_risk(predictions: DataFrame, subjects: DataFrame, indexes: Sequence[date]) -> DataFrame:
    """One row per index date and participation on study that day: the latest predicted risk that is
    not older than 14 days."""
    dates = F.array(*(F.lit(day) for day in indexes)).cast("array<date>")
    oldest = OLDEST_PREDICTION_DAYS
    near = F.filter(
        dates, lambda day: day.between(F.col("index_date"), F.date_add("index_date", oldest))
    )
    spread = predictions.select(
        "research_subject_key", "score", "index_date", F.explode(near).alias("at_date")
    )
    latest = spread.groupBy("research_subject_key", F.col("at_date").alias("index_date")).agg(
        F.max_by("score", spread["index_date"]).alias("score")
    )
    stays = subjects.select(
        "research_subject_key",
        F.to_date("started_at").alias("from_date"),
        F.coalesce(F.to_date("ended_at"), F.lit(date.max)).alias("to_date"),
    )
    joined = latest.join(stays, "research_subject_key")
    on_study = joined.filter("from_date <= index_date AND index_date < to_date")
    return on_study.select("research_subject_key", "index_date", "score")


def with_window_outcome(
    rows: DataFrame, subjects: DataFrame, as_of: date, margin_days: int
) -> DataFrame:
    """Rows at risk with is_event: left by withdrawal within the 28 days after the index date."""
    known = with_outcome(rows, subjects, WINDOW_DAYS, as_of, margin_days)
    return known.filter("is_complete").select(*rows.columns, "is_event")
