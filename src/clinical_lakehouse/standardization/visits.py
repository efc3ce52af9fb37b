"""Encounters that took place as OMOP visits, those inside another one as its details."""

from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.concepts import EHR_ENCOUNTER, VISIT, concept_or_zero
from clinical_lakehouse.standardization.routing import NOT_HAPPENED
from clinical_lakehouse.standardization.unfed import null

_INPATIENT = ("IMP", "ACUTE", "NONAC")
# Encounters within encounters within ...: what lies deeper, or in a circle, is a visit of its own.
_LEVELS = 4


def placed_encounters(encounters: DataFrame, lost: DataFrame, patients: DataFrame) -> DataFrame:
    """Encounters with `reason`, which says why one is no visit and is null for a visit.

    `lost` are the persons without a place; `died_on` is the day the person died, where known.
    """
    lost = lost.select(
        F.col("subject_key").alias("_lost_key"), F.lit(True).alias("is_person_unplaced")
    )
    dead = patients.filter("deceased_at IS NOT NULL").select(
        "subject_key", F.to_date("deceased_at").alias("died_on")
    )
    same = F.col("subject_key") == F.col("_lost_key")
    joined = encounters.join(F.broadcast(lost), same, "left").drop("_lost_key")
    begun = F.coalesce("started_at", "ended_at")
    reason = (
        F.when(F.col("status").isin(*NOT_HAPPENED), "not_happened")
        .when(F.col("is_person_unplaced"), "person_unplaced")
        .when(begun.isNull(), "undated")
    )
    with_reason = joined.withColumn("begun_at", begun).withColumn("reason", reason)
    return with_reason.join(dead, "subject_key", "left")


def with_staff_and_site(
    placed: DataFrame, organizations: DataFrame, places: DataFrame, practitioners: DataFrame
) -> DataFrame:
    """Encounters whose site, place and practitioner are null unless their resource has come."""
    known = placed
    for rows, key in (
        (organizations, "organization_key"),
        (places, "location_key"),
        (practitioners, "practitioner_key"),
    ):
        mark = f"_known_{key}"
        marked = rows.select(key, F.lit(True).alias(mark))
        joined = known.join(marked, key, "left")
        known = joined.withColumn(key, F.when(F.col(mark), F.col(key))).drop(mark)
    return known


def nested(placed: DataFrame) -> DataFrame:
    """One row per encounter inside another one of the same person (encounter_key, parent_key) with
    the outermost one (visit_key)."""
    happened = placed.filter("reason IS NULL")
    parents = happened.select(F.col("encounter_key").alias("part_of_key"), "subject_key")
    inner = happened.filter("part_of_key <> encounter_key")
    links = inner.join(parents, ["part_of_key", "subject_key"], "left_semi").select(
        "encounter_key", F.col("part_of_key").alias("parent_key")
    )
    above = links.toDF("visit_key", "_above")
    climbed = links.withColumn("visit_key", F.col("parent_key"))
    for _ in range(_LEVELS - 1):
        higher = climbed.join(above, "visit_key", "left")
        climbed = higher.withColumn("visit_key", F.coalesce("_above", "visit_key")).drop("_above")
    resolved = climbed.join(above, "visit_key", "left_anti")
    return resolved.select("encounter_key", "parent_key", "visit_key")


def with_inner(keys: DataFrame, encounters: DataFrame) -> DataFrame:
    """Encounter keys and those of the encounters inside them, as deep as `nested` looks."""
    parts = encounters.filter("part_of_key <> encounter_key")
    if parts.isEmpty():
        return keys
    inner = parts.select("encounter_key", "part_of_key")
    level, found = keys, keys
    for _ in range(_LEVELS):
        above = level.select(F.col("encounter_key").alias("part_of_key"))
        level = inner.join(above, "part_of_key", "left_semi").select("encounter_key")
        found = found.union(level)
    return found.distinct()


