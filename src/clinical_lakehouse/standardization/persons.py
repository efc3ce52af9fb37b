"""Persons, the period each was observed in, and deaths."""

from collections.abc import Iterable
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.concepts import (
    ALGORITHM_ON_EHR,
    EHR,
    ETHNICITY,
    GENDER,
    RACE,
    concept_or_zero,
)
from clinical_lakehouse.standardization.places import location_key
from clinical_lakehouse.standardization.routing import NOT_HAPPENED
from clinical_lakehouse.standardization.unfed import null


def persons(patients: DataFrame, organizations: DataFrame, year: int) -> DataFrame:
    """omop.person: one row per patient whose year of birth the CDM can be told; the site is null
    unless its Organization has come.

    Everybody over 89 is written as born 90 years before `year`, the run's: one age for all of them
    (45 CFR 164.514(b)(2)(i)(C)).
    """
    known = patients.filter(~_is_birth_year_unknown())
    sites = organizations.select("organization_key", F.col("organization_key").alias("site_key"))
    return known.join(sites, "organization_key", "left").select(
        F.col("subject_key").alias("person_id"),
        concept_or_zero("sex", GENDER).alias("gender_concept_id"),
        _year_of_birth(year).alias("year_of_birth"),
        null("INT", "month_of_birth"),
        null("INT", "day_of_birth"),
        null("TIMESTAMP", "birth_datetime"),
        concept_or_zero("race_code", RACE).alias("race_concept_id"),
        concept_or_zero("ethnicity_code", ETHNICITY).alias("ethnicity_concept_id"),
        location_key("state").alias("location_id"),
        null("BIGINT", "provider_id"),
        F.col("site_key").alias("care_site_id"),
        F.col("subject_key").cast("string").alias("person_source_value"),
        F.col("sex").alias("gender_source_value"),
        F.lit(0).alias("gender_source_concept_id"),
        F.col("race_code").alias("race_source_value"),
        F.lit(0).alias("race_source_concept_id"),
        F.col("ethnicity_code").alias("ethnicity_source_value"),
        F.lit(0).alias("ethnicity_source_concept_id"),
    )


def unplaced_persons(patients: DataFrame) -> DataFrame:
    """One row (subject_key) per patient without a year of birth: OHDSI keeps no such person."""
    return patients.filter(_is_birth_year_unknown()).select("subject_key")


def unplaced_patients(patients: DataFrame) -> DataFrame:
    """gold.unplaced_record rows of patients: no year of birth, or a death without a day."""
    no_year = F.when(_is_birth_year_unknown(), "birth_year_unknown")
    no_day = F.when(F.col("is_deceased") & F.col("deceased_at").isNull(), "death_undated")
    return patients.select(
        F.lit("silver.patient").alias("source_table"),
        F.col("subject_key").alias("source_key"),
        F.lit(0).alias("component_index"),
        "subject_key",
        F.coalesce(no_year, no_day).alias("reason"),
    ).filter("reason IS NOT NULL")


def deaths(patients: DataFrame) -> DataFrame:
    """omop.death: one row per person known to have died on a known day."""
    dead = patients.filter(F.col("deceased_at").isNotNull() & ~_is_birth_year_unknown())
    return dead.select(
        F.col("subject_key").alias("person_id"),
        F.to_date("deceased_at").alias("death_date"),
        F.col("deceased_at").alias("death_datetime"),
        F.lit(EHR).alias("death_type_concept_id"),
        null("INT", "cause_concept_id"),
        null("STRING", "cause_source_value"),
        null("INT", "cause_source_concept_id"),
    )


def lost_persons(patients: DataFrame) -> DataFrame:
    """unplaced_persons; where there are none, a relation known to be empty."""
    lost = unplaced_persons(patients)
    return lost.filter("false") if lost.isEmpty() else lost


def observation_periods(records: Iterable[DataFrame], patients: DataFrame) -> DataFrame:
    """omop.observation_period: per placed person from the first dated record to the last.

    `records` are events and encounters with subject_key, status, started_at and ended_at; what did
    not happen does not count.
    """
    dated = reduce(DataFrame.union, [_dates(rows) for rows in records])
    spans = dated.groupBy("subject_key").agg(F.min("first").alias("a"), F.max("last").alias("z"))
    lost = unplaced_persons(patients)
    return spans.join(lost, "subject_key", "left_anti").select(
        F.col("subject_key").alias("observation_period_id"),
        F.col("subject_key").alias("person_id"),
        F.col("a").alias("observation_period_start_date"),
        F.col("z").alias("observation_period_end_date"),
        F.lit(ALGORITHM_ON_EHR).alias("period_type_concept_id"),
    )


def _dates(rows: DataFrame) -> DataFrame:
    happened = rows.filter(~F.coalesce(F.col("status").isin(*NOT_HAPPENED), F.lit(False)))
    first, last = F.least("started_at", "ended_at"), F.greatest("started_at", "ended_at")
    spans = happened.select(
        "subject_key", F.to_date(first).alias("first"), F.to_date(last).alias("last")
    )
    return spans.filter("first IS NOT NULL")


def _is_birth_year_unknown() -> Column:
    return F.col("birth_year").isNull() & ~F.coalesce(F.col("is_over_89"), F.lit(False))


def _year_of_birth(year: int) -> Column:
    return F.when(F.col("is_over_89"), F.lit(year - 90)).otherwise(F.col("birth_year"))
