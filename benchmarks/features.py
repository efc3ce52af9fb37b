"""Speed of features: 1,000 subjects x 24 moments x 210 features, by event and knowledge time.

Run by `python benchmarks/features.py [SUBJECTS]`. Beside it, in the same session, thirty lines of
plain Spark for the same 210 numbers (long by subject, moment and code, then through a map), which
give no reasons for nulls; then 2,016 features over as many records, and 1% of the subjects.
"""

import sys
from datetime import UTC, datetime, timedelta

from measuring import peak_memory, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import Group, Series
from clinical_lakehouse.features.point_in_time import point_in_time
from clinical_lakehouse.runtime.session import open_session

START = datetime(2023, 1, 1, tzinfo=UTC)
WINDOWS = (30, 90, 180)
AGGREGATIONS = ("latest", "count", "mean", "min", "max", "slope", "sd")
RECORDS = 480  # of a subject, over two years


def main(subjects: int) -> None:
    """Figures as the table that benchmarks/README.md keeps."""
    spark = open_session("local[2]")
    with peak_memory(with_self=True) as peak:
        asked = _asked(spark, subjects).localCheckpoint()
        few = _events(spark, subjects, 10).localCheckpoint()
        many = _events(spark, subjects, 96).localCheckpoint()
        _noop(point_in_time(asked.limit(100), few, _group(10)))  # what is compiled once
        _noop(_plain(asked.limit(100), few, 10))
        for turn in (1, 2):
            with timed() as plain:
                _noop(_plain(asked, few, 10))
            with timed() as ours:
                _noop(point_in_time(asked, few, _group(10)))
            _print(f"| turn {turn}: 210 features, plain Spark, no reasons | {plain[0]:.1f} s |")
            _print(f"| turn {turn}: 210 features, ours, with reasons | {ours[0]:.1f} s |")
        with timed() as more:
            _noop(point_in_time(asked, many, _group(96)))
        _print(f"| 2,016 features over as many records | {more[0]:.1f} s |")
        share = asked.filter(F.col("subject_key") % 100 == 0)
        theirs = few.join(share.select("subject_key").distinct(), "subject_key", "left_semi")
        with timed() as part:
            _noop(point_in_time(share, theirs, _group(10)))
        _print(f"| 1% of the subjects | {part[0]:.1f} s |")
    _print(f"| peak memory, all processes | {peak[0] / 1e9:.1f} GB |")
    spark.stop()


def _plain(asked: DataFrame, events: DataFrame, codes: int) -> DataFrame:
    """The peer: what one would write without a feature store."""
    e = events.filter("source = 'lab'").withColumnRenamed("subject_key", "person")
    joined = asked.join(
        e,
        (F.col("person") == F.col("subject_key"))
        & (F.col("event_at") <= F.col("at"))
        & (F.col("event_at") > F.col("at") - F.expr("INTERVAL 180 DAYS"))
        & (F.col("known_from") <= F.col("known_at"))
        & (F.col("known_until").isNull() | (F.col("known_until") > F.col("known_at"))),
    )
    value, day = F.col("value"), F.datediff("event_at", F.lit("2023-01-01"))
    made = []
    for days in WINDOWS:
        inside = F.col("event_at") > F.col("at") - F.expr(f"INTERVAL {days} DAYS")
        v = F.when(inside, value)
        made += [
            F.max_by("value", F.when(inside, F.col("event_at"))).alias(f"latest_{days}d"),
            F.count(v).cast("double").alias(f"count_{days}d"),
            F.mean(v).alias(f"mean_{days}d"),
            F.min(v).alias(f"min_{days}d"),
            F.max(v).alias(f"max_{days}d"),
            F.regr_slope(v, day).alias(f"slope_{days}d"),
            F.stddev_samp(v).alias(f"sd_{days}d"),
        ]
    key = ["subject_key", "at", "known_at"]
    long = joined.groupBy(*key, "code").agg(*made)
    names = [c for c in long.columns if c not in (*key, "code")]
    entries = F.map_from_entries(F.collect_list(F.struct("code", F.array(*names))))
    wide = long.groupBy(*key).agg(entries.alias("m"))
    return wide.select(
        *key,
        *(F.col("m")[f"C{code}"][place].alias(f"C{code}_{name}")
          for code in range(codes) for place, name in enumerate(names)),
    )  # fmt: skip


def _group(codes: int) -> Group:
    series = tuple(
        Series(f"c{n}", "lab", "m", WINDOWS, AGGREGATIONS, (f"C{n}",), unit="mg/dL")
        for n in range(codes)
    )
    return Group("bench", "o", "m", 30, "then", 1, series)


def _asked(spark: SparkSession, subjects: int) -> DataFrame:
    """24 moments a month apart; the lake's knowledge is that of the moment."""
    every = spark.range(subjects).withColumn("month", F.explode(F.sequence(F.lit(1), F.lit(24))))
    at = F.timestamp_micros(_micros(START) + F.col("month") * 30 * 86_400_000_000)
    return every.select(F.col("id").alias("subject_key"), at.alias("at"), at.alias("known_at"))


def _events(spark: SparkSession, subjects: int, codes: int) -> DataFrame:
    """RECORDS a subject; a tenth comes 30 days late, a twentieth is corrected 60 days later."""
    made = spark.range(subjects * RECORDS).withColumn("at", F.floor(F.rand(1) * 730 * 86_400))
    event = F.timestamp_micros(_micros(START) + F.col("at") * 1_000_000)
    late = F.when(F.rand(2) < 0.1, 30).otherwise(0) * 86_400
    known = F.timestamp_micros(_micros(START) + (F.col("at") + late) * 1_000_000)
    until = F.when(F.rand(3) < 0.05, F.timestamp_micros(F.unix_micros(known) + 60 * 86_400_000_000))
    labs = made.select(
        F.lit("lab").alias("source"), F.col("id").alias("record_key"),
        (F.col("id") % subjects).alias("subject_key"),
        F.concat(F.lit("C"), F.floor(F.rand(4) * codes)).alias("code"), event.alias("event_at"),
        F.lit(None).cast("TIMESTAMP").alias("end_at"),
        F.round(F.randn(5) * 10 + 100, 1).alias("value"),
        F.lit("mg/dL").alias("unit"), F.lit(None).cast("STRING").alias("why_no_value"),
        known.alias("known_from"), until.alias("known_until"),
    )  # fmt: skip
    start = F.lit(START - timedelta(days=1))
    people = spark.range(subjects).select(
        F.lit("person").alias("source"), F.col("id").alias("record_key"),
        F.col("id").alias("subject_key"), start.alias("known_from"),
    )  # fmt: skip
    return labs.unionByName(people, allowMissingColumns=True)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _noop(rows: DataFrame) -> None:
    rows.write.format("noop").mode("overwrite").save()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
