"""Tracking: a model is registered once per training, found by version or alias, and loads."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings


@dataclass(frozen=True)
class _Folder:
    """A lake as far as tracking goes: a root and no catalog. Spares the JVM."""

    root: object
    catalog: None = None


@pytest.fixture
def here(tmp_path):
    moment = datetime(2024, 6, 30, tzinfo=UTC)
    return Run(_Folder(tmp_path), load_settings("dev", environ={}), moment, "test")


def _trained(slope: float) -> tracking.Trained:
    features = pd.DataFrame({"age_years": np.arange(20.0)})
    model = LogisticRegression(C=slope).fit(features, features.age_years > 9)
    return tracking.Trained(model, features, {"C": str(slope)}, {"loss": 0.1}, {"t.json": [1]})


def test_model_loads_by_version_and_by_alias_with_the_same_predictions(here):
    trained = _trained(1.0)
    made = tracking.register(here, "risk", "a", trained)
    tracking.set_alias(here, "risk", "champion", made.version)
    expected = trained.estimator.predict_proba(trained.features)
    for which in (made.version, "champion"):
        loaded = tracking.load_model(here, "risk", which)
        np.testing.assert_array_equal(loaded.predict_proba(trained.features), expected)


def test_the_same_training_is_registered_once_and_another_gets_the_next_version(here):
    first = tracking.register(here, "risk", "a", _trained(1.0))
    assert tracking.register(here, "risk", "a", _trained(1.0)) == first
    assert tracking.register(here, "risk", "b", _trained(0.1)).version == first.version + 1


def test_alias_moves_and_points_nowhere_before_it_is_set(here):
    assert tracking.get_alias_version(here, "risk", "champion") is None
    for digest in "ab":
        made = tracking.register(here, "risk", digest, _trained(1.0))
        assert tracking.get_alias_version(here, "risk", "champion") == (made.version - 1 or None)
        tracking.set_alias(here, "risk", "champion", made.version)
    assert tracking.get_alias_version(here, "risk", "champion") == made.version


def test_a_version_or_alias_that_is_not_there_is_one_clear_line(here):
    with pytest.raises(ModelError, match="no version 7"):
        tracking.load_model(here, "risk", 7)
    with pytest.raises(ModelError, match="no alias 'champion'"):
        tracking.load_model(here, "risk", "champion")
    with pytest.raises(ModelError, match="no version 7"):
        tracking.set_alias(here, "risk", "champion", 7)


def test_nothing_is_printed(here, capfd):
    made = tracking.register(here, "risk", "a", _trained(1.0))
    tracking.describe_version(here, "risk", made.version, {"gate": "passed"}, "First.")
    tracking.load_model(here, "risk", made.version)
    assert capfd.readouterr() == ("", "")
