"""Speed of monitoring: predictions of 24 windows at 10 sites, and 200 features at 10 sites.

Run by `python benchmarks/monitoring.py [ROWS] [PARTS]`; PARTS are performance and drift. Beside
each, in the same session, what plain Spark takes to aggregate the same rows: the floor.
"""

import os
import sys

import psutil
from measuring import peak_memory, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring import feature_profiles as profiles
from clinical_lakehouse.monitoring.drift_judgement import Question, drift_rows
from clinical_lakehouse.monitoring.intervention import Limits
from clinical_lakehouse.monitoring.performance import AccuracyLimit, Reading, judged, per_window
from clinical_lakehouse.monitoring.verdicts import judged_groups, verdict_rows
from clinical_lakehouse.runtime.session import open_session

WINDOWS, SITES, FEATURES = 24, 10, 200
LIMITS = Limits(Interval(0.78, 0.77, 0.79), 0.05, 0.05)
PARTS = ("performance", "drift")


def main(rows: int, parts: tuple[str, ...]) -> None:
    """Figures as the table that benchmarks/README.md keeps."""
    spark = open_session("local[2]")
    ways = {"performance": _performance, "drift": _drift}
    with peak_memory(with_self=True) as peak:
        for part in parts:
            ways[part](spark, rows)
            own = psutil.Process().memory_info().rss / 1e9
            _print(f"| Python's own memory after {part} | {own:.2f} GB |")
    _print(f"| peak memory, all processes | {peak[0] / 1e9:.1f} GB |")
    _print(f"| load over the last minute | {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores |")
    spark.stop()


def _performance(spark: SparkSession, rows: int) -> None:
    made = _predictions(spark, rows).localCheckpoint()
    with timed() as plain:
        made.groupBy("index_date").agg(
            F.count("*"), F.sum(F.col("is_event").cast("int")),
            F.avg(F.pow(F.col("score") - F.col("is_event").cast("int"), 2)),
        ).collect()  # fmt: skip
    with timed() as ours:
        found = [row.asDict() for row in per_window(made, Reading(90, 0.99, 0.2)).collect()]
        limit = AccuracyLimit(LIMITS.reference, 0.05)
        judged([row for row in found if row["population"] == "watched"], limit)
        judged_groups(found, limit)
        verdict_rows(found, LIMITS)
    _tell(f"{rows:,} predictions, {WINDOWS} windows, {SITES} sites", ours[0], plain[0])


def _drift(spark: SparkSession, rows: int) -> None:
    names = [f"feature_{n}" for n in range(FEATURES)]
    made = _features(spark, rows, names).localCheckpoint()
    with timed() as plain:
        made.groupBy("site", "period").agg(
            *(F.avg(name) for name in names), *(F.stddev(name) for name in names)
        ).collect()
    with timed() as edged:
        edges, _ = profiles.references(made, names, [])
    with timed() as described:
        found = profiles.described(made, edges, {})
    with timed() as judging:
        drift_rows(found, profiles.TRAINING, Question(0.2, 0.05, names[:4]))
    parts = edged[0], described[0], judging[0]
    _tell(f"drift of {rows:,} rows, {FEATURES} features, {SITES} sites", sum(parts), plain[0])
    _print("| of it edges, profiles, judgement | {:.1f}, {:.1f}, {:.1f} s |".format(*parts))


def _tell(what: str, ours: float, plain: float) -> None:
    _print(f"| {what} | {ours:.1f} s |")
    _print(f"| plain Spark: means of the same rows | {plain:.1f} s, ratio {ours / plain:.1f} |")


def _predictions(spark: SparkSession, rows: int) -> DataFrame:
    hazard = F.pow(F.rand(1), 3) * 0.8
    return spark.range(rows).select(
        F.col("id").alias("research_subject_key"),
        F.date_add(F.lit("2023-01-02").cast("date"), (F.col("id") % WINDOWS * 7).cast("int"))
        .alias("index_date"),
        hazard.alias("score"),
        (F.rand(2) < hazard * 0.35).alias("is_event"),
        F.lit(True).alias("is_complete"),
        F.lit(True).alias("is_due"),
        F.lit(28).alias("followed_days"),
        (F.rand(3) < 0.05).alias("is_treated"),
        F.lit(None).cast("double").alias("propensity"),
        F.lit(False).alias("is_held_out"),
        (F.floor(F.col("id") / WINDOWS) % SITES).cast("string").alias("site"),
        F.when(F.rand(4) < 0.5, "female").otherwise("male").alias("sex"),
        F.lit("unknown").alias("race"),
        (F.randn(5) * 12 + 60).alias("age_years"),
    )  # fmt: skip


def _features(spark: SparkSession, rows: int, names: list[str]) -> DataFrame:
    period = F.when(F.col("id") % 2 == 0, profiles.TRAINING).otherwise(profiles.CURRENT)
    return spark.range(rows).select(
        F.col("id").alias("research_subject_key"),
        period.alias("period"),
        (F.col("id") % SITES).cast("string").alias("site"),
        F.lit("0").alias("band"),
        *(F.randn(seed).alias(name) for seed, name in enumerate(names)),
    )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000,
        tuple(sys.argv[2].split(",")) if len(sys.argv) > 2 else PARTS,
    )
