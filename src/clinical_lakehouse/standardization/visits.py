"""Encounters that took place as OMOP visits."""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.concepts import EHR_ENCOUNTER, VISIT, concept_or_zero
from clinical_lakehouse.standardization.routing import NOT_HAPPENED
from clinical_lakehouse.standardization.unfed import null

_INPATIENT = ("IMP", "ACUTE", "NONAC")


def placed_encounters(encounters: DataFrame, unplaced_persons: DataFrame) -> DataFrame:
    """Encounters with `reason`, which says why one is no visit and is null for a visit."""
    lost = unplaced_persons.select(
        F.col("subject_key").alias("_lost_key"), F.lit(True).alias("is_person_unplaced")
    )
    same = F.col("subject_key") == F.col("_lost_key")
    joined = encounters.join(F.broadcast(lost), same, "left").drop("_lost_key")
    begun = F.coalesce("started_at", "ended_at")
    reason = (
        F.when(F.col("status").isin(*NOT_HAPPENED), "not_happened")
        .when(F.col("is_person_unplaced"), "person_unplaced")
        .when(begun.isNull(), "undated")
    )
    return joined.withColumn("begun_at", begun).withColumn("reason", reason)


def visits(placed: DataFrame, as_of: datetime) -> DataFrame:
    """omop.visit_occurrence: one row per encounter that took place.

    Without an end an inpatient stay lasts until `as_of`, any other visit ends on the day it began.
    """
    return placed.filter("reason IS NULL").select(
        F.col("encounter_key").alias("visit_occurrence_id"),
        F.col("subject_key").alias("person_id"),
        concept_or_zero("class_code", VISIT).alias("visit_concept_id"),
        F.to_date("begun_at").alias("visit_start_date"),
        F.col("begun_at").alias("visit_start_datetime"),
        F.coalesce(F.to_date("ended_at"), _open_until(as_of)).alias("visit_end_date"),
        F.col("ended_at").alias("visit_end_datetime"),
        F.lit(EHR_ENCOUNTER).alias("visit_type_concept_id"),
        null("BIGINT", "provider_id"),
        null("BIGINT", "care_site_id"),
        F.substring("class_code", 1, 50).alias("visit_source_value"),
        F.lit(0).alias("visit_source_concept_id"),
        null("INT", "admitted_from_concept_id"),
        null("STRING", "admitted_from_source_value"),
        null("INT", "discharged_to_concept_id"),
        null("STRING", "discharged_to_source_value"),
        null("BIGINT", "preceding_visit_occurrence_id"),
    )


def unplaced_encounters(placed: DataFrame) -> DataFrame:
    """gold.unplaced_record rows of encounters that are no visit."""
    return placed.filter("reason IS NOT NULL").select(
        F.lit("silver.encounter").alias("source_table"),
        F.col("encounter_key").alias("source_key"),
        F.lit(0).alias("component_index"),
        "subject_key",
        "reason",
    )


def _open_until(as_of: datetime) -> Column:
    begun = F.to_date("begun_at")
    is_stay = F.col("class_code").isin(*_INPATIENT)
    return F.when(is_stay, F.greatest(begun, F.lit(as_of.date()))).otherwise(begun)
