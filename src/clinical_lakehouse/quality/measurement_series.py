"""Numeric measurements with what each is compared with: its person's, its test's own level."""

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from clinical_lakehouse.methods.control_charts import MAD_TO_SIGMA

# From so many values on a person's median stands, whatever one of them is.
VALUES_MIN = 3
# Values are written with few digits, so that a spread of nothing is no spread.
LOG_SIGMA_MIN = 0.01
_COLUMNS = (
    *("measurement_id", "person_id", "site_key", "loinc", "unit_flag", "day", "at"),
    *("visit_occurrence_id", "visit_start_date", "visit_end_date", "value", "level", "unit"),
    *("person_level", "person_count", "test_level", "test_mad", "sigma_within", "sigma_all"),
    "repeat_ratio",
)


def series(conversions: DataFrame, measurements: DataFrame, visits: DataFrame) -> DataFrame:
    """One row per row of gold.unit_conversion: when it was measured, at which visit, and `level`,
    the value in its standard unit, else as sent."""
    when = measurements.select(
        "measurement_id",
        F.col("measurement_date").alias("day"),
        F.coalesce("measurement_datetime", F.col("measurement_date").cast("TIMESTAMP")).alias("at"),
        "visit_occurrence_id",
    )
    places = visits.select("visit_occurrence_id", "visit_start_date", "visit_end_date")
    placed = conversions.join(when, "measurement_id").join(places, "visit_occurrence_id", "left")
    return placed.select(
        *("measurement_id", "person_id", "site_key", "loinc", "unit_flag", "day", "at"),
        *("visit_occurrence_id", "visit_start_date", "visit_end_date", "value"),
        F.coalesce("value_standard", "value").alias("level"),
        F.coalesce("unit_standard", "unit").alias("unit"),
    )


def with_reference(rows: DataFrame) -> DataFrame:
    """Adds what is typical: `person_level` and `person_count` of the person; `test_level`,
    `test_mad` and, of logarithms, `sigma_within` and `sigma_all` of the test in its unit.

    sigma_within comes from a person's successive values (their differences have sqrt(2) of it),
    sigma_all adds how people's medians differ. Medians throughout: a wrong value moves none.
    """
    test = ("loinc", "unit")
    person = rows.groupBy("person_id", *test).agg(
        F.median("level").alias("person_level"), F.count("level").alias("person_count")
    )
    known = rows.join(person, ["person_id", *test]).withColumn("step", _step())
    centre = known.groupBy(*test).agg(
        F.median("level").alias("test_level"),
        F.median(F.abs("step")).alias("step_size"),
        F.sum(F.when(F.col("step") == 0, 1).otherwise(0)).alias("repeat_count"),
        F.count("step").alias("step_count"),
    )
    spread = known.join(centre, list(test)).groupBy(*test)
    from_test = _log_ratio("person_level", "test_level")
    spreads = spread.agg(
        F.median(F.abs(F.col("level") - F.col("test_level"))).alias("test_mad"),
        F.median(F.abs(from_test)).alias("person_spread"),
    )
    within = F.greatest(
        MAD_TO_SIGMA * F.coalesce("step_size", F.lit(0.0)) / F.sqrt(F.lit(2.0)),
        F.lit(LOG_SIGMA_MIN),
    )
    between = MAD_TO_SIGMA * F.coalesce("person_spread", F.lit(0.0))
    tests = centre.join(spreads, list(test)).select(
        *test,
        "test_level",
        "test_mad",
        within.alias("sigma_within"),
        F.sqrt(within * within + between * between).alias("sigma_all"),
        # How often a value is that of the time before; never 0, for then nothing were chance.
        ((F.col("repeat_count") + 1) / (F.col("step_count") + 1)).alias("repeat_ratio"),
    )
    return known.join(F.broadcast(tests), list(test)).select(*_COLUMNS)


def in_time(*by: str) -> WindowSpec:
    """The order of values of one person, site or test."""
    return Window.partitionBy(*by).orderBy("at", "measurement_id")


def _step() -> Column:
    before = F.lag("level").over(in_time("person_id", "loinc", "unit"))
    return F.when((F.col("level") > 0) & (before > 0), F.log("level") - F.log(before))


def _log_ratio(value: str, reference: str) -> Column:
    is_positive = (F.col(value) > 0) & (F.col(reference) > 0)
    return F.when(is_positive, F.log(value) - F.log(reference))


def log_distance() -> Column:
    """ln of a value over its reference: the person's median where there are enough, else the
    test's; null for values that are not positive."""
    return F.when(
        F.col("person_count") >= VALUES_MIN, _log_ratio("level", "person_level")
    ).otherwise(_log_ratio("level", "test_level"))


def log_sigma() -> Column:
    """Spread of log_distance. A median of n values has 1.57/n of one value's variance."""
    of_person = F.col("sigma_within") * F.sqrt(1 + 1.57 / F.col("person_count"))
    return F.when(F.col("person_count") >= VALUES_MIN, of_person).otherwise(F.col("sigma_all"))
