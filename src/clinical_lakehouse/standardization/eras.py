"""Eras: spans of time with a condition, an ingredient or a dose, by OHDSI's published algorithm.

Two records belong to one era if the second begins at most 30 days after the first ended
(ohdsi.github.io/CommonDataModel, "Standardized Derived Elements"). Unmapped records make none.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.keys import hashed_key

GAP_DAYS = 30
_RXNORM = ("RxNorm", "RxNorm Extension")
_DOSE_DECIMALS = 6


def condition_eras(occurrences: DataFrame) -> DataFrame:
    """omop.condition_era: an occurrence without an end lasts until the day after its start."""
    mapped = occurrences.filter("condition_concept_id > 0")
    start = F.col("condition_start_date")
    end = F.coalesce("condition_end_date", F.date_add(start, 1))
    spans = mapped.select("person_id", "condition_concept_id", *_span(start, end))
    same = ("person_id", "condition_concept_id")
    eras = _collapsed(spans, same, GAP_DAYS, F.count(F.lit(1)).alias("count"))
    return eras.select(
        hashed_key(*same, "start").alias("condition_era_id"),
        *same,
        F.col("start").alias("condition_era_start_date"),
        F.col("end").alias("condition_era_end_date"),
        F.col("count").cast("int").alias("condition_occurrence_count"),
    )


def ingredients(concepts: DataFrame, ancestors: DataFrame) -> DataFrame:
    """One row per drug concept (drug_concept_id) and ingredient in it (ingredient_id)."""
    is_ingredient = F.col("concept_class_id") == "Ingredient"
    known = concepts.filter(is_ingredient & F.col("vocabulary_id").isin(*_RXNORM))
    own = known.filter("standard_concept = 'S'").select(F.col("concept_id").alias("ingredient_id"))
    within = ancestors.select(
        F.col("descendant_concept_id").alias("drug_concept_id"),
        F.col("ancestor_concept_id").alias("ingredient_id"),
    )
    itself = own.select(F.col("ingredient_id").alias("drug_concept_id"), "ingredient_id")
    return within.join(own, "ingredient_id", "left_semi").unionByName(itself).distinct()


def drug_eras(exposures: DataFrame, known: DataFrame) -> DataFrame:
    """omop.drug_era: one row per person, ingredient and era; `known` comes from ingredients.

    gap_days are the era's days less those of its exposures, overlapping ones counted once, all
    as differences of dates, as OHDSI's script counts them.
    """
    same = ("person_id", "drug_concept_id")
    taken = _taken(exposures).join(known, "drug_concept_id")
    spans = taken.withColumn("drug_concept_id", F.col("ingredient_id"))
    count = F.count(F.lit(1)).alias("count")
    stretches = _collapsed(spans.select(*same, "start", "end"), same, 0, count)
    exposed = F.sum(F.date_diff("end", "start")).alias("exposed")
    eras = _collapsed(stretches, same, GAP_DAYS, F.sum("count").alias("count"), exposed)
    return eras.select(
        hashed_key(*same, "start").alias("drug_era_id"),
        *same,
        F.col("start").alias("drug_era_start_date"),
        F.col("end").alias("drug_era_end_date"),
        F.col("count").cast("int").alias("drug_exposure_count"),
        (F.date_diff("end", "start") - F.col("exposed")).cast("int").alias("gap_days"),
    )


def daily_doses(exposures: DataFrame, strengths: DataFrame) -> DataFrame:
    """One row per exposure and ingredient (drug_concept_id) that has a daily dose, with its start
    and end: dose_value per day in unit_concept_id."""
    solid = strengths.filter("amount_value > 0 AND amount_unit_concept_id > 0")
    amounts = solid.select(
        "drug_concept_id",
        F.col("ingredient_concept_id").alias("ingredient_id"),
        F.col("amount_unit_concept_id").alias("unit_concept_id"),
        "amount_value",
    )
    dosed = _taken(exposures).filter("quantity > 0 AND days_supply >= 1")
    daily = F.col("quantity") * F.col("amount_value") / F.col("days_supply")
    return dosed.join(amounts, "drug_concept_id").select(
        *("person_id", "drug_exposure_id"),
        F.col("ingredient_id").alias("drug_concept_id"),
        "unit_concept_id",
        F.round(daily, _DOSE_DECIMALS).alias("dose_value"),
        *("start", "end"),
    )


def dose_eras(exposures: DataFrame, strengths: DataFrame) -> DataFrame:
    """omop.dose_era: per person, ingredient, unit and daily dose (quantity x strength / supply).

    Only solid forms whose strength, quantity and days of supply are known have a daily dose
    (OHDSI, DRUG_STRENGTH: "Tablets and other fixed amount formulations").
    """
    same = ("person_id", "drug_concept_id", "unit_concept_id", "dose_value")
    spans = daily_doses(exposures, strengths).drop("drug_exposure_id")
    return _collapsed(spans, same, GAP_DAYS).select(
        hashed_key(*same, "start").alias("dose_era_id"),
        *same,
        F.col("start").alias("dose_era_start_date"),
        F.col("end").alias("dose_era_end_date"),
    )


def _taken(exposures: DataFrame) -> DataFrame:
    mapped = exposures.filter("drug_concept_id > 0")
    span = _span(F.col("drug_exposure_start_date"), F.col("drug_exposure_end_date"))
    return mapped.select(
        *("person_id", "drug_exposure_id", "drug_concept_id", "quantity", "days_supply"), *span
    )


def _span(start: Column, end: Column) -> tuple[Column, Column]:
    """An end before its start is a mistake: the span is then one day."""
    return start.alias("start"), F.greatest(start, end).alias("end")


def _collapsed(spans: DataFrame, same: Sequence[str], gap_days: int, *sums: Column) -> DataFrame:
    """Spans that begin at most `gap_days` after all before them ended, made one; with `sums`."""
    ordered = Window.partitionBy(*same).orderBy("start", "end")
    earlier = ordered.rowsBetween(Window.unboundedPreceding, -1)
    until = F.date_add(F.max("end").over(earlier), gap_days)
    is_new = F.coalesce(F.col("start") > until, F.lit(True))
    numbered = spans.withColumn("_is_new", is_new.cast("int"))
    so_far = ordered.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    grouped = numbered.withColumn("_era", F.sum("_is_new").over(so_far)).groupBy(*same, "_era")
    return grouped.agg(F.min("start").alias("start"), F.max("end").alias("end"), *sums)
