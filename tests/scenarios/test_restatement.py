"""What was corrupted by hand is made anew from bronze, and no row of anybody else is written."""

import shutil
from dataclasses import replace

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features import feature_store
from clinical_lakehouse.features import restatement as of_features
from clinical_lakehouse.ingestion import restatement as of_silver
from clinical_lakehouse.ingestion.restated_scope import Part
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.restatement_plan import plan_restatement
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.standardization import restatement as of_omop
from clinical_lakehouse.tables import omop_clinical, omop_derived, silver
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.gold_feature_store import FEATURE_VALUE
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_scores import CLINICAL_SCORE
from clinical_lakehouse.tables.gold_standardization import UNIT_CONVERSION
from clinical_lakehouse.tables.ops_audit import AUDIT
from tests.scenarios.conftest import LAYERS
from tests.scenarios.small_trial import DERIVED, content, settled_run, step

RESTATEMENT = (
    *(of_silver.mark, of_silver.publish, of_omop.standardize, of_features.build, of_silver.close),
)
pytestmark = pytest.mark.soak

# What is done to the rows of a person: columns given another value, or rows taken away.
CHANGED = {
    silver.OBSERVATION: {"value_number": "value_number * 10"},
    silver.PATIENT: {"birth_year": "1901"},
    omop_clinical.PERSON: {"year_of_birth": "1901"},
    omop_clinical.VISIT_OCCURRENCE: {"visit_concept_id": "7"},
    omop_clinical.CONDITION_OCCURRENCE: {"condition_concept_id": "7"},
    UNIT_CONVERSION: {"value_standard": "value * 2"},
    SUBJECT_FEATURE: {"age_years": "1"},
}
REMOVED = (
    silver.ENCOUNTER, omop_clinical.MEASUREMENT, omop_clinical.OBSERVATION_PERIOD,
    omop_derived.CONDITION_ERA, CLINICAL_SCORE,
)  # fmt: skip
ADDED = {
    silver.CONDITION: {"condition_key": "condition_key + 1"},
    omop_clinical.DRUG_EXPOSURE: {"drug_exposure_id": "drug_exposure_id + 1"},
}


@pytest.fixture
def made(small_trial, spark, tmp_path):
    """The small trial taken to its features: landing folder and lake."""
    shutil.copytree(small_trial, tmp_path / "made")
    landing, lake = tmp_path / "made" / "landing", Lakehouse(spark, tmp_path / "made" / "lake")
    step(lake, landing, 0, DERIVED)
    return landing, lake


def corrupt(lake, people):
    """Change, remove and add rows of these people, by hand, from silver to gold."""
    made = {**CHANGED, **dict.fromkeys(REMOVED, {}), **ADDED}
    for table, changes in made.items():
        rows = lake.read(table).filter(F.col(table.person_column).isin(people))
        harmed = rows.withColumns(
            {n: F.expr(e).cast(rows.schema[n].dataType) for n, e in changes.items()}
        ).withColumn("is_out", F.lit(table in REMOVED))
        lake.merge(table, harmed.localCheckpoint(), deleted="is_out")


def _files(lake, people):
    """Where each row of others stands: key and file, by table."""
    found = {}
    for table in all_tables().values():
        is_made = table.schema_name in LAYERS and lake.exists(table)
        if is_made and table.person_column:
            others = lake.read(table).filter(~F.col(table.person_column).isin(people))
            rows = others.select(*table.key, "_metadata.file_path").collect()
            found[table.name] = {tuple(row) for row in rows}
    return found


def restate(landing, lake, **given):
    """The tasks of the job restatement; what each says by its key."""
    params = {"why": "a test", "by": "test", "plan": "", **given}
    run = replace(settled_run(lake, landing, 0), run_id="again", params=params)
    return {task.key: task.execute(run) for task in RESTATEMENT}


def people_of(lake):
    """Keys of everybody on the trial."""
    rows = lake.read(silver.SUBJECT).orderBy("subject_key").collect()
    return [row.subject_key for row in rows]


def _versions(lake):
    tables = [t for t in all_tables().values() if t.schema_name in LAYERS and lake.exists(t)]
    return {table.name: lake.version(table) for table in tables}


def test_two_people_are_made_anew_as_planned_and_nobody_else_is_touched(made):
    landing, lake = made
    whole, people = content(lake), people_of(lake)[:2]
    corrupt(lake, people)
    harmed = content(lake)
    assert {n for n in whole if whole[n] != harmed[n]} >= {t.name for t in CHANGED}
    before, versions = _files(lake, people), _versions(lake)
    run, part = settled_run(lake, landing, 0), Part(subjects=tuple(sorted(people)))
    plan = plan_restatement(run, part, load_bundle("dev"), tasks())
    assert _versions(lake) == versions, "a plan changes nothing"
    given = {"subject": ",".join(map(str, people)), "plan": plan.plan_id}
    said = restate(landing, lake, **given)
    assert content(lake) == whole
    assert _files(lake, people) == before
    assert (said["mark"]["resources"], said["mark"]["persons"]) == (plan.resource_count, 2)
    touched = {n for n, v in _versions(lake).items() if v != versions.get(n, -1)}
    touched -= {"gold.restated_person"}
    assert {s.table for s in plan.steps if s.row_count} <= touched <= {s.table for s in plan.steps}
    with pytest.raises(UsageError, match="bronze has changed since that plan"):
        restate(landing, lake, **given | {"subject": given["subject"].split(",")[0]})
    assert {row.action for row in lake.read(AUDIT).collect()} == {"restate"}


def test_values_of_the_feature_store_are_made_anew(made):
    landing, lake = made
    step(lake, landing, 0, (feature_store.collect, feature_store.derive))
    whole, (person, *_) = content(lake), people_of(lake)
    harmed = lake.read(FEATURE_VALUE).filter(F.col("subject_key") == person)
    lake.merge(FEATURE_VALUE, harmed.withColumn("is_out", F.lit(True)), deleted="is_out")
    assert content(lake) != whole
    restate(landing, lake, subject=str(person))
    assert content(lake) == whole
