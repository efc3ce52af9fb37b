"""A complex model must be worth more than a simple one; a killed search goes on."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from clinical_lakehouse.training.families import Offer
from clinical_lakehouse.training.search import search
from clinical_lakehouse.training.trial_memory import TrialMemory

NAMES = ("age_years", "phq9_baseline")
OFFER = Offer(NAMES, core=NAMES)


def _rows(is_simple: bool, people: int = 500, seed: int = 5) -> pd.DataFrame:
    """Four dates of people whose risk is a line in age, or high at both ends of age (no line)."""
    draws = np.random.default_rng(seed)
    age = draws.normal(0, 1, people)
    line = 1.8 * age - 1 if is_simple else 2.2 * np.abs(age) ** 1.5 - 2.4
    event = draws.random(people) < 1 / (1 + np.exp(-line))
    frame = pd.DataFrame(
        {
            "subject_key": np.arange(people),
            "index_date": pd.to_datetime("2024-01-01")
            + pd.to_timedelta(7 * draws.integers(0, 4, people), "D"),
            "age_years": age,
            "phq9_baseline": draws.normal(0, 1, people),
            "is_event": event,
        }
    )
    return frame.sort_values("index_date", ignore_index=True)


@pytest.fixture(scope="module")
def curved():
    return _rows(False), search(_rows(False), OFFER, 6, 7)


def test_a_complex_model_wins_where_its_net_benefit_is_larger_beyond_chance(curved):
    _, choice = curved
    assert choice.chosen.family == "gradient_boosting"
    assert choice.contest.gain.low > 0
    row = choice.contest_row()
    assert row["compared_with"] == "simpler" and row["low"] > 0
    assert row["difference"] == pytest.approx(row["value"] - row["other_value"])


def test_the_simple_model_is_the_candidate_where_the_complex_one_gains_nothing():
    choice = search(_rows(True), OFFER, 6, 7)
    assert choice.chosen.family.startswith("logistic")
    assert choice.contest.gain.low <= 0
    row = choice.contest_row()
    assert row["compared_with"] == "more_complex"
    assert row["low"] <= row["difference"] <= row["high"]


def test_every_simple_family_is_tried_however_small_the_budget():
    tried = {trial.family for trial in search(_rows(True), OFFER, 1, 7).trials}
    assert {family.name for family in OFFER.families if family.is_simple} <= tried


KILLED = """
import os, signal, sys
from pathlib import Path
from clinical_lakehouse.training.search import search
from clinical_lakehouse.training.trial_memory import TrialMemory
from tests.training.test_search_contest import OFFER, _rows

class Killing(TrialMemory):
    def keep(self, *given):
        super().keep(*given)
        if len(list(self.folder.glob("*.json"))) == 4:
            os.kill(os.getpid(), signal.SIGKILL)

search(_rows(False), OFFER, 6, 7, Killing(Path(sys.argv[1])))
"""


def test_killed_search_goes_on_and_finds_the_same_best(curved, tmp_path):
    rows, whole = curved
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "trials")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ended.returncode == -9
    memory = TrialMemory(tmp_path / "trials")
    kept = {path.name for path in memory.folder.glob("*.json")}
    assert len(kept) == 4
    assert search(rows, OFFER, 6, 7, memory) == whole
    assert kept < {path.name for path in memory.folder.glob("*.json")}
    memory.forget()
    assert not memory.folder.exists()


@pytest.mark.soak  # a job a trial
def test_trials_on_a_cluster_choose_as_those_of_this_process_do(spark, curved):
    from types import SimpleNamespace

    from clinical_lakehouse.runtime.search_trials import SPARK, search_trials

    rows, whole = curved
    run = SimpleNamespace(lake=SimpleNamespace(spark=spark))
    few = search(rows, OFFER, 2, 7)
    again = search(rows, OFFER, 2, 7, trials=search_trials(run, SPARK, 1))
    assert again == few and len(few.trials) == 4
    assert few.trials == whole.trials[:4]


def test_trials_on_a_cluster_are_refused_over_connect_by_name():
    from types import SimpleNamespace

    from clinical_lakehouse.errors import UsageError
    from clinical_lakehouse.runtime.search_trials import LOCAL, SPARK, search_trials

    remote = type("SparkSession", (), {"__module__": "pyspark.sql.connect.session"})()
    run = SimpleNamespace(lake=SimpleNamespace(spark=remote))
    with pytest.raises(UsageError, match="SparkTrials needs a classic cluster"):
        search_trials(run, SPARK, 2)
    assert len(search_trials(run, LOCAL, 1)) == 0
