"""Every code the source uses, counted, and the concepts it maps to: small however many rows."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.events import TEXT
from clinical_lakehouse.standardization.vocabulary import vocabulary_of

_UCUM = "http://unitsofmeasure.org"
_SNOMED = "http://snomed.info/sct"
_LETTERS = 20
USE = ("source_table", "role", "code_system", "code")


def used_codes(events: Mapping[str, DataFrame]) -> DataFrame:
    """gold.used_code: one row per source table, role, code system and code in events."""
    uses = [_per_role(rows, name) for name, rows in events.items()]
    counted = reduce(DataFrame.union, uses).groupBy(*USE)
    return counted.agg(F.max("display").alias("display"), F.count(F.lit(1)).alias("row_count"))


def known_codes(uses: DataFrame) -> DataFrame:
    """One row per vocabulary_id and code in use."""
    return uses.filter("code <> ''").select(_vocabulary(), "code").distinct()


def counted_codes(uses: DataFrame) -> DataFrame:
    """One row per vocabulary_id and code in use: how many records hold it."""
    named = uses.filter("code <> ''").select(_vocabulary(), "code", "row_count")
    return named.groupBy("vocabulary_id", "code").agg(F.sum("row_count").alias("row_count"))


def map_codes(uses: DataFrame, maps: DataFrame, by_hand: DataFrame) -> DataFrame:
    """gold.code_map: a row per used code and standard concept, or one with 0 and the reason.

    What a person has mapped (`by_hand`) goes before what the vocabulary says (`maps`).
    """
    others = maps.join(by_hand, ["vocabulary_id", "code"], "left_anti")
    known = uses.select("*", _vocabulary())
    joined = known.join(others.unionByName(by_hand), ["vocabulary_id", "code"], "left")
    return joined.select(
        *USE,
        F.coalesce("map_index", F.lit(0)).alias("map_index"),
        "display",
        "row_count",
        F.coalesce("source_concept_id", F.lit(0)).alias("source_concept_id"),
        F.coalesce("concept_id", F.lit(0)).alias("concept_id"),
        "domain_id",
        "value_concept_id",
        _reason().alias("reason"),
    )


def unmapped_codes(code_map: DataFrame) -> DataFrame:
    """gold.unmapped_code: the codes of the map without a standard concept."""
    without = code_map.filter("reason IS NOT NULL")
    counted = ("display", "row_count", "source_concept_id", "reason")
    return without.select(*USE, *counted, _vocabulary().alias("source_vocabulary_id"))


def _vocabulary() -> Column:
    """The OMOP vocabulary of a code, else the end of its system's URI: the CDM has 20 letters."""
    name = F.coalesce(vocabulary_of("code_system"), F.right(F.col("code_system"), F.lit(_LETTERS)))
    return name.alias("vocabulary_id")


def _reason() -> Column:
    return (
        F.when(F.col("concept_id").isNotNull(), F.lit(None))
        .when((F.col("code") == "") | (F.col("code_system") == TEXT), "no_code")
        .when(vocabulary_of("code_system").isNull(), "unknown_system")
        .when(F.col("source_concept_id").isNull(), "unknown_code")
        .when(F.col("fault").isNotNull(), F.col("fault"))
        .otherwise("no_standard_map")
    )


def _per_role(events: DataFrame, source_table: str) -> DataFrame:
    """One row per code of an event; the event itself counts also where it was sent without one."""
    exploded = _exploded(events, uses_of(events)).filter("role = 'event' OR code <> ''")
    return exploded.select(F.lit(source_table).alias("source_table"), *USE[1:], "display")


def uses_of(events: DataFrame) -> list[Column]:
    """What an event's columns code, by role: structs of role, code_system, code and display."""
    used = [_use("event", F.col("code_system"), "code", F.col("display"))]
    if "value_code" in events.columns:
        used.append(_use("value", F.col("value_system"), "value_code", F.col("value_display")))
    if "unit_code" in events.columns:
        used.append(_use("unit", F.lit(_UCUM), "unit_code", F.col("unit")))
    if "route_code" in events.columns:
        used.append(_use("route", F.lit(_SNOMED), "route_code", F.lit(None)))
    if "site_code" in events.columns:
        used.append(_use("site", F.col("site_code_system"), "site_code", F.lit(None)))
    return used


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
