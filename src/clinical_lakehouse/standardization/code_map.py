"""Every code the source uses, counted, and the concepts it maps to: small however many rows."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.vocabulary import vocabulary_of

_UCUM = "http://unitsofmeasure.org"
_SNOMED = "http://snomed.info/sct"
_USE = ("source_table", "role", "code_system", "code")


def used_codes(events: Mapping[str, DataFrame]) -> DataFrame:
    """gold.used_code: one row per source table, role, code system and code in events."""
    uses = [_per_role(rows, name) for name, rows in events.items()]
    counted = reduce(DataFrame.union, uses).groupBy(*_USE)
    return counted.agg(F.max("display").alias("display"), F.count(F.lit(1)).alias("row_count"))


def known_codes(uses: DataFrame) -> DataFrame:
    """One row per vocabulary_id and code in use, of the systems OMOP has a vocabulary for."""
    named = uses.select(vocabulary_of("code_system").alias("vocabulary_id"), "code")
    return named.filter("vocabulary_id IS NOT NULL").distinct()


def map_codes(uses: DataFrame, maps: DataFrame) -> DataFrame:
    """gold.code_map: a row per used code and standard concept, or one with 0 and the reason."""
    known = uses.withColumn("vocabulary_id", vocabulary_of("code_system"))
    joined = known.join(maps, ["vocabulary_id", "code"], "left")
    return joined.select(
        *_USE,
        F.coalesce("map_index", F.lit(0)).alias("map_index"),
        "display",
        "row_count",
        F.coalesce("source_concept_id", F.lit(0)).alias("source_concept_id"),
        F.coalesce("concept_id", F.lit(0)).alias("concept_id"),
        "domain_id",
        _reason().alias("reason"),
    )


def unmapped_codes(code_map: DataFrame) -> DataFrame:
    """gold.unmapped_code: the codes of the map without a standard concept."""
    without = code_map.filter("reason IS NOT NULL")
    return without.select(*_USE, "display", "row_count", "source_concept_id", "reason")


def _reason() -> Column:
    return (
        F.when(F.col("concept_id").isNotNull(), F.lit(None))
        .when(F.col("code") == "", "no_code")
        .when(F.col("vocabulary_id").isNull(), "unknown_system")
        .when(F.col("source_concept_id").isNull(), "unknown_code")
        .otherwise("no_standard_map")
    )


def _per_role(events: DataFrame, source_table: str) -> DataFrame:
    """One row per code of an event; the event itself counts also where it was sent without one."""
    used = [_use("event", F.col("code_system"), "code", F.col("display"))]
    if "value_code" in events.columns:
        used.append(_use("value", F.col("value_system"), "value_code", F.col("value_display")))
        used.append(_use("unit", F.lit(_UCUM), "unit_code", F.col("unit")))
    if "route_code" in events.columns:
        used.append(_use("route", F.lit(_SNOMED), "route_code", F.lit(None)))
    exploded = _exploded(events, used).filter("role = 'event' OR code <> ''")
    return exploded.select(F.lit(source_table).alias("source_table"), *_USE[1:], "display")


def _use(role: str, system: Column, code: str, display: Column) -> Column:
    return F.struct(
        F.lit(role).alias("role"),
        F.coalesce(system, F.lit("")).alias("code_system"),
        F.coalesce(F.col(code), F.lit("")).alias("code"),
        display.cast("string").alias("display"),
    )


def _exploded(events: DataFrame, uses: Sequence[Column]) -> DataFrame:
    one_each = F.explode(F.array(*uses)) if len(uses) > 1 else uses[0]
    return events.select(one_each.alias("use")).select("use.*")
