"""Covariate extraction: OHDSI's predefined covariates of each trial participation at enrolment."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.ohdsi_analyses import asked_ids, chosen, tables_needed
from clinical_lakehouse.features.ohdsi_covariates import covariates
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import (
    omop_clinical,
    omop_derived,
    omop_records,
    omop_vocabulary,
    silver,
)
from clinical_lakehouse.tables.gold_scores import COVARIATE

_OMOP = [
    omop_clinical.PERSON,
    omop_clinical.OBSERVATION_PERIOD,
    omop_clinical.VISIT_OCCURRENCE,
    omop_clinical.CONDITION_OCCURRENCE,
    omop_clinical.DRUG_EXPOSURE,
    omop_clinical.PROCEDURE_OCCURRENCE,
    omop_clinical.MEASUREMENT,
    omop_clinical.OBSERVATION,
    omop_derived.CONDITION_ERA,
    omop_derived.DRUG_ERA,
    omop_records.VISIT_DETAIL,
    omop_records.DEVICE_EXPOSURE,
    omop_vocabulary.CONCEPT,
    omop_vocabulary.CONCEPT_ANCESTOR,
    omop_vocabulary.CONCEPT_RELATIONSHIP,
]


@task(reads=[silver.SUBJECT, *_OMOP], writes=[COVARIATE], params={"analyses": "default"})
def extract(run: Run) -> Metrics:
    """Rebuild gold.covariate: one row per participation and covariate of the analyses (default,
    all, or ids such as 1,3,210), with the day of enrolment as OHDSI's index date."""
    ids = asked_ids(run.params.get("analyses") or "default")
    needed = tables_needed(chosen(ids))
    cdm = {table.short_name: run.lake.read(table) for table in _OMOP if table.short_name in needed}
    cohort = _entries(run)
    rows = covariates(cohort, cdm, ids).join(cohort, "row_id")
    commit = run.lake.replace(COVARIATE, rows.select(*_columns()))
    return {"rows_written": commit.inserted, "delta_version": commit.version}


def _entries(run: Run) -> DataFrame:
    """The participations that have begun, as an OHDSI cohort."""
    begun = run.lake.read(silver.SUBJECT).filter(F.col("started_at") <= F.lit(run.as_of))
    return begun.select(
        F.col("research_subject_key").alias("row_id"),
        F.col("subject_key").alias("subject_id"),
        F.to_date("started_at").alias("cohort_start_date"),
        F.to_date("ended_at").alias("cohort_end_date"),
    )


def _columns() -> list[Column]:
    return [
        F.col("row_id").alias("research_subject_key"),
        F.col("subject_id").alias("subject_key"),
        F.col("cohort_start_date").alias("index_date"),
        F.col("covariate_id"),
        (F.col("covariate_id") % 1000).cast("int").alias("analysis_id"),
        F.col("covariate_value"),
    ]
