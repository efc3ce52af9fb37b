"""The job restatement, at last: features of the marked people, where the lake has any."""

from clinical_lakehouse.features import clinical_scores, feature_engineering, feature_store
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_feature_store import (
    FEATURE_EVENT,
    FEATURE_VALUE,
    FEATURE_VERSION,
)
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_scores import CLINICAL_SCORE
from clinical_lakehouse.tables.gold_standardization import RESTATED_PERSON

# The ordinary steps that make a table whole.
_STEPS = {SUBJECT_FEATURE: feature_engineering.build, CLINICAL_SCORE: clinical_scores.score}
_READS = {table.name: table for step in _STEPS.values() for table in step.reads}


@task(
    reads=[*_READS.values(), RESTATED_PERSON, FEATURE_EVENT, FEATURE_VERSION],
    writes=[*_STEPS, FEATURE_VALUE],
)
def build(run: Run) -> Metrics:
    """Let feature_engineering, clinical_scores and feature_store make their tables, where they have
    made them before, and of these write the rows of the marked people."""
    people = run.lake.read(RESTATED_PERSON).select("subject_key")
    restating = run.with_lake(run.lake.restating(people))
    made = {table: step for table, step in _STEPS.items() if run.lake.exists(table)}
    for step in made.values():
        step.function(restating)
    values = feature_store.restate(restating, people) if run.lake.exists(FEATURE_VALUE) else 0
    return {"tables_written": len(made), "feature_values": values}
