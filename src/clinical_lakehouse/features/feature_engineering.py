"""Feature engineering: what was known of each trial participation on each index date."""

from pyspark.sql import DataFrame

from clinical_lakehouse.features import events, measures
from clinical_lakehouse.features.definition import feature_version, subject_features
from clinical_lakehouse.features.index_dates import index_rows
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import omop_clinical, silver
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE


@task(
    reads=[
        silver.SUBJECT,
        silver.PATIENT,
        silver.ENCOUNTER,
        silver.ENCOUNTER_COMPLETENESS,
        silver.ADVERSE_EVENT,
        silver.MEDICATION_ADMINISTRATION,
        omop_clinical.MEASUREMENT,
        omop_clinical.CONDITION_OCCURRENCE,
        omop_clinical.DRUG_EXPOSURE,
    ],
    writes=[SUBJECT_FEATURE],
)
def build(run: Run) -> Metrics:
    """Rebuild gold.subject_feature: one row per participation and index date, from values dated up
    to that date only; the same inputs and as_of give the same table."""
    lake, every_days = run.lake, run.settings.model.index_every_days
    subjects, patients = lake.read(silver.SUBJECT), lake.read(silver.PATIENT)
    index = index_rows(subjects, patients, run.as_of.date(), every_days)
    measured = measures.only_measures(lake.read(omop_clinical.MEASUREMENT))
    happened = events.per_index_date(
        index,
        events.visits(shown_encounters(run)),
        events.adverse_events(lake.read(silver.ADVERSE_EVENT)),
        events.doses(lake.read(silver.MEDICATION_ADMINISTRATION)),
        events.drugs(lake.read(omop_clinical.DRUG_EXPOSURE)),
        events.conditions(lake.read(omop_clinical.CONDITION_OCCURRENCE)),
    )
    version = feature_version(every_days)
    wide = measures.per_index_date(index, measured)
    commit = lake.replace(SUBJECT_FEATURE, subject_features(index, wide, happened, version))
    return {"feature_version": version, "delta_version": commit.version}


def shown_encounters(run: Run) -> DataFrame:
    """The encounters that the settings let features see."""
    encounters = run.lake.read(silver.ENCOUNTER)
    if not run.settings.completeness.hide_incomplete_encounters:
        return encounters
    return events.only_complete(encounters, run.lake.read(silver.ENCOUNTER_COMPLETENESS))
