"""From a code to its concept, and from a concept to the standard one it maps to (OHDSI)."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F


def source_concepts(codes: DataFrame, concepts: DataFrame) -> DataFrame:
    """One concept per known code of `codes` (vocabulary_id and code, distinct): the one that holds,
    else the withdrawn one with the lowest id, with its `fault`.

    Where several hold, nobody can say which is meant: id 0, fault ambiguous.
    """
    keys: Sequence[str] = ("vocabulary_id", "code")
    named = concepts.withColumn("code", F.col("concept_code"))
    holds = in_force("invalid_reason")
    ordered = Window.partitionBy(*keys).orderBy(~holds, "concept_id")
    valid_count = F.count_if(holds).over(Window.partitionBy(*keys))
    ranked = named.join(codes, list(keys)).select(
        *(*keys, "concept_id", "standard_concept"),
        F.when(valid_count > 1, "ambiguous").when(valid_count == 0, "deprecated").alias("fault"),
        F.row_number().over(ordered).alias("_rank"),
    )
    is_known = ~F.col("fault").eqNullSafe(F.lit("ambiguous"))
    is_standard = F.coalesce(F.col("standard_concept") == "S", F.lit(False))
    return ranked.filter("_rank = 1").select(
        *keys,
        F.when(is_known, F.col("concept_id")).otherwise(0).alias("source_concept_id"),
        (is_standard & F.col("fault").isNull()).alias("is_standard"),
        "fault",
    )


def standard_concepts(sources: DataFrame, concepts: DataFrame, relations: DataFrame) -> DataFrame:
    """One row per source concept and standard concept it maps to, by Maps to, with the concept of
    its value, by Maps to value.

    `sources` comes from source_concepts. One that maps to nothing gives a row with a null
    concept_id.
    """
    kinds = F.col("relationship_id").isin("Maps to", "Maps to value")
    pairs = relations.filter(kinds & in_force("invalid_reason")).select(
        F.col("concept_id_1").alias("source_concept_id"), "relationship_id", "concept_id_2"
    )
    is_target, to = F.col("relationship_id") == "Maps to", F.col("concept_id_2")
    related = sources.filter("source_concept_id > 0").join(pairs, "source_concept_id", "left")
    # A standard concept stands for itself, also where the download's relations were cut.
    itself = F.when(F.col("is_standard"), F.array("source_concept_id")).otherwise(F.array())
    grouped = related.groupBy("vocabulary_id", "code", "source_concept_id", "is_standard").agg(
        F.collect_set(F.when(is_target, to)).alias("targets"),
        F.min(F.when(~is_target, to)).alias("value_concept_id"),
    )
    targets = F.explode(F.array_union(F.col("targets"), itself.cast("array<int>")))
    mapped = grouped.select("vocabulary_id", "code", "value_concept_id", targets.alias("to_id"))
    return _with_unmapped(sources, mapped.join(standard(concepts), "to_id"))


def human_concepts(codes: DataFrame, concepts: DataFrame, source_map: DataFrame) -> DataFrame:
    """The same rows for codes that a person has mapped (omop.source_to_concept_map); only standard
    concepts that hold count."""
    entries = source_map.filter(in_force("invalid_reason")).select(
        F.col("source_vocabulary_id").alias("vocabulary_id"),
        within_50(F.col("source_code")).alias("code_50"),
        "source_concept_id",
        F.col("target_concept_id").alias("to_id"),
    )
    used = codes.withColumn("code_50", within_50(F.col("code")))
    named = entries.join(used, ["vocabulary_id", "code_50"]).join(standard(concepts), "to_id")
    sources = named.groupBy("vocabulary_id", "code").agg(
        F.max("source_concept_id").alias("source_concept_id"),
        F.lit(None).cast("string").alias("fault"),
    )
    found = named.withColumn("value_concept_id", F.lit(None).cast("int"))
    return _with_unmapped(sources, found)


def within_50(code: Column) -> Column:
    """A code as source_to_concept_map's 50 characters hold it: a longer one ends in its hash."""
    digest = F.lpad(F.hex(F.xxhash64(code)), 16, "0")
    return F.when(F.length(code) <= 50, code).otherwise(
        F.concat(F.substring(code, 1, 33), F.lit("#"), digest)
    )


def standing_for(concepts: DataFrame, relations: DataFrame) -> DataFrame:
    """One row per concept that holds (concept_id) and standard concept it stands for (to_id)."""
    own = concepts.filter(in_force("invalid_reason")).select("concept_id")
    maps = relations.filter((F.col("relationship_id") == "Maps to") & in_force("invalid_reason"))
    to = maps.select(
        F.col("concept_id_1").alias("concept_id"), F.col("concept_id_2").alias("to_id")
    )
    itself = standard(concepts).select(F.col("to_id").alias("concept_id"), "to_id")
    mapped = to.join(own, "concept_id", "left_semi").join(standard(concepts), "to_id", "left_semi")
    return mapped.select("concept_id", "to_id").unionByName(itself).distinct()


def standard(concepts: DataFrame) -> DataFrame:
    """Standard concepts that hold: to_id and domain_id."""
    standard = concepts.filter((F.col("standard_concept") == "S") & in_force("invalid_reason"))
    return standard.select(F.col("concept_id").alias("to_id"), "domain_id")


def _with_unmapped(sources: DataFrame, found: DataFrame) -> DataFrame:
    per_code = Window.partitionBy("vocabulary_id", "code").orderBy("to_id")
    ranked = found.withColumn("map_index", F.row_number().over(per_code) - 1)
    kept = ranked.select(
        *("vocabulary_id", "code", "to_id", "domain_id", "map_index", "value_concept_id")
    )
    return sources.join(kept, ["vocabulary_id", "code"], "left").select(
        "vocabulary_id",
        "code",
        "source_concept_id",
        F.col("to_id").alias("concept_id"),
        "domain_id",
        F.coalesce("map_index", F.lit(0)).alias("map_index"),
        "value_concept_id",
        "fault",
    )


def in_force(column: str) -> Column:
    """Is an entry of the vocabulary, by its column invalid_reason, still in force?"""
    return F.coalesce(F.trim(F.col(column)), F.lit("")) == ""
