"""Which silver records an OMOP row is made of, and which OMOP rows a silver record became.

Nothing is written down for it: the keys say it, and this module says how they are made.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.events import Source
from clinical_lakehouse.standardization.routing import omop_key
from clinical_lakehouse.tables import omop_clinical, omop_places, omop_records, silver
from clinical_lakehouse.tables.contract import Table

# OMOP tables whose key is the silver key itself.
SAME_KEY: Mapping[str, tuple[Table, ...]] = {
    omop_clinical.PERSON.name: (silver.PATIENT,),
    omop_clinical.OBSERVATION_PERIOD.name: (silver.PATIENT,),
    omop_clinical.DEATH.name: (silver.PATIENT,),
    omop_clinical.VISIT_OCCURRENCE.name: (silver.ENCOUNTER,),
    omop_records.VISIT_DETAIL.name: (silver.ENCOUNTER,),
    omop_places.CARE_SITE.name: (silver.ORGANIZATION, silver.LOCATION),
    omop_places.PROVIDER.name: (silver.PRACTITIONER,),
    omop_records.PAYER_PLAN_PERIOD.name: (silver.COVERAGE,),
}
# OMOP tables of events: the key is routing.omop_key.
EVENT_TABLES = (
    omop_clinical.CONDITION_OCCURRENCE,
    omop_clinical.DRUG_EXPOSURE,
    omop_clinical.PROCEDURE_OCCURRENCE,
    omop_clinical.MEASUREMENT,
    omop_clinical.OBSERVATION,
    omop_records.DEVICE_EXPOSURE,
    omop_records.SPECIMEN,
)


def event_keys(rows: DataFrame, source: Source, map_count: int) -> DataFrame:
    """Every key that silver rows can have in OMOP: one row per record and number of its concept.

    `map_count` is the most concepts that a code of the source maps to, at least 1.
    """
    numbers = F.explode(F.sequence(F.lit(0), F.lit(max(map_count, 1) - 1)).cast("array<int>"))
    numbered = rows.select(
        F.lit(source.table.name).alias("source_table"),
        F.col(source.key).alias("source_key"),
        F.expr(source.component_index).cast("int").alias("component_index"),
        numbers.alias("map_index"),
    )
    return numbered.withColumn("omop_key", omop_key())


def condition_era_members(eras: DataFrame, occurrences: DataFrame) -> DataFrame:
    """Occurrences (condition_occurrence_id) of each era (condition_era_id)."""
    same = ["person_id", "condition_concept_id"]
    begun, ended = F.col("condition_era_start_date"), F.col("condition_era_end_date")
    own = occurrences.select(*same, "condition_occurrence_id", "condition_start_date")
    return _within(eras.join(own, same), "condition_start_date", begun, ended)


def drug_era_members(eras: DataFrame, exposures: DataFrame, known: DataFrame) -> DataFrame:
    """Exposures (drug_exposure_id) of each era (drug_era_id); `known` are eras.ingredients."""
    taken = exposures.join(known, "drug_concept_id").select(
        "person_id",
        F.col("ingredient_id").alias("drug_concept_id"),
        *("drug_exposure_id", "drug_exposure_start_date"),
    )
    begun, ended = F.col("drug_era_start_date"), F.col("drug_era_end_date")
    same = ["person_id", "drug_concept_id"]
    return _within(eras.join(taken, same), "drug_exposure_start_date", begun, ended)


def dose_era_members(doses: DataFrame, daily: DataFrame) -> DataFrame:
    """Exposures (drug_exposure_id) of each era (dose_era_id); `daily` are eras.daily_doses."""
    begun, ended = F.col("dose_era_start_date"), F.col("dose_era_end_date")
    same = ["person_id", "drug_concept_id", "unit_concept_id", "dose_value"]
    own = daily.select(*same, "drug_exposure_id", "start")
    return _within(doses.join(own, same), "start", begun, ended)


def _within(rows: DataFrame, day: str, begun: Column, ended: Column) -> DataFrame:
    return rows.filter(F.col(day).between(begun, ended))
