"""Speed of monitoring: a million predictions over 24 windows, and 200 features at 10 sites.

Run by `python benchmarks/monitoring.py [ROWS]`. Beside it, in the same session, what plain Spark
takes to count the same rows' events and mean squared error by window: the floor.
"""

import sys

from measuring import peak_memory, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring import feature_profiles as profiles
from clinical_lakehouse.monitoring.drift_judgement import Question, drift_rows
from clinical_lakehouse.monitoring.intervention import Limits
from clinical_lakehouse.monitoring.performance import per_window
from clinical_lakehouse.monitoring.verdicts import verdict_rows
from clinical_lakehouse.runtime.session import open_session

WINDOWS, SITES, FEATURES = 24, 10, 200
LIMITS = Limits(Interval(0.78, 0.77, 0.79), 0.05, 0.05)


def main(rows: int) -> None:
    """Figures as the table that benchmarks/README.md keeps."""
    spark = open_session("local[2]")
    with peak_memory(with_self=True) as peak:
        _performance(spark, rows)
        _drift(spark, rows)
    _print(f"| peak memory, all processes | {peak[0] / 1e9:.1f} GB |")
    spark.stop()


def _performance(spark: SparkSession, rows: int) -> None:
    made = _predictions(spark, rows).localCheckpoint()
    with timed() as plain:
        made.groupBy("index_date").agg(
            F.count("*"), F.sum(F.col("is_event").cast("int")),
            F.avg(F.pow(F.col("score") - F.col("is_event").cast("int"), 2)),
        ).collect()  # fmt: skip
    with timed() as ours:
        found = [row.asDict() for row in per_window(made, 90, 0.99).collect()]
        verdict_rows(found, LIMITS)
    _print(f"| {rows:,} predictions, {WINDOWS} windows | {ours[0]:.1f} s |")
    _print(f"| plain Spark: count and mean of the same | {plain[0]:.1f} s |")


def _drift(spark: SparkSession, rows: int) -> None:
    names = [f"feature_{n}" for n in range(FEATURES)]
    made = _features(spark, rows // 4, names).localCheckpoint()
    with timed() as ours:
        edges, _ = profiles.references(made, names, [])
        found = profiles.described(made, edges, {})
        drift_rows(found, profiles.TRAINING, Question(0.2, 0.05, names[:4]))
    _print(f"| drift of {rows // 4:,} rows, {FEATURES} features, {SITES} sites | {ours[0]:.1f} s |")


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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
