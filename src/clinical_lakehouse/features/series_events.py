"""Feature events as the series of a group see them: coded, in the series' unit, in order."""

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import EVER, SOURCES, Group, Series
from clinical_lakehouse.methods.lab_analytes import analyte_of
from clinical_lakehouse.methods.units import conversion

PERSON = "person"  # source of the event that says: the lake knows this person
EVERY = "*"
BAD = ("no-value", "implausible", "unit-unknown")  # why a record has no value; its place + 1
_LONG_AGO = -9_000_000_000_000_000  # microseconds: the year 1684
_END = 9_000_000_000_000_000_000
_MICRO = 1_000_000
_MOST = 1e9  # beyond it sums of millionths could leave a BIGINT
_MAP = (
    "source STRING, match STRING, series INT, is_numeric BOOLEAN, "
    "units MAP<STRING, STRUCT<factor: DOUBLE, offset: DOUBLE>>, "
    "low DOUBLE, high DOUBLE, normal_low DOUBLE, normal_high DOUBLE, reach_us BIGINT"
)


def series_events(events: DataFrame, group: Group) -> DataFrame:
    """One row per event of gold.feature_event and series it belongs to, and one without weight per
    person and series: it says that the lake knew the person.

    Times are microseconds; a value is in the series' unit, and in exact millionths (`micro`, its
    square in two limbs), so that no order of rows changes a sum. `place` orders a person's values
    by time, then value, so that ties have one answer. From `horizon_us` on no moment need see it.
    """
    known = _with_horizon(_matched(events, group).unionByName(_persons(events, group)))
    order = Window.partitionBy("subject_key").orderBy("event_us", "v", "record_key", "from_us")
    placed = known.withColumn("place", F.when(F.col("v").isNotNull(), F.row_number().over(order)))
    square = F.col("micro").cast("DECIMAL(19,0)") * F.col("micro").cast("DECIMAL(19,0)")
    limb = F.lit(1_000_000_000).cast("DECIMAL(10,0)")
    return placed.withColumns(
        {
            "square_high": F.floor(square / limb).cast("BIGINT"),
            "square_low": (square % limb).cast("BIGINT"),
        }
    ).drop("record_key")


def _matched(events: DataFrame, group: Group) -> DataFrame:
    names = F.array(F.col("code"), F.lit(EVERY)) if _has_every(group) else F.array(F.col("code"))
    asked = events.filter(F.col("source").isin(*{s.source for s in group.series}))
    spread = asked.filter("event_at IS NOT NULL").withColumn("match", F.explode(names))
    maps = F.broadcast(_map(events.sparkSession, group))
    joined = spread.join(maps, ["source", "match"])
    unit = F.coalesce("unit", F.lit(""))
    held = F.col("units")[unit]
    value = F.when(F.col("units").isNull(), F.col("value")).otherwise(
        F.col("value") * held["factor"] + held["offset"]
    )
    valued = joined.withColumn("converted", F.round(value, 6))
    fits = F.abs("converted") < _MOST
    for limit, is_in in (("low", _at_least), ("high", _at_most)):
        fits = fits & (F.col(limit).isNull() | is_in(limit))
    return valued.select(
        *_timed(),
        F.lit(1).alias("w"),
        F.when(fits, F.col("converted")).alias("v"),
        F.when(fits, F.round(F.col("converted") * _MICRO).cast("BIGINT")).alias("micro"),
        _bad(held, fits).alias("bad"),
        F.when(fits, _is_abnormal()).alias("abnormal"),
        "series",
        "record_key",
        "reach_us",
    )


