"""Routed events as rows of condition_occurrence, drug_exposure, procedure_occurrence, ..."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.concepts import (
    NO,
    OPERATOR,
    PRELIMINARY_DIAGNOSIS,
    RESOLVED_CONDITION,
    VERIFICATION,
    YES,
    concept_of,
)
from clinical_lakehouse.standardization.unfed import null
from clinical_lakehouse.tables.omop_clinical import (
    CONDITION_OCCURRENCE,
    DRUG_EXPOSURE,
    MEASUREMENT,
    OBSERVATION,
    PROCEDURE_OCCURRENCE,
)
from clinical_lakehouse.tables.omop_records import DEVICE_EXPOSURE, SPECIMEN


def conditions(events: DataFrame) -> DataFrame:
    """omop.condition_occurrence: one row per routed event."""
    return events.select(
        *_start("condition_occurrence_id", "condition_concept_id"),
        F.col("start_date").alias("condition_start_date"),
        F.col("started_at").alias("condition_start_datetime"),
        F.to_date("ended_at").alias("condition_end_date"),
        F.col("ended_at").alias("condition_end_datetime"),
        F.col("type_concept_id").alias("condition_type_concept_id"),
        _condition_status().alias("condition_status_concept_id"),
        null("STRING", "stop_reason"),
        *_visit(),
        *_source("condition"),
        F.col("clinical_status").alias("condition_status_source_value"),
    )


def drugs(events: DataFrame) -> DataFrame:
    """omop.drug_exposure: one row per routed event; its end is sent, or by days_supply."""
    ended, supply = F.to_date("ended_at"), F.col("days_supply")
    by_supply = F.when(supply >= 1, F.date_add("start_date", supply - 1))
    return events.select(
        *_start("drug_exposure_id", "drug_concept_id"),
        F.col("start_date").alias("drug_exposure_start_date"),
        F.col("started_at").alias("drug_exposure_start_datetime"),
        F.coalesce(ended, by_supply, "start_date").alias("drug_exposure_end_date"),
        F.col("ended_at").alias("drug_exposure_end_datetime"),
        ended.alias("verbatim_end_date"),
        F.col("type_concept_id").alias("drug_type_concept_id"),
        null("STRING", "stop_reason"),
        "refills",
        "quantity",
        "days_supply",
        null("STRING", "sig"),
        _if_sent("route_code", "route_concept_id").alias("route_concept_id"),
        null("STRING", "lot_number"),
        *_visit(),
        *_source("drug"),
        _cut("route_code").alias("route_source_value"),
        _cut("dose_unit").alias("dose_unit_source_value"),
    )


def procedures(events: DataFrame) -> DataFrame:
    """omop.procedure_occurrence: one row per routed event."""
    return events.select(
        *_start("procedure_occurrence_id", "procedure_concept_id"),
        F.col("start_date").alias("procedure_date"),
        F.col("started_at").alias("procedure_datetime"),
        F.to_date("ended_at").alias("procedure_end_date"),
        F.col("ended_at").alias("procedure_end_datetime"),
        F.col("type_concept_id").alias("procedure_type_concept_id"),
        null("INT", "modifier_concept_id"),
        null("INT", "quantity"),
        *_visit(),
        *_source("procedure"),
        null("STRING", "modifier_source_value"),
    )


def measurements(events: DataFrame) -> DataFrame:
    """omop.measurement: one row per routed event; value and range stay in the unit as sent."""
    return events.select(
        *_start("measurement_id", "measurement_concept_id"),
        F.col("start_date").alias("measurement_date"),
        F.col("started_at").alias("measurement_datetime"),
        null("STRING", "measurement_time"),
        F.col("type_concept_id").alias("measurement_type_concept_id"),
        concept_of("comparator", OPERATOR).alias("operator_concept_id"),
        F.col("value_number").alias("value_as_number"),
        _value_concept().alias("value_as_concept_id"),
        _unit_concept("unit_concept_id").alias("unit_concept_id"),
        "range_low",
        "range_high",
        *_visit(),
        *_source("measurement"),
        _unit().alias("unit_source_value"),
        _unit_concept("unit_source_concept_id").alias("unit_source_concept_id"),
        _value().alias("value_source_value"),
        null("BIGINT", "measurement_event_id"),
        null("INT", "meas_event_field_concept_id"),
    )


def observations(events: DataFrame) -> DataFrame:
    """omop.observation: one row per routed event; value stays in the unit as sent."""
    return events.select(
        *_start("observation_id", "observation_concept_id"),
        F.col("start_date").alias("observation_date"),
        F.col("started_at").alias("observation_datetime"),
        F.col("type_concept_id").alias("observation_type_concept_id"),
        F.col("value_number").alias("value_as_number"),
        F.substring("value_display", 1, 60).alias("value_as_string"),
        _value_concept().alias("value_as_concept_id"),
        null("INT", "qualifier_concept_id"),
        _unit_concept("unit_concept_id").alias("unit_concept_id"),
        *_visit(),
        *_source("observation"),
        _unit().alias("unit_source_value"),
        _cut("interpretation_code").alias("qualifier_source_value"),
        _value().alias("value_source_value"),
        null("BIGINT", "observation_event_id"),
        null("INT", "obs_event_field_concept_id"),
    )


def devices(events: DataFrame) -> DataFrame:
    """omop.device_exposure: one row per routed event; identifiers of the device stay out."""
    return events.select(
        *_start("device_exposure_id", "device_concept_id"),
        F.col("start_date").alias("device_exposure_start_date"),
        F.col("started_at").alias("device_exposure_start_datetime"),
        F.to_date("ended_at").alias("device_exposure_end_date"),
        F.col("ended_at").alias("device_exposure_end_datetime"),
        F.col("type_concept_id").alias("device_type_concept_id"),
        null("STRING", "unique_device_id"),
        null("STRING", "production_id"),
        null("INT", "quantity"),
        *_visit(),
        *_source("device"),
        null("INT", "unit_concept_id"),
        null("STRING", "unit_source_value"),
        null("INT", "unit_source_concept_id"),
    )


def specimens(events: DataFrame) -> DataFrame:
    """omop.specimen: one row per routed event; quantity stays in the unit as sent."""
    return events.select(
        *_start("specimen_id", "specimen_concept_id"),
        F.col("type_concept_id").alias("specimen_type_concept_id"),
        F.col("start_date").alias("specimen_date"),
        F.col("started_at").alias("specimen_datetime"),
        "quantity",
        _unit_concept("unit_concept_id").alias("unit_concept_id"),
        _if_sent("site_code", "site_concept_id").alias("anatomic_site_concept_id"),
        null("INT", "disease_status_concept_id"),
        F.col("source_key").cast("string").alias("specimen_source_id"),
        _cut("code").alias("specimen_source_value"),
        _unit().alias("unit_source_value"),
        _cut("site_code").alias("anatomic_site_source_value"),
        null("STRING", "disease_status_source_value"),
    )


def _start(key: str, concept: str) -> tuple[Column, ...]:
    return (
        F.col("omop_key").alias(key),
        F.col("subject_key").alias("person_id"),
        F.coalesce("concept_id", F.lit(0)).alias(concept),
    )


def _visit() -> tuple[Column, ...]:
    """The provider is the visit's, as OHDSI's ETL of Synthea has it."""
    return (
        F.col("provider_id"),
        F.col("visit_occurrence_id"),
        F.col("visit_detail_id"),
    )


def _source(lead: str) -> tuple[Column, Column]:
    return (
        _cut("code").alias(f"{lead}_source_value"),
        F.coalesce("source_concept_id", F.lit(0)).alias(f"{lead}_source_concept_id"),
    )


def _condition_status() -> Column:
    """A diagnosis that is not certain is preliminary, whatever became of it since."""
    verified = concept_of("status", VERIFICATION)
    is_certain = F.coalesce(verified != PRELIMINARY_DIAGNOSIS, F.lit(True))
    resolved = F.when(F.col("clinical_status") == "resolved", F.lit(RESOLVED_CONDITION))
    return F.coalesce(F.when(is_certain, resolved), verified)


def _value_concept() -> Column:
    """Null without a value or for a number, 0 for a value that no concept stands for."""
    is_number = F.col("value_number").isNotNull()
    is_yes = F.col("value_boolean")
    was_sent = F.col("has_value") | F.col("value_code").isNotNull()
    return (
        F.when(F.col("value_concept_id").isNotNull(), F.col("value_concept_id"))
        .when(is_yes.isNotNull(), F.when(is_yes, F.lit(YES)).otherwise(F.lit(NO)))
        .when(was_sent & ~is_number, F.lit(0))
    )


def _value() -> Column:
    number = F.concat(F.coalesce("comparator", F.lit("")), F.col("value_number").cast("string"))
    said = F.coalesce(F.col("value_code"), F.col("value_boolean").cast("string"), number)
    return F.substring(said, 1, 50)


def _unit() -> Column:
    return F.substring(F.coalesce("unit_code", "unit"), 1, 50)


def _unit_concept(column: str) -> Column:
    """Null where no unit was sent, 0 where it is unknown."""
    was_sent = F.coalesce(F.col("unit_code"), F.col("unit")).isNotNull()
    return F.when(was_sent, F.coalesce(F.col(column), F.lit(0)))


def _if_sent(code: str, concept: str) -> Column:
    return F.when(F.col(code).isNotNull(), F.coalesce(F.col(concept), F.lit(0)))


def _cut(column: str) -> Column:
    """The CDM keeps 50 characters of a source value."""
    return F.substring(F.col(column), 1, 50)


# What the rows of each event table of the CDM are made with.
SHAPES = {
    MEASUREMENT.name: (MEASUREMENT, measurements),
    OBSERVATION.name: (OBSERVATION, observations),
    DRUG_EXPOSURE.name: (DRUG_EXPOSURE, drugs),
    CONDITION_OCCURRENCE.name: (CONDITION_OCCURRENCE, conditions),
    PROCEDURE_OCCURRENCE.name: (PROCEDURE_OCCURRENCE, procedures),
    DEVICE_EXPOSURE.name: (DEVICE_EXPOSURE, devices),
    SPECIMEN.name: (SPECIMEN, specimens),
}
