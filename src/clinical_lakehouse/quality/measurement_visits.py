"""Rules on visits and runs of values: copied visits, swapped people, shifted dates, frozen devices.

Each asks how often chance alone would do it in a lake of this size, and tells what it hardly would.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.quality.measurement_rules import anomaly
from clinical_lakehouse.quality.measurement_series import VALUES_MIN, in_time

# Chance events of each kind that a whole lake may have.
BY_CHANCE = 0.001
TESTS_MIN = 4
# Two people are told as swapped where exchanging them makes their values likelier by e to this.
SWAP_GAIN = 20.0
_SWAP_Z2 = 4.0  # mean square of a visit's scores against its own person, from which it is looked at
DAYS_AROUND_VISIT = 1
_YEAR_DAYS = 365.25


def copied_visits(rows: DataFrame) -> DataFrame:
    """Visits of one site whose values are all those of an earlier visit, of the same person or
    another: at least TESTS_MIN tests."""
    ones = rows.filter("visit_occurrence_id IS NOT NULL")
    pair = F.concat_ws("=", "loinc", F.col("level").cast("STRING"))
    visits = ones.groupBy("site_key", "person_id", "visit_occurrence_id").agg(
        F.sha2(F.concat_ws("|", F.sort_array(F.collect_list(pair))), 256).alias("values"),
        F.count("*").alias("test_count"),
        F.sum(F.log("repeat_ratio")).alias("log_chance"),
        F.min("at").alias("visit_at"),
    )
    same = Window.partitionBy("site_key", "values")
    first = same.orderBy("visit_at", "visit_occurrence_id")
    in_site = Window.partitionBy("site_key")
    pairs = F.log(F.count("*").over(in_site)) * 2
    expected = F.exp(pairs + F.col("log_chance"))
    copies = visits.select(
        *("person_id", "visit_occurrence_id", "test_count"),
        F.row_number().over(first).alias("place"),
        expected.alias("by_chance"),
    ).filter((F.col("place") > 1) & (F.col("test_count") >= TESTS_MIN))
    told = copies.filter(F.col("by_chance") < BY_CHANCE).drop("place")
    detail = F.lit("all values of the visit are those of an earlier one")
    return ones.join(told, ["person_id", "visit_occurrence_id"]).select(
        *anomaly("copied_visit", _null(), _null(), -F.log10("by_chance"), detail)
    )


def swapped_subjects(rows: DataFrame) -> DataFrame:
    """Two people of one site and day whose values fit the other's earlier and later ones far better
    than their own (log-likelihood gain over SWAP_GAIN; normal on the log scale)."""
    usable = rows.filter(f"person_count >= {VALUES_MIN} AND level > 0 AND person_level > 0")
    scored = usable.select(
        *("site_key", "day", "person_id", "loinc", "unit", "sigma_within"),
        F.log("level").alias("x"),
        F.log("person_level").alias("own"),
    )
    z2 = F.pow((F.col("x") - F.col("own")) / F.col("sigma_within"), 2)
    place = ["site_key", "day", "person_id"]
    odd = scored.groupBy(*place).agg(F.avg(z2).alias("odd"), F.count("*").alias("n"))
    odd = odd.filter((F.col("odd") > _SWAP_Z2) & (F.col("n") >= TESTS_MIN)).select(*place)
    one = scored.join(odd, place)
    other = one.select(
        *("site_key", "day", "loinc", "unit"),
        F.col("person_id").alias("other_id"),
        F.col("x").alias("other_x"),
        F.col("own").alias("other_own"),
    )
    pairs = one.join(other, ["site_key", "day", "loinc", "unit"]).filter("person_id <> other_id")
    gain = (_z2("x", "own") + _z2("other_x", "other_own")) - (
        _z2("x", "other_own") + _z2("other_x", "own")
    )
    told = pairs.groupBy(*place, "other_id").agg(
        (F.sum(gain) / 2).alias("gain"), F.count("*").alias("n")
    )
    told = told.filter((F.col("gain") > SWAP_GAIN) & (F.col("n") >= TESTS_MIN))
    best = told.groupBy(*place).agg(F.max("gain").alias("gain"))
    spread = F.exp(4 * F.col("sigma_within"))
    low, high = F.col("person_level") / spread, F.col("person_level") * spread
    detail = F.lit("the values of this day fit another person of the site")
    return usable.join(best, place).select(
        *anomaly("swapped_subject", low, high, F.col("gain"), detail)
    )


def shifted_dates(rows: DataFrame) -> DataFrame:
    """Measurements over a day before or after the visit they belong to; value and range are days
    since the visit's start. Day and month exchanged cannot be seen: dates are shifted by person."""
    days = F.date_diff("day", "visit_start_date").cast("DOUBLE")
    length = F.date_diff("visit_end_date", "visit_start_date")
    low, high = F.lit(-DAYS_AROUND_VISIT), length + DAYS_AROUND_VISIT
    years = F.round(days / _YEAR_DAYS)
    is_year = (years != 0) & (F.abs(days - years * _YEAR_DAYS) <= DAYS_AROUND_VISIT + length)
    detail = F.when(is_year, F.lit("another year")).otherwise(F.lit("not in its visit"))
    judged = rows.filter("visit_start_date IS NOT NULL").withColumn("level", days)
    out = (F.col("level") < low) | (F.col("level") > high)
    return judged.filter(out).select(*anomaly("date_shift", low, high, F.abs("level"), detail))


def frozen_devices(rows: DataFrame) -> DataFrame:
    """Runs of one value at a site, over two people or more, that are longer than chance makes them:
    n * p^(length - 1), where p is how often two values of the test are the same."""
    shares = rows.groupBy("loinc", "unit", "level").agg(F.count("*").alias("n"))
    total = Window.partitionBy("loinc", "unit")
    share = F.col("n") / F.sum("n").over(total)
    same = shares.select("loinc", "unit", share.alias("share")).groupBy("loinc", "unit")
    chance = same.agg(F.sum(F.col("share") * F.col("share")).alias("p"))
    place = ("site_key", "loinc", "unit")
    order = in_time(*place)
    is_new = F.coalesce((F.col("level") != F.lag("level").over(order)).cast("INT"), F.lit(1))
    runs = rows.withColumn("is_new", is_new).withColumn("run", F.sum("is_new").over(order))
    lengths = runs.groupBy(*place, "run").agg(
        F.count("*").alias("length"), F.count_distinct("person_id").alias("people")
    )
    sized = lengths.withColumn("n", F.sum("length").over(Window.partitionBy(*place)))
    expected = F.col("n") * F.pow("p", F.col("length") - 1)
    told = sized.join(F.broadcast(chance), ["loinc", "unit"]).withColumn("by_chance", expected)
    told = told.filter((F.col("by_chance") < BY_CHANCE) & (F.col("people") > 1))
    detail = F.concat(F.col("length").cast("STRING"), F.lit(" equal values in a row at the site"))
    kept = told.select(*place, "run", "length", "by_chance")
    return runs.join(kept, [*place, "run"]).select(
        *anomaly("frozen_device", _null(), _null(), -F.log10("by_chance"), detail)
    )


def _z2(value: str, level: str) -> Column:
    return F.pow((F.col(value) - F.col(level)) / F.col("sigma_within"), 2)


def _null() -> Column:
    return F.lit(None).cast("DOUBLE")
