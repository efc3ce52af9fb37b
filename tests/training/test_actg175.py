"""Real data: every family learns from ACTG175, and the simple one stands unless it is beaten."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods.survival import kaplan_meier
from clinical_lakehouse.training.leakage import leaks
from clinical_lakehouse.training.search import search
from clinical_lakehouse.training.split import time_cut
from tests.conftest import PUBLIC_DATA
from tests.training.actg175 import HORIZON_DAYS, INPUTS, offer, read_trial


@pytest.fixture(scope="module")
def trial():
    """The trial; skipped where the public data are not beside the checkout."""
    path = PUBLIC_DATA / "trial_survival" / "ACTG175.csv"
    if not path.is_file():
        pytest.skip("public data trial_survival is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    return read_trial(path)


def test_who_is_left_out_is_counted_and_the_rest_are_the_trials_people(trial):
    (step,) = trial.steps
    assert (step.before, step.after) == (2139, len(trial.rows))
    assert step.dropped + step.after == step.before
    # Kaplan-Meier takes those left out in as far as they were followed; of the others alone more
    # had the event, for who had it early is always known.
    people = pd.read_csv(PUBLIC_DATA / "trial_survival" / "ACTG175.csv")
    risk = 1 - kaplan_meier(people["days"], people["cens"] == 1).at(HORIZON_DAYS)
    assert risk < trial.rows["is_event"].mean() < risk + 0.02
    assert trial.rows["subject_key"].is_unique


def test_families_learn_from_it_and_a_complex_one_must_be_worth_it(trial):
    rows = trial.rows
    train, test = (
        rows[rows["index_date"] < time_cut(rows)],
        rows[rows["index_date"] >= time_cut(rows)],
    )
    names = ("clinical_score", "logistic_core", "cox", "gradient_boosting")
    choice = search(train, offer(names), 3, 7)
    assert {"clinical_score", "logistic_core"} <= {trial.family for trial in choice.trials}
    if choice.contest is not None and not choice.contest.is_worth_it:
        assert choice.chosen.family in ("clinical_score", "logistic_core")
    risk = choice.fit(train).predict_proba(test[list(choice.features)])[:, 1]
    # CD4 at the start is the best single sign; a model must not be worse than it.
    alone = roc_auc_score(test["is_event"], -test["cd40"])
    assert roc_auc_score(test["is_event"], risk) > alone - 0.02 > 0.55


def test_what_is_known_later_is_named_as_a_leak_and_what_is_used_is_not(trial):
    rows = trial.rows.assign(future=np.where(trial.rows["is_event"], 1.0, 0.0))
    assert {leak.feature for leak in leaks(rows, [*INPUTS, "future"])} == {"future"}
