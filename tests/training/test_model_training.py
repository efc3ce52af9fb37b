"""Training: later dates are held out, own rows score nobody, same data give the same model."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.errors import ModelError, UsageError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_model_review import MODEL_COMPARISON, TRAINING_DECISION
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.training.families import CATEGORIES, CORE, Offer
from clinical_lakehouse.training.matrix import INPUTS, as_matrix
from clinical_lakehouse.training.model_reproduction import retrain
from clinical_lakehouse.training.model_training import train
from clinical_lakehouse.training.search import Trial, _loss, _simplest_good, search
from clinical_lakehouse.training.split import cross_fit, fold_of, time_cut

START = date(2024, 1, 1)
UNTIL = date(2024, 9, 30)
HORIZON_DAYS, MARGIN_DAYS = 90, 30


def _people(count: int, seed: int = 3) -> list[dict]:
    """Subjects whose hazard of leaving is log-linear in age and PHQ-9 (rate per 90 days)."""
    draws = np.random.default_rng(seed)
    made = []
    for key in range(count):
        age, phq9 = draws.normal(60, 10), float(np.clip(round(draws.normal(8, 5)), 0, 27))
        rate = 0.15 * np.exp(0.5 * (age - 60) / 10 + 1.0 * (phq9 - 8) / 5)
        enrolled = START + timedelta(days=int(draws.integers(0, 120)))
        leaves = enrolled + timedelta(days=1 + int(draws.exponential(90 / rate)))
        sex = str(draws.choice(["female", "male"])) if key % 10 else None
        facts = {"age_years": float(age), "sex": sex, "phq9_baseline": phq9, "rate": rate}
        weight = float(draws.normal(80, 10)) if key % 3 else None
        facts |= {"hba1c_baseline": float(draws.normal(8, 1)), "weight_latest": weight}
        made.append({**facts, "key": key + 1, "enrolled": enrolled, "leaves": leaves})
    return made


def _feature_rows(people: list[dict]) -> list[dict]:
    made = []
    for person in people:
        day = START
        while day < min(person["leaves"], UNTIL):
            if day >= person["enrolled"]:
                facts = {name: value for name, value in person.items() if name in INPUTS}
                keys = {"research_subject_key": person["key"], "subject_key": person["key"] + 1000}
                made.append({**facts, **keys, "index_date": day, "feature_version": "v1"})
            day += timedelta(days=7)
    return made


def _labelled(people: list[dict]) -> pd.DataFrame:
    """What with_outcome and only_known give, made in plain Python."""
    leaves = {person["key"]: person["leaves"] for person in people}
    last = UNTIL - timedelta(days=HORIZON_DAYS + MARGIN_DAYS)
    known = [row for row in _feature_rows(people) if row["index_date"] <= last]
    for row in known:
        horizon_ends = row["index_date"] + timedelta(days=HORIZON_DAYS)
        row["is_event"] = leaves[row["research_subject_key"]] <= horizon_ends
    wanted = ["subject_key", "research_subject_key", "index_date", "feature_version", *INPUTS]
    return pd.DataFrame(known).reindex(columns=[*wanted, "is_event"])


@pytest.fixture(scope="module")
def matrix():
    """A matrix of 150 subjects."""
    return as_matrix(_labelled(_people(150)))


def test_every_held_out_row_is_dated_after_every_training_row(matrix):
    assert matrix.train["index_date"].max() < matrix.test["index_date"].min()
    dates = [rows["index_date"].nunique() for rows in (matrix.train, matrix.test)]
    assert dates[1] / sum(dates) == pytest.approx(0.3, abs=1 / sum(dates))


def test_race_ethnicity_site_and_keys_are_no_inputs(matrix):
    barred = {"race", "ethnicity", "organization_key", "subject_key", "index_date"}
    assert not barred & set(INPUTS) and {"age_years", "sex"} <= set(INPUTS)
    assert set(CORE) | set(CATEGORIES) <= set(INPUTS)


def test_no_subject_helps_to_score_their_own_rows_and_no_later_date_helps_an_earlier(matrix):
    cut, seen = time_cut(matrix.train, 0.5), []

    class Spy:
        def __init__(self, rows):
            self.rows = rows

        def predict_proba(self, asked):
            seen.append((self.rows, asked))
            return np.column_stack([np.ones(len(asked)), np.zeros(len(asked))])

    scored = cross_fit(matrix.train, cut, Spy)
    assert len(scored) == (matrix.train["index_date"] >= cut).sum() and len(seen) == 5
    for used, asked in seen:
        assert not set(used["subject_key"]) & set(asked["subject_key"])
        assert used["index_date"].max() < cut <= asked["index_date"].min()


def test_folds_are_of_subjects_and_about_equal():
    keys = pd.DataFrame({"subject_key": np.repeat(np.arange(10_000) * 977 - 4_000_000, 2)})
    folds = fold_of(keys)
    assert (folds[::2] == folds[1::2]).all()
    assert np.bincount(folds).tolist() == pytest.approx([4000] * 5, rel=0.05)


def test_log_loss_and_its_error_by_hand():
    scored = pd.DataFrame({"is_event": [True, False, False], "score": [0.5, 0.5, 0.25]})
    loss, error = _loss(scored.assign(subject_key=[1, 1, 2]))
    low = -np.log(0.75)
    mean = (2 * np.log(2) + low) / 3
    assert loss == pytest.approx(mean)
    # Subject 1 exceeds the mean by 2 (log 2 - mean), subject 2 falls short by the same.
    assert error == pytest.approx(2 * (np.log(2) - mean) * np.sqrt(2) / 3)


def test_the_simplest_family_within_one_standard_error_is_chosen():
    trials = [
        Trial("gradient_boosting", {}, 0.40, 0.03),
        Trial("logistic_core", {"C": 1.0}, 0.42, 0.03),
        Trial("logistic_core", {"C": 0.1}, 0.41, 0.03),
    ]
    assert _simplest_good(trials) is trials[2]
    worse = [trials[0], Trial("logistic_core", {"C": 1.0}, 0.44, 0.03)]
    assert _simplest_good(worse) is trials[0]


def test_search_tries_two_families_and_same_rows_and_seed_give_the_same_model(matrix):
    first, second = (search(matrix.train, Offer(INPUTS), 8, 7) for _ in range(2))
    assert first == second and len({trial.family for trial in first.trials}) >= 2
    names = list(first.features)
    risks = [found.fit(matrix.train).predict_proba(matrix.test[names]) for found in (first, second)]
    np.testing.assert_array_equal(*risks)


def test_model_comes_within_3_points_of_the_best_reachable_auroc_on_new_subjects():
    people = _people(600, seed=11)
    matrix = as_matrix(_labelled(people))
    choice = search(matrix.train, Offer(INPUTS), 8, 7)
    strangers = _people(2000, seed=12)
    rows = _labelled(strangers).groupby("subject_key").head(1)
    rate = rows["research_subject_key"].map({p["key"]: p["rate"] for p in strangers})
    best = roc_auc_score(rows["is_event"].astype(bool), rate)
    inputs = rows[list(choice.features)].astype(
        {name: float for name in choice.features if name not in CATEGORIES}
    )
    reached = choice.fit(matrix.train).predict_proba(inputs)[:, 1]
    assert 0.75 < best < 0.9
    assert roc_auc_score(rows["is_event"].astype(bool), reached) > best - 0.03


@pytest.mark.parametrize("spoil", ["few rows", "one class", "none"])
def test_too_little_to_learn_from_is_one_clear_line(spoil):
    rows = _labelled(_people(60))
    rows = {"few rows": rows.head(49), "one class": rows.assign(is_event=False), "none": rows[:0]}[
        spoil
    ]
    with pytest.raises(ModelError, match="too little to train on"):
        as_matrix(rows)


def test_rows_of_two_feature_versions_are_refused():
    rows = _labelled(_people(60))
    rows.loc[0, "feature_version"] = "v0"
    with pytest.raises(ModelError, match="more than one version"):
        as_matrix(rows)


@pytest.fixture(scope="module")
def trained(spark, tmp_path_factory):
    """A run that has trained once, and its metrics."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("training") / "lake")
    people = _people(100)
    subjects = [
        {"research_subject_key": p["key"], "subject_key": p["key"] + 1000, "status": "withdrawn"}
        | {"ended_at": datetime(*p["leaves"].timetuple()[:3], 17, tzinfo=UTC)}
        for p in people
        if p["leaves"].year < 2100
    ]
    lake.replace(silver.SUBJECT, lake.frame(silver.SUBJECT, subjects))
    lake.replace(SUBJECT_FEATURE, lake.frame(SUBJECT_FEATURE, _feature_rows(people)))
    settings = load_settings("dev", environ={})
    settings = settings.model_copy(
        update={"model": settings.model.model_copy(update={"max_evaluations": 3})}
    )
    run = Run(lake, settings, datetime(2024, 9, 30, 6, tzinfo=UTC), "test")
    return run, train.execute(run)


