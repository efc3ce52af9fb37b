"""Clinical scores: published scores of each trial participation on each index date."""

from clinical_lakehouse.features.index_dates import index_rows
from clinical_lakehouse.features.score_rows import score_rows
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import omop_clinical, silver
from clinical_lakehouse.tables.gold_scores import CLINICAL_SCORE


@task(
    reads=[
        silver.SUBJECT,
        silver.PATIENT,
        omop_clinical.MEASUREMENT,
        omop_clinical.CONDITION_OCCURRENCE,
    ],
    writes=[CLINICAL_SCORE],
)
def score(run: Run) -> Metrics:
    """Rebuild gold.clinical_score: one row per participation, index date and score, from what was
    known by that date; the same inputs and as_of give the same table."""
    lake = run.lake
    subjects, patients = lake.read(silver.SUBJECT), lake.read(silver.PATIENT)
    index = index_rows(subjects, patients, run.as_of.date(), run.settings.model.index_every_days)
    measured = lake.read(omop_clinical.MEASUREMENT)
    diagnosed = lake.read(omop_clinical.CONDITION_OCCURRENCE)
    commit = lake.replace(CLINICAL_SCORE, score_rows(index, measured, diagnosed))
    return {"rows_written": commit.inserted, "delta_version": commit.version}
