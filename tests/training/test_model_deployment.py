"""The alias follows the gate; scores are made once, after the last training date, on workers."""

from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_GATE, PREDICTION
from clinical_lakehouse.training.model_deployment import promote, score
from tests.builders import rows
from tests.training.conftest import FIRST, register

NAME = "dropout_risk"


def _gate(run, version, is_passed):
    given = {"model_name": NAME, "model_version": version, "is_passed": is_passed}
    run.lake.merge(MODEL_GATE, rows(run.lake, MODEL_GATE, {**given, "reason": "Because."}))


def _champion(run):
    return tracking.get_alias_version(run, NAME, "champion")


def test_alias_moves_only_on_a_passed_gate_of_the_newest_version(world):
    assert promote.execute(world)["outcome"] == "not evaluated"
    _gate(world, 1, False)
    assert promote.execute(world) == {
        "outcome": "gate failed",
        "model_version": 1,
        "champion": None,
    }
    assert _champion(world) is None
    _gate(world, 1, True)
    assert promote.execute(world)["outcome"] == "promoted"
    assert promote.execute(world)["outcome"] == "already champion"
    assert _champion(world) == 1


@pytest.mark.soak
def test_a_newer_version_without_a_passed_gate_leaves_the_champion(world):
    _gate(world, 1, True)
    promote.execute(world)
    frame = pd.DataFrame({"age_years": [50.0, 70.0]})
    assert register(world, LogisticRegression().fit(frame, [0, 1]), frame, "two") == 2
    assert promote.execute(world)["outcome"] == "not evaluated"
    _gate(world, 2, False)
    assert promote.execute(world)["outcome"] == "gate failed"
    assert _champion(world) == 1
    _gate(world, 2, True)
    promote.execute(world)
    assert _champion(world) == 2


def test_without_a_champion_nothing_is_scored_and_the_outcome_is_named(world):
    assert score.execute(world) == {"outcome": "no champion"}
    assert world.lake.read(PREDICTION).count() == 0


@pytest.mark.soak
def test_every_row_after_the_last_training_date_is_scored_once_and_keeps_its_first_moment(world):
    tracking.set_alias(world, NAME, "champion", 1)
    told = score.execute(world)
    made = (
        world.lake.read(PREDICTION).toPandas().sort_values(["research_subject_key", "index_date"])
    )
    after = world.lake.read(SUBJECT_FEATURE).toPandas()
    after = after[after.index_date > FIRST + timedelta(days=35)]
    after = after.sort_values(["research_subject_key", "index_date"])
    assert told["row_count"] == len(made)
    assert made.index_date.min() == date(2024, 2, 12)
    assert list(made.research_subject_key) == list(after.research_subject_key)
    expected = tracking.load_model(world, NAME, 1).predict_proba(after[["age_years"]])[:, 1]
    assert list(made.score) == pytest.approx(list(expected), abs=1e-12)
    later = replace(world, as_of=world.as_of + timedelta(days=1))
    assert score.execute(later)["row_count"] == 0
    again = (
        world.lake.read(PREDICTION).toPandas().sort_values(["research_subject_key", "index_date"])
    )
    pd.testing.assert_frame_equal(made.reset_index(drop=True), again.reset_index(drop=True))


@pytest.mark.soak
def test_rows_after_as_of_are_not_scored(world):
    tracking.set_alias(world, NAME, "champion", 1)
    score.execute(replace(world, as_of=world.as_of.replace(month=2, day=13)))
    assert {row.index_date for row in world.lake.read(PREDICTION).collect()} == {date(2024, 2, 12)}


def test_features_of_other_definitions_are_refused(world):
    tracking.set_alias(world, NAME, "champion", 1)
    other = world.lake.read(SUBJECT_FEATURE).replace("v1", "v2", ["feature_version"])
    world.lake.merge(SUBJECT_FEATURE, other)
    with pytest.raises(ModelError, match="retrain"):
        score.execute(world)
    assert world.lake.read(PREDICTION).count() == 0
