"""Labs, vitals and scores: baseline, latest, mean, slope and spread at each index date."""

from itertools import chain

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.tables.gold_features import MEASURES

WINDOW_DAYS = 180
BASELINE_DAYS = 1  # a value of the day after enrolment still counts as baseline
_SLOPE_DAYS = 30
_STATISTICS = ("baseline", "latest", "mean", "slope", "sd")
_DECIMALS = 6  # sums of doubles differ in their last digits with the order of rows


def only_measures(measurements: DataFrame) -> DataFrame:
    """One row per person, measure, moment and value: known LOINC codes of omop.measurement with a
    plausible value in the measure's own unit (or without one)."""
    code = F.col("measurement_source_value")
    known = measurements.filter(code.isin(*(m[0] for m in MEASURES.values())))
    facts = {"name": 0, "unit": 1, "low": 2, "high": 3}
    described = known.select(
        F.col("person_id").alias("subject_key"),
        F.col("measurement_date").alias("measured_date"),
        F.coalesce("measurement_datetime", F.col("measurement_date").cast("timestamp")).alias("at"),
        F.col("value_as_number").alias("value"),
        F.col("unit_source_value").alias("sent_unit"),
        *(_fact(place)[code].alias(name) for name, place in facts.items()),
    )
    fits = described.filter("value BETWEEN low AND high AND coalesce(sent_unit, unit) = unit")
    return fits.select(
        "subject_key", F.col("name").alias("measure"), "measured_date", "at", "value"
    ).distinct()


def per_index_date(index: DataFrame, measures: DataFrame) -> DataFrame:
    """One row per participation and index date: `<measure>_<statistic>`, null where nothing was
    measured in time. Long by measure, aggregated, then pivoted once."""
    asked = index.select("research_subject_key", "subject_key", "index_date", "enrolled_date")
    joined = asked.join(measures, "subject_key").filter("measured_date <= index_date")
    grain = ["research_subject_key", "index_date"]
    long = joined.groupBy(*grain, "measure").agg(*_statistics())
    wide = long.groupBy(*grain).pivot("measure", list(MEASURES))
    return wide.agg(*(F.first(name).alias(name) for name in _STATISTICS))


def _fact(place: int) -> Column:
    """A map from LOINC code to the measure's name (0), unit (1), low (2) or high (3)."""
    rows = [(m[0], (name, m[1], float(m[2]), float(m[3]))[place]) for name, m in MEASURES.items()]
    return F.create_map(*(F.lit(item) for item in chain.from_iterable(rows)))


def _statistics() -> list[Column]:
    """The five statistics; of two values at one moment the higher counts as the later."""
    recent = F.col("measured_date") > F.date_sub("index_date", WINDOW_DAYS)
    value = F.when(recent, F.col("value"))
    day = F.datediff("measured_date", "index_date") / _SLOPE_DAYS
    is_early = F.col("measured_date") <= F.date_add("enrolled_date", BASELINE_DAYS)
    order = F.struct("at", "value")
    return [
        F.max_by("value", F.when(is_early, order)).alias("baseline"),
        F.max_by("value", order).alias("latest"),
        F.round(F.mean(value), _DECIMALS).alias("mean"),
        F.round(F.regr_slope(value, day), _DECIMALS).alias("slope"),
        F.round(F.stddev_samp(value), _DECIMALS).alias("sd"),
    ]
