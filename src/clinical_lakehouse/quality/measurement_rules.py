"""Rules on single measurements: another unit, a slipped decimal, an outlier, too large a change."""

from collections.abc import Iterable
from math import log
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.lab_analytes import ANALYTES
from clinical_lakehouse.methods.reference_change import (
    WITHIN_SUBJECT_CV,
    desirable_analytical_cv,
    reference_change_value,
)
from clinical_lakehouse.methods.unit_suspicion import expected_shifts
from clinical_lakehouse.quality.measurement_series import in_time, log_distance, log_sigma

SIGMAS = 4.0
# A value explained by another unit must fit it this much better than its own.
FIT = 0.5
ROBUST_Z_MAX = 3.5  # Iglewicz and Hoaglin 1993
_TO_Z = 0.6745
# One in a thousand by chance: a lake holds thousands of pairs, so that 95% would be noise.
CHANGE_Z = 3.29
_POWERS = {"10 times": 10.0, "a tenth": 0.1}
_SAME = 0.02
# Steps of a score are no laboratory's variation, and ten points are no slip of one.
_NO_SCORE = "NOT unit LIKE '{%'"
_FACTORS = "loinc STRING, unit STRING, rule STRING, shift DOUBLE, reads_as STRING"
_KEPT = ("measurement_id", "person_id", "site_key", "loinc")


def anomaly(
    rule: str | Column, low: Column, high: Column, score: Column, detail: Column
) -> list[Any]:
    """The columns of gold.measurement_anomaly, from a row of the series."""
    named = F.lit(rule) if isinstance(rule, str) else rule
    return [
        "measurement_id",
        named.alias("rule"),
        *("person_id", "site_key", "loinc"),
        F.col("level").alias("value"),
        low.cast("DOUBLE").alias("expected_low"),
        high.cast("DOUBLE").alias("expected_high"),
        score.cast("DOUBLE").alias("score"),
        detail.alias("detail"),
    ]


def factor_rows(tests: Iterable[tuple[str, str, float]]) -> list[tuple[Any, ...]]:
    """What a wrong unit or decimal makes of a typical value, as ln of the ratio: rows of (loinc,
    unit, rule, shift, reads_as) for each (loinc, unit, typical value). A unit that differs by
    ten is told as a slip, for nobody can tell the two apart."""
    rows: list[tuple[Any, ...]] = []
    for loinc, unit, typical in tests:
        for name, factor in _POWERS.items():
            rows.append((loinc, unit, "decimal_slip", log(factor), name))
        if loinc not in ANALYTES or typical <= 0:
            continue
        for other, shift in expected_shifts(loinc, unit, typical):
            if all(abs(shift - log(factor)) > _SAME for factor in _POWERS.values()):
                rows.append((loinc, unit, "unit_mixup", shift, f"value in {other}"))
    return rows


def typical_levels(rows: DataFrame) -> list[tuple[str, str, float]]:
    """(loinc, unit, median) of each test: as many as kinds of tests."""
    levels = rows.groupBy("loinc", "unit").agg(F.first("test_level").alias("level")).collect()
    return [(row["loinc"], row["unit"], row["level"]) for row in levels]


def scale_errors(rows: DataFrame, factors: Iterable[tuple[Any, ...]]) -> DataFrame:
    """Values far from their person's level that another unit, or a moved decimal point, explains;
    and all values of a site whose unit looks mislabelled (gold.unit_suspicion)."""
    distance, sigma = log_distance(), log_sigma()
    far = (
        rows.filter(_NO_SCORE).withColumn("distance", distance).withColumn("bound", SIGMAS * sigma)
    )
    far = far.filter(F.abs("distance") > F.col("bound"))
    known = far.sparkSession.createDataFrame(list(factors), _FACTORS)
    off = F.abs(F.col("distance") - F.col("shift"))
    fitting = far.join(F.broadcast(known), ["loinc", "unit"]).filter(
        (off <= F.col("bound")) & (off < FIT * F.abs("distance"))
    )
    best = fitting.groupBy("measurement_id").agg(
        F.min_by(F.struct("rule", "reads_as", *_needed(far)), off).alias("best")
    )
    reference = F.col("level") / F.exp("distance")
    low, high = reference * F.exp(-F.col("bound")), reference * F.exp("bound")
    found = best.select("measurement_id", "best.*").select(
        *anomaly(F.col("rule"), low, high, SIGMAS * F.abs("distance") / F.col("bound"),
                 F.col("reads_as"))
    )  # fmt: skip
    return found.unionByName(
        _mislabelled(rows).join(found, ["measurement_id", "rule"], "left_anti")
    )


def _needed(rows: DataFrame) -> list[str]:
    return [name for name in (*_KEPT[1:], "level", "distance", "bound") if name in rows.columns]


def _mislabelled(rows: DataFrame) -> DataFrame:
    spread = F.exp(SIGMAS * F.col("sigma_all"))
    level = F.col("test_level")
    suspected = rows.filter("unit_flag = 'suspected'")
    score = F.abs(F.log("level") - F.log("test_level")) / F.col("sigma_all")
    detail = F.lit("the site's unit; see gold.unit_suspicion")
    return suspected.filter("level > 0").select(
        *anomaly("unit_mixup", level / spread, level * spread, score, detail)
    )


def outliers(rows: DataFrame) -> DataFrame:
    """|M| over 3.5, M = 0.6745 (x - median) / MAD over the values of a test (Iglewicz and Hoaglin
    1993); a test without spread has none."""
    width = ROBUST_Z_MAX * F.col("test_mad") / _TO_Z
    level = F.col("test_level")
    score = _TO_Z * (F.col("level") - level) / F.col("test_mad")
    spread = rows.filter("test_mad > 0")
    return spread.filter(F.abs(score) > ROBUST_Z_MAX).select(
        *anomaly("robust_z", level - width, level + width, score, F.lit("modified z score"))
    )


def changes(rows: DataFrame) -> DataFrame:
    """Changes since the person's value before that are larger than the reference change value, of
    which one in a thousand would be chance. The variation is the published one, or what people of
    the lake show where that is larger (or none is published)."""
    before = F.lag("level").over(in_time("person_id", "loinc", "unit"))
    published = F.create_map(
        *[
            F.lit(part)
            for loinc, within in WITHIN_SUBJECT_CV.items()
            for part in (
                loinc,
                reference_change_value(desirable_analytical_cv(within), within, 1.0),
            )
        ]
    )
    # One z of both results together, as a share of the former.
    seen = F.sqrt(F.lit(2.0)) * F.col("sigma_within")
    one_z = F.greatest(F.coalesce(F.try_element_at(published, F.col("loinc")) / 100, seen), seen)
    compared = (
        rows.filter(_NO_SCORE).withColumn("before", before).withColumn("allowed", CHANGE_Z * one_z)
    )
    change = F.abs(F.col("level") - F.col("before")) / F.col("before")
    found = compared.filter("before > 0").withColumn("change", change)
    low = F.col("before") * (1 - F.col("allowed"))
    high = F.col("before") * (1 + F.col("allowed"))
    score = CHANGE_Z * F.col("change") / F.col("allowed")
    return found.filter("change > allowed").select(
        *anomaly("reference_change", low, high, score, F.lit("since the value before"))
    )