def _versions(run):
    return [row.asDict() for row in run.lake.read(MODEL_VERSION).collect()]


def test_version_is_registered_recorded_and_loads_and_predicts(trained):
    run, metrics = trained
    (row,) = _versions(run)
    assert metrics["outcome"] == "trained" and metrics["model_version"] == row["model_version"]
    matrix = as_matrix(_labelled(_people(100)))
    assert (row["train_row_count"], row["test_row_count"]) == (len(matrix.train), len(matrix.test))
    assert row["train_to_date"] < row["test_from_date"] == matrix.test["index_date"].min()
    assert row["test_to_date"] + timedelta(days=HORIZON_DAYS + MARGIN_DAYS) <= UNTIL
    model = tracking.load_model(run, row["model_name"], row["model_version"])
    risk = model.predict_proba(matrix.test[json.loads(row["feature_names"])])[:, 1]
    assert ((risk > 0) & (risk < 1)).all() and len(set(risk)) > 10
    assert metrics["auroc"] == pytest.approx(roc_auc_score(matrix.test["is_event"], risk))


def test_trained_twice_leaves_one_version_and_the_same_row(trained):
    run, _ = trained
    before = _versions(run)
    assert train.execute(run)["outcome"] == "already trained"
    assert _versions(run) == before


@pytest.mark.soak
def test_killed_between_registry_and_table_trains_the_same_version_again(trained):
    run, _ = trained
    before = _versions(run)
    run.lake.replace(MODEL_VERSION, run.lake.frame(MODEL_VERSION, []))
    assert train.execute(run)["model_version"] == before[0]["model_version"]
    assert _versions(run) == before


