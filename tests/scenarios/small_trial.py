"""Six simulated people taken to OMOP and features by the tasks themselves, in one session."""

from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession

from clinical_lakehouse.features import clinical_scores, feature_engineering
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.standardization import data_standardization as omop
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT
from tests.builders import rows
from tests.ingestion.chain import TASKS, hashes, new_lake, run_on

CONCEPTS = (("2345-7", "Observation"), ("718-7", "Measurement"))
MAPPED = (omop.map_codes, omop.map_places, omop.map_persons, omop.map_visits, omop.map_events)
DERIVED = (
    *(omop.build_eras, omop.standardize_units, feature_engineering.build, clinical_scores.score),
)
# What increments and restatements write down of themselves.
OWN = (
    *("gold.restated_record", "gold.gone_row", "gold.vocabulary_change", "gold.restated_person"),
)


def settled_run(lake, landing, day):
    """A run on some day that lets OMOP be made in increments whenever it can."""
    run = run_on(lake, landing, day)
    how = {"increment_from": 0, "increment_share_max": 1.0}
    changed = run.settings.standardization.model_copy(update=how)
    settings = run.settings.model_copy(update={"standardization": changed})
    return replace(run, settings=settings)


def step(lake, landing, day, tasks):
    """Execute tasks; what each says by its key."""
    run = settled_run(lake, landing, day)
    return {task.key: task.execute(run) for task in tasks}


def content(lake):
    """The content of silver, omop and gold, table by table."""
    layers = ("silver", "omop", "gold")
    made = [t for t in all_tables().values() if t.schema_name in layers and lake.exists(t)]
    return hashes(lake, [t for t in made if t.name not in OWN])


def with_concepts(lake):
    """The lake, in which one laboratory code is an observation."""
    names = ("concept_id", "vocabulary_id", "concept_code", "domain_id", "standard_concept")
    made = [(n, "LOINC", code, domain, "S") for n, (code, domain) in enumerate(CONCEPTS, 1)]
    lake.replace(CONCEPT, rows(lake, CONCEPT, *(dict(zip(names, o, strict=True)) for o in made)))
    return lake


def make_first(spark: SparkSession, folder: Path) -> Path:
    """A folder with `landing`, and a `lake` in which these people are in OMOP."""
    simulate(folder / "landing" / "0", TrialPlan(patients=6, seed=3, months=3))
    lake = with_concepts(new_lake(spark, folder / "lake"))
    step(lake, folder / "landing", 0, (*TASKS, *MAPPED))
    return folder