def _with_horizon(events: DataFrame) -> DataFrame:
    """Beyond a series' windows a moment only asks whether there was a record at all. Of records
    that were never closed those tell it that are older than all learnt before them: few rows, where
    the whole past would be joined with every moment."""
    before = Window.partitionBy("subject_key", "series").orderBy("from_us", "event_us")
    earlier = before.rowsBetween(Window.unboundedPreceding, -1)
    stands = (F.col("until_us") == _END) & (F.col("w") == 1)
    oldest = F.min(F.when(stands, F.col("event_us"))).over(earlier)
    seen = events.withColumn("oldest_us", oldest)
    tells = (F.col("until_us") < _END) | F.coalesce(
        F.col("event_us") < F.col("oldest_us"), F.lit(True)
    )
    ends = F.when(tells | F.col("reach_us").isNull(), _END)
    horizon = ends.otherwise(F.col("event_us") + F.col("reach_us"))
    return seen.withColumn("horizon_us", horizon).drop("oldest_us", "reach_us")


def _reach(series: Series) -> int | None:
    """Microseconds after which its windows are over; None where one never is, or records last."""
    if EVER in series.windows or {"is_active", "exposure_days"} & set(series.aggregations):
        return None
    return max(series.windows) * 86_400_000_000


def _at_least(limit: str) -> Column:
    return F.col("converted") >= F.col(limit)


def _at_most(limit: str) -> Column:
    return F.col("converted") <= F.col(limit)


def _bad(held: Column, fits: Column) -> Column:
    """Place + 1 of the reason in BAD; null for a good value and where no value is wanted."""
    sent = F.when(F.col("why_no_value") == BAD[2], 3).otherwise(1)
    told = F.when(F.col("value").isNull(), sent).when(held.isNull(), 3)
    return F.when(F.col("is_numeric"), told.when(~fits, 2))


def _is_abnormal() -> Column:
    low = F.coalesce(F.col("converted") < F.col("normal_low"), F.lit(False))
    return (low | F.coalesce(F.col("converted") > F.col("normal_high"), F.lit(False))).cast("INT")


def _timed() -> list[Column]:
    return [
        F.col("subject_key"),
        F.unix_micros("event_at").alias("event_us"),
        F.unix_micros("end_at").alias("end_us"),
        F.unix_micros("known_from").alias("from_us"),
        F.coalesce(F.unix_micros("known_until"), F.lit(_END)).alias("until_us"),
    ]


def _persons(events: DataFrame, group: Group) -> DataFrame:
    people = events.filter(F.col("source") == PERSON)
    nothing = {"v": "DOUBLE", "micro": "BIGINT", "bad": "INT", "abnormal": "INT"}
    nothing["reach_us"] = "BIGINT"
    return people.select(
        F.col("subject_key"),
        F.lit(_LONG_AGO).alias("event_us"),
        F.lit(None).cast("BIGINT").alias("end_us"),
        *_timed()[3:],
        F.lit(0).alias("w"),
        *(F.lit(None).cast(kind).alias(name) for name, kind in nothing.items()),
        F.explode(F.sequence(F.lit(0), F.lit(len(group.series) - 1))).alias("series"),
        "record_key",
    )


def _has_every(group: Group) -> bool:
    return any(EVERY in matches(one) for one in group.series)


def matches(series: Series) -> tuple[str, ...]:
    """The codes it looks for; EVERY where it names none (a class without codes looks for none)."""
    return series.codes or (() if series.classes else (EVERY,))


def _map(spark: SparkSession, group: Group) -> DataFrame:
    rows = [
        (s.source, code, number, SOURCES[s.source][0], _units(s, code),
         *(s.plausible or (None, None)), *(s.normal or (None, None)), _reach(s))
        for number, s in enumerate(group.series) for code in sorted(set(matches(s)))
    ]  # fmt: skip
    return spark.createDataFrame(rows, _MAP)


def _units(series: Series, code: str) -> dict[str, tuple[float, float]] | None:
    """Unit as the lake keeps it -> factor and offset to the series' unit. A value without a unit
    counts where the series' unit is no quantity."""
    if series.unit is None:
        return None
    units = {series.unit: (1.0, 0.0)}
    if series.unit == "1" or series.unit.startswith("{"):
        units[""] = (1.0, 0.0)
    analyte = analyte_of(code)
    if analyte and analyte.unit and analyte.unit != series.unit:
        found = conversion(analyte.unit, series.unit, analyte)
        if found.factor is not None:
            units[analyte.unit] = (found.factor, found.offset or 0.0)
    return units