def visits(placed: DataFrame, inside: DataFrame, as_of: datetime) -> DataFrame:
    """omop.visit_occurrence: one row per encounter that took place and is not `inside` another.

    Without an end an inpatient stay lasts until death or `as_of`, any other visit ends on the day
    it began.
    """
    own = placed.filter("reason IS NULL").join(inside, "encounter_key", "left_anti")
    before = Window.partitionBy("subject_key").orderBy("begun_at", "encounter_key")
    return own.select(
        F.col("encounter_key").alias("visit_occurrence_id"),
        F.col("subject_key").alias("person_id"),
        *_what_and_when("visit", as_of),
        F.col("practitioner_key").alias("provider_id"),
        F.coalesce("organization_key", "location_key").alias("care_site_id"),
        F.substring("class_code", 1, 50).alias("visit_source_value"),
        F.lit(0).alias("visit_source_concept_id"),
        *_admission(),
        F.lag("encounter_key").over(before).alias("preceding_visit_occurrence_id"),
    )


def visit_details(placed: DataFrame, inside: DataFrame, as_of: datetime) -> DataFrame:
    """omop.visit_detail: one row per encounter inside another one."""
    before = Window.partitionBy("visit_key").orderBy("begun_at", "encounter_key")
    is_deep = F.col("parent_key") != F.col("visit_key")
    return placed.join(inside, "encounter_key").select(
        F.col("encounter_key").alias("visit_detail_id"),
        F.col("subject_key").alias("person_id"),
        *_what_and_when("visit_detail", as_of),
        F.col("practitioner_key").alias("provider_id"),
        F.coalesce("location_key", "organization_key").alias("care_site_id"),
        F.substring("class_code", 1, 50).alias("visit_detail_source_value"),
        F.lit(0).alias("visit_detail_source_concept_id"),
        *_admission(),
        F.lag("encounter_key").over(before).alias("preceding_visit_detail_id"),
        F.when(is_deep, F.col("parent_key")).alias("parent_visit_detail_id"),
        F.col("visit_key").alias("visit_occurrence_id"),
    )


def links(visits: DataFrame, details: DataFrame) -> DataFrame:
    """The visit, the part of it, and the provider, that each encounter became: visit_link_key is
    the encounter's key."""
    details = only_needed(details, details)
    own = visits.select(
        F.col("visit_occurrence_id").alias("visit_link_key"),
        "visit_occurrence_id",
        null("BIGINT", "visit_detail_id"),
        "provider_id",
    )
    inside = details.select(
        F.col("visit_detail_id").alias("visit_link_key"),
        *("visit_occurrence_id", "visit_detail_id", "provider_id"),
    )
    return own.unionByName(inside)


def only_needed(rows: DataFrame, needed: DataFrame) -> DataFrame:
    """`rows`, or where nothing is `needed` for them a relation known to be empty."""
    return rows.filter("false") if needed.isEmpty() else rows


def unplaced_encounters(placed: DataFrame) -> DataFrame:
    """gold.unplaced_record rows of encounters that are no visit."""
    return placed.filter("reason IS NOT NULL").select(
        F.lit("silver.encounter").alias("source_table"),
        F.col("encounter_key").alias("source_key"),
        F.lit(0).alias("component_index"),
        "subject_key",
        "reason",
    )


def _what_and_when(lead: str, as_of: datetime) -> tuple[Column, ...]:
    return (
        concept_or_zero("class_code", VISIT).alias(f"{lead}_concept_id"),
        F.to_date("begun_at").alias(f"{lead}_start_date"),
        F.col("begun_at").alias(f"{lead}_start_datetime"),
        F.coalesce(F.to_date("ended_at"), _open_until(as_of)).alias(f"{lead}_end_date"),
        F.col("ended_at").alias(f"{lead}_end_datetime"),
        F.lit(EHR_ENCOUNTER).alias(f"{lead}_type_concept_id"),
    )


def _admission() -> tuple[Column, ...]:
    return (
        null("INT", "admitted_from_concept_id"),
        null("STRING", "admitted_from_source_value"),
        null("INT", "discharged_to_concept_id"),
        null("STRING", "discharged_to_source_value"),
    )


def _open_until(as_of: datetime) -> Column:
    """A stay without an end ends when the person dies, else it is still open at `as_of`."""
    begun = F.to_date("begun_at")
    is_stay = F.col("class_code").isin(*_INPATIENT)
    last = F.least(F.col("died_on"), F.lit(as_of.date()))
    return F.when(is_stay, F.greatest(begun, last)).otherwise(begun)