def test_training_until_must_be_a_date_not_after_as_of(trained):
    run, _ = trained
    with pytest.raises(UsageError, match="ISO date"):
        train.execute(replace(run, params={"training_until": "soon"}))
    with pytest.raises(UsageError, match="after as_of"):
        train.execute(replace(run, params={"training_until": "2024-10-01"}))


def test_no_outcome_after_training_until_is_used_and_too_little_is_a_normal_outcome(trained):
    run, _ = trained
    early = replace(run, params={"training_until": "2024-04-29"}, as_of=run.as_of.replace(hour=7))
    told = train.execute(early)
    assert (told["outcome"], told["people"]) == ("not enough yet", 0)
    decided = run.lake.read(TRAINING_DECISION).orderBy("decided_at").collect()
    assert [row.outcome for row in decided][-1] == "not enough yet"
    assert decided[-1].model_version is None and "Not enough yet" in decided[-1].sentence


def test_training_tells_what_the_complex_model_would_have_gained(trained):
    run, _ = trained
    (row,) = run.lake.read(MODEL_COMPARISON).collect()
    assert row.compared_with in ("simpler", "more_complex") and row.metric == "net_benefit"
    assert row.low <= row.difference <= row.high


def test_a_version_trained_again_predicts_the_same(trained):
    run, metrics = trained
    (row,) = [one for one in _versions(run) if one["model_version"] == metrics["model_version"]]
    again = replace(run, params={"tracking_run": row["tracking_run_id"]})
    told = retrain.execute(again)
    assert told["outcome"] == "the same" and told["row_count"] == row["test_row_count"]
    assert told["largest_difference"] <= 1e-12
    with pytest.raises(ModelError, match="no version in gold.model_version has this run"):
        retrain.execute(replace(run, params={"tracking_run": "other"}))
    later = replace(again, settings=_with_margin(run.settings, 20))
    with pytest.raises(ModelError, match="rows now"):
        retrain.execute(later)


def _with_margin(settings, days):
    """Other settings leave other rows."""
    privacy = settings.privacy.model_copy(update={"date_shift_days": days})
    return settings.model_copy(update={"privacy": privacy})


def test_a_training_asked_for_again_leaves_the_decision_as_it_was(trained):
    run, _ = trained
    made = run.lake.read(TRAINING_DECISION).filter(F.col("decided_at") == run.as_of)
    before = [tuple(row) for row in made.collect()]
    assert len(before) == 1 and "trained" in before[0]
    train.execute(run)
    assert [tuple(row) for row in made.collect()] == before
