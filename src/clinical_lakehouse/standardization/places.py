"""Places, sites and practitioners as the CDM's health system tables; coverage as its periods."""

from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.concepts import GENDER, concept_or_zero
from clinical_lakehouse.standardization.keys import hashed_key
from clinical_lakehouse.standardization.routing import NOT_HAPPENED
from clinical_lakehouse.standardization.unfed import null


def location_key(state: str) -> Column:
    """omop.location's key of a state: null where none is known."""
    return F.when(F.col(state).isNotNull(), hashed_key(F.lit("location"), state))


def locations(*residents: DataFrame) -> DataFrame:
    """omop.location: one row per state that any of these rows names."""
    states = reduce(DataFrame.union, [rows.select("state") for rows in residents])
    return (
        states.filter("state IS NOT NULL")
        .distinct()
        .select(
            location_key("state").alias("location_id"),
            *(null("STRING", name) for name in ("address_1", "address_2", "city")),
            F.when(F.length("state") == 2, F.col("state")).alias("state"),
            *(null("STRING", name) for name in ("zip", "county")),
            F.substring("state", 1, 50).alias("location_source_value"),
            null("INT", "country_concept_id"),
            null("STRING", "country_source_value"),
            *(null("DOUBLE", name) for name in ("latitude", "longitude")),
        )
    )


def care_sites(organizations: DataFrame, places: DataFrame) -> DataFrame:
    """omop.care_site: one row per organization and per place within one."""
    sites = organizations.select(
        F.col("organization_key").alias("site_key"), "name", "state", F.col("type_code").alias("k")
    )
    wards = places.select(
        F.col("location_key").alias("site_key"), "name", "state", F.lit("location").alias("k")
    )
    return sites.unionByName(wards).select(
        F.col("site_key").alias("care_site_id"),
        F.substring("name", 1, 255).alias("care_site_name"),
        F.lit(0).alias("place_of_service_concept_id"),
        location_key("state").alias("location_id"),
        F.col("site_key").cast("string").alias("care_site_source_value"),
        F.substring("k", 1, 50).alias("place_of_service_source_value"),
    )


def providers(practitioners: DataFrame) -> DataFrame:
    """omop.provider: one row per practitioner."""
    return practitioners.select(
        F.col("practitioner_key").alias("provider_id"),
        *(null("STRING", name) for name in ("provider_name", "npi", "dea")),
        F.lit(0).alias("specialty_concept_id"),
        null("BIGINT", "care_site_id"),
        null("INT", "year_of_birth"),
        concept_or_zero("sex", GENDER).alias("gender_concept_id"),
        F.col("practitioner_key").cast("string").alias("provider_source_value"),
        F.substring("specialty_code", 1, 50).alias("specialty_source_value"),
        F.lit(0).alias("specialty_source_concept_id"),
        F.col("sex").alias("gender_source_value"),
        F.lit(0).alias("gender_source_concept_id"),
    )


def placed_coverage(coverage: DataFrame, unplaced_persons: DataFrame) -> DataFrame:
    """Coverage with `reason`, which says why it is no period and is null for one."""
    lost = unplaced_persons.select("subject_key", F.lit(True).alias("is_lost"))
    reason = (
        F.when(F.col("status").isin(*NOT_HAPPENED), "not_happened")
        .when(F.col("is_lost"), "person_unplaced")
        .when(F.col("started_at").isNull(), "undated")
    )
    return coverage.join(lost, "subject_key", "left").withColumn("reason", reason)


def payer_plan_periods(placed: DataFrame, as_of: datetime) -> DataFrame:
    """omop.payer_plan_period: one row per coverage; without an end it lasts until `as_of`."""
    start = F.to_date("started_at")
    end = F.coalesce(F.to_date("ended_at"), F.lit(as_of.date()))
    return placed.filter("reason IS NULL").select(
        F.col("coverage_key").alias("payer_plan_period_id"),
        F.col("subject_key").alias("person_id"),
        start.alias("payer_plan_period_start_date"),
        F.greatest(start, end).alias("payer_plan_period_end_date"),
        F.lit(0).alias("payer_concept_id"),
        F.col("payer_key").cast("string").alias("payer_source_value"),
        F.lit(0).alias("payer_source_concept_id"),
        F.lit(0).alias("plan_concept_id"),
        F.substring("type_code", 1, 50).alias("plan_source_value"),
        F.lit(0).alias("plan_source_concept_id"),
        null("INT", "sponsor_concept_id"),
        null("STRING", "sponsor_source_value"),
        null("INT", "sponsor_source_concept_id"),
        null("STRING", "family_source_value"),
        null("INT", "stop_reason_concept_id"),
        null("STRING", "stop_reason_source_value"),
        null("INT", "stop_reason_source_concept_id"),
    )


def unplaced_coverage(placed: DataFrame) -> DataFrame:
    """gold.unplaced_record rows of coverage that is no period."""
    return placed.filter("reason IS NOT NULL").select(
        F.lit("silver.coverage").alias("source_table"),
        F.col("coverage_key").alias("source_key"),
        F.lit(0).alias("component_index"),
        "subject_key",
        "reason",
    )
