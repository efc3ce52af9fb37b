"""How often subjects are measured: a change of it moves features though nobody is different."""

from collections.abc import Collection

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.monitoring.feature_profiles import WINDOW_DAYS
from clinical_lakehouse.tables.gold_features import MEASURES

SUFFIX = "_frequency"
# Days of 28, told apart one by one where they are few: quantiles of a reference that measures
# everybody alike would put whoever is measured less in one bin with it.
_EDGES = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 10.5, 18.5)
EDGES = {f"{name}{SUFFIX}": _EDGES for name in MEASURES}


def with_frequencies(rows: DataFrame, measurements: DataFrame) -> DataFrame:
    """Rows of `feature_profiles.latest_rows` with `<measure>_frequency`: on how many days of the 28
    up to the row's index date the measure was taken, whatever its value; as many days for every
    period, so that a long one is not another frequency.
    """
    codes = {code: name for name, (code, *_) in MEASURES.items()}
    names = F.create_map(*(F.lit(item) for pair in codes.items() for item in pair))
    code = F.col("measurement_source_value")
    taken = measurements.filter(code.isin(*codes)).select(
        F.col("person_id").alias("subject_key"),
        names[code].alias("_measure"),
        F.col("measurement_date").alias("_day"),
    )
    key = ["research_subject_key", "period"]
    asked = rows.select(*key, "subject_key", "index_date")
    since = F.date_sub("index_date", WINDOW_DAYS)
    near = asked.join(taken, "subject_key").filter(
        (F.col("_day") > since) & (F.col("_day") <= F.col("index_date"))
    )
    days = near.groupBy(*key).pivot("_measure", list(MEASURES)).agg(F.count_distinct("_day"))
    counted = [F.coalesce(name, F.lit(0)).cast("double").alias(f"{name}{SUFFIX}")
               for name in MEASURES]  # fmt: skip
    return rows.join(days, key, "left").select(*rows.columns, *counted)


def of_inputs(inputs: Collection[str]) -> list[str]:
    """Frequencies of the measures that inputs are made from."""
    return [
        f"{name}{SUFFIX}" for name in MEASURES
        if any(one.startswith(f"{name}_") for one in inputs)
    ]  # fmt: skip
