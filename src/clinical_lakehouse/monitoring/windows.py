"""Who was at risk when: the rows behind each window of outcomes."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.outcomes import with_outcome, withdrawals

WINDOW_DAYS = 28
STEP_DAYS = 7
OLDEST_PREDICTION_DAYS = 14
A_MONDAY = date(1970, 1, 5)


def monday(day: date) -> date:
    """That Monday, or the next."""
    return day + timedelta(days=(A_MONDAY - day).days % STEP_DAYS)


def open_index_dates(indexes: Sequence[date], first: date, until: date) -> list[date]:
    """Mondays after the last whole window (or from `first` on) before `until`: their outcomes are
    still coming."""
    start = indexes[-1] + timedelta(days=STEP_DAYS) if indexes else first
    return [start + timedelta(days=n) for n in range(0, max((until - start).days, 0), STEP_DAYS)]


def index_dates(trained_until: date, as_of: date, margin_days: int) -> list[date]:
    """Mondays from the end of training on, whose window of outcomes is certainly recorded.

    Outcomes before were seen in training; dates are shifted by up to `margin_days`, so a window is
    known when its last day lies that far back.
    """
    first = monday(trained_until)
    last = as_of - timedelta(days=WINDOW_DAYS + margin_days)
    count = (last - first).days // STEP_DAYS + 1
    return [first + timedelta(days=STEP_DAYS * step) for step in range(max(count, 0))]


def rows_at_risk(predictions: DataFrame, subjects: DataFrame, indexes: Sequence[date]) -> DataFrame:
    """One row per index date and participation on study that day: the latest predicted risk that is
    not older than 14 days, and the date it speaks from."""
    dates = F.array(*(F.lit(day) for day in indexes)).cast("array<date>")
    oldest = OLDEST_PREDICTION_DAYS
    near = F.filter(
        dates, lambda day: day.between(F.col("index_date"), F.date_add("index_date", oldest))
    )
    spread = predictions.select(
        "research_subject_key", "score", "index_date", F.explode(near).alias("at_date")
    )
    latest = spread.groupBy("research_subject_key", F.col("at_date").alias("index_date")).agg(
        F.max_by("score", spread["index_date"]).alias("score"),
        F.max(spread["index_date"]).alias("scored_date"),
    )
    stays = subjects.select(
        "research_subject_key",
        F.to_date("started_at").alias("from_date"),
        F.coalesce(F.to_date("ended_at"), F.lit(date.max)).alias("to_date"),
    )
    joined = latest.join(stays, "research_subject_key")
    on_study = joined.filter("from_date <= index_date AND index_date < to_date")
    return on_study.select("research_subject_key", "index_date", "score", "scored_date")


def labelled(rows: DataFrame, subjects: DataFrame, as_of: date, margin_days: int) -> DataFrame:
    """Rows at risk with is_event (left by withdrawal within the 28 days after the index date, as
    far as is certain), is_complete, followed_days, and is_due by the calendar."""
    known = with_outcome(rows, withdrawals(subjects), WINDOW_DAYS, as_of, margin_days)
    due = F.date_add("index_date", WINDOW_DAYS) <= F.lit(as_of)
    return known.withColumn("is_due", due)


def with_actions(rows: DataFrame, actions: DataFrame) -> DataFrame:
    """Rows at risk with is_treated, propensity and is_held_out, by what followed the predictions
    of the 14 days up to the index date. What is done later answers to later scores."""
    near = F.date_sub("index_date", OLDEST_PREDICTION_DAYS)
    done = actions.select(
        F.col("research_subject_key").alias("_subject"),
        F.col("index_date").alias("_acted"),
        (F.col("action") != "none").alias("_treated"),
        F.col("propensity_ratio").alias("_propensity"),
        F.col("is_held_out").alias("_held_out"),
    )
    same = (F.col("research_subject_key") == F.col("_subject")) & F.col("_acted").between(
        near, F.col("index_date")
    )
    joined = rows.join(done, same, "left")
    return joined.groupBy(*rows.columns).agg(
        F.coalesce(F.max("_treated"), F.lit(False)).alias("is_treated"),
        # Two chances to be acted on: neither is missed by the other.
        (1 - F.product(1 - F.col("_propensity"))).alias("propensity"),
        F.coalesce(F.min("_held_out"), F.lit(False)).alias("is_held_out"),
    )


def with_lots(rows: DataFrame, served: DataFrame) -> DataFrame:
    """Rows of `with_actions`, also held out from a subject's first risk on that was shown with the
    mark not to act on it (gold.served_prediction). Who was acted on all the same stands for nobody:
    whether it happened hangs on the score alone, so calibration is not biased by leaving them out.
    """
    marked = served.filter("is_held_out").groupBy("research_subject_key")
    since = marked.agg(F.min("index_date").alias("_since"))
    by_lot = F.coalesce(F.col("_since") <= F.col("index_date"), F.lit(False))
    held = (F.col("is_held_out") | by_lot) & ~F.col("is_treated")
    kept = [name for name in rows.columns if name != "is_held_out"]
    return rows.join(since, "research_subject_key", "left").select(*kept, held.alias("is_held_out"))


def with_inputs(rows: DataFrame, features: DataFrame, names: Sequence[str]) -> DataFrame:
    """Rows at risk with the model's numbers (gold.subject_feature) that the risk was made from, as
    one array; null where they are not there any more."""
    numbers = F.array(*(F.col(name).cast("double") for name in names))
    numbers = numbers.cast("array<double>").alias("inputs")  # of no names: of nothing
    made = features.select(
        "research_subject_key", F.col("index_date").alias("scored_date"), numbers
    )
    return rows.join(made, ["research_subject_key", "scored_date"], "left")


def reference_dates(indexes: Sequence[date]) -> list[date]:
    """The first three windows without a common day: what is known when estimates begin."""
    return list(indexes[:: WINDOW_DAYS // STEP_DAYS][:3])
