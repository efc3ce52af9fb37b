"""OHDSI's groups of concepts: SNOMED ancestors of conditions, ATC classes and ingredients."""

from collections.abc import Collection
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_CLINICAL_FINDING = 441840
_ATC_LENGTHS = (1, 3, 4, 5)
# Wide groups that OHDSI keeps although they stand near the root.
_KEPT = (
    *(433736, 433595, 441408, 72404, 192671, 137977, 434621, 437312, 439847, 4171917),
    *(438555, 4299449, 375258, 76784, 40483532, 4145627, 434157, 433778, 258449, 313878),
)
# Names of groups that only order the hierarchy.
_EMPTY_NAMES = (
    *("%finding", "Disorder of%", "Finding of%", "Disease of%", "Injury of%", "%by site"),
    *("%by body site", "%by mechanism", "%of body region", "%of anatomical site"),
    "%of specific body structure%",
)


def groups_of(tables: Collection[str], concepts: DataFrame, ancestors: DataFrame) -> DataFrame:
    """One row per concept of these era tables (concept_id) and group it belongs to (group_id)."""
    made = []
    if "drug_era" in tables:
        made.append(_drug_groups(concepts))
    if "condition_era" in tables:
        made.append(_condition_groups(concepts, ancestors))
    wanted = reduce(DataFrame.unionByName, made).distinct()
    pairs = ancestors.select(
        F.col("descendant_concept_id").cast("bigint").alias("concept_id"),
        F.col("ancestor_concept_id").cast("bigint").alias("group_id"),
    )
    return pairs.join(wanted, "group_id", "left_semi")


def _drug_groups(concepts: DataFrame) -> DataFrame:
    atc = (F.col("vocabulary_id") == "ATC") & F.length("concept_code").isin(*_ATC_LENGTHS)
    ingredient = (
        (F.col("standard_concept") == "S")
        & (F.col("concept_class_id") == "Ingredient")
        & (F.col("domain_id") == "Drug")
    )
    known = concepts.filter((atc | ingredient) & (F.col("concept_id") != 0))
    return known.select(F.col("concept_id").alias("group_id"))


def _condition_groups(concepts: DataFrame, ancestors: DataFrame) -> DataFrame:
    """Clinical findings more than two steps below the root, but for those that say nothing."""
    deep = F.col("min_levels_of_separation") > 2
    below = ancestors.filter(
        (F.col("ancestor_concept_id") == _CLINICAL_FINDING)
        & (deep | F.col("descendant_concept_id").isin(*_KEPT))
    ).select(F.col("descendant_concept_id").alias("concept_id"))
    named = reduce(Column.__and__, (~F.col("concept_name").like(name) for name in _EMPTY_NAMES))
    known = concepts.filter(named & (F.col("domain_id") == "Condition"))
    return known.join(below, "concept_id", "left_semi").select(
        F.col("concept_id").alias("group_id")
    )
