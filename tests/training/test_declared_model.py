"""A second model is a file of conf/models: serious adverse events go through the same jobs."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from clinical_lakehouse.errors import AccountingError, UsageError
from clinical_lakehouse.methods.change_plan import read_change_plan
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_model_review import LABEL_ATTRITION, MODEL_GATE_CRITERION
from clinical_lakehouse.tables.gold_models import MODEL_GATE, MODEL_VERSION, PREDICTION
from clinical_lakehouse.training.attrition import Step, attrition_rows
from clinical_lakehouse.training.families import FAMILIES, Offer
from clinical_lakehouse.training.model_deployment import promote, score
from clinical_lakehouse.training.model_evaluation import decide, describe, evaluate
from clinical_lakehouse.training.model_training import train
from tests.builders import rows

START, UNTIL = date(2024, 1, 1), date(2024, 9, 30)
NAME = "serious_event_risk"
PRIOR_DAYS, HORIZON_DAYS, MARGIN_DAYS = 30, 30, 30
INDEX_DATES = [START + timedelta(days=7 * week) for week in range(26)]


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _people(count: int = 240) -> list[dict]:
    """Subjects whose rate of serious events grows with Charlson's index, which the baseline (age
    and visits) does not know; every tenth leaves in June."""
    draws, made = np.random.default_rng(8), []
    for key in range(count):
        age, days, day = float(draws.normal(60, 10)), [], START
        charlson = int(draws.integers(0, 6))
        rate = 0.002 * np.exp(0.6 * (charlson - 2))
        while day < UNTIL:
            day += timedelta(days=1 + int(draws.exponential(1 / rate)))
            days.append(day)
        ended = date(2024, 6, 3) if key % 10 == 0 else None
        made.append({"key": key, "age": age, "charlson": charlson, "days": days, "ended": ended})
    return made


@pytest.fixture(scope="module")
def scored(spark, tmp_path_factory):
    """A run whose model was trained, judged, put in use and applied; the people; what was told."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("declared") / "lake")
    people = _people()
    lake.replace(silver.SUBJECT, rows(lake, silver.SUBJECT, *map(_subject, people)))
    events = [one for person in people for one in _events(person)]
    lake.replace(silver.ADVERSE_EVENT, rows(lake, silver.ADVERSE_EVENT, *events))
    features = [one for person in people for one in _features(person)]
    lake.replace(SUBJECT_FEATURE, rows(lake, SUBJECT_FEATURE, *features))
    settings = load_settings("dev", environ={})
    small = settings.models[NAME].model_copy(update={"max_evaluations": 3, "stability_refits": 3})
    settings = settings.model_copy(update={"models": {**settings.models, NAME: small}})
    run = Run(lake, settings, datetime(2024, 9, 30, 6, tzinfo=UTC), "test", {"model": NAME})
    told = {one.key: one.execute(run) for one in (train, evaluate, decide, describe, promote)}
    later = replace(run, as_of=run.as_of + timedelta(hours=1))
    return later, people, {**told, "score": score.execute(later)}


def _subject(person: dict) -> dict:
    ended = person["ended"] and _at(person["ended"])
    keys = {"research_subject_key": person["key"], "subject_key": person["key"] + 1000}
    status = "withdrawn" if ended else "on-study"
    return {**keys, "status": status, "started_at": _at(START), "ended_at": ended}


def _events(person: dict) -> list[dict]:
    """The serious events, and each day before one a harmless one."""
    made = []
    for day in person["days"]:
        for shift, kind in ((0, "serious"), (1, "non-serious")):
            key = 10_000 * person["key"] + 2 * (day - START).days + shift
            when = _at(day - timedelta(days=shift))
            own = {"adverse_event_key": key, "subject_key": person["key"] + 1000}
            made.append({**own, "status": "actual", "seriousness_code": kind, "occurred_at": when})
    return made


def _features(person: dict) -> list[dict]:
    keys = {"research_subject_key": person["key"], "subject_key": person["key"] + 1000}
    known = {"age_years": person["age"], "sex": "female" if person["key"] % 2 else "male"}
    return [
        {**keys, **known, "index_date": day, "feature_version": "v1", "race": "White"}
        | {
            "study_day": (day - START).days,
            "charlson_score": person["charlson"],
            "condition_count": 2,
        }
        | {"serious_event_count": sum(one <= day for one in person["days"])}
        for day in INDEX_DATES
        if person["ended"] is None or day < person["ended"]
    ]


def _expected(people: list[dict]) -> tuple[int, int, int, int]:
    """Rows, those with an event in the 30 days before, those not known yet, and events among the
    rest, counted in plain Python."""
    asked = [(p, day) for p in people for day in INDEX_DATES if not p["ended"] or day < p["ended"]]
    prior = [any(0 <= (day - d).days < PRIOR_DAYS for d in p["days"]) for p, day in asked]
    last = UNTIL - timedelta(days=MARGIN_DAYS + HORIZON_DAYS)
    left = [one for one, is_prior in zip(asked, prior, strict=True) if not is_prior]
    known = [(p, day) for p, day in left if day <= last]
    events = sum(any(0 < (d - day).days <= HORIZON_DAYS for d in p["days"]) for p, day in known)
    return len(asked), sum(prior), len(left) - len(known), events


def test_the_second_model_goes_through_the_jobs_of_the_first_to_scores(scored):
    run, _, told = scored
    assert told["train"]["outcome"] == "trained" and told["evaluate"]["outcome"] == "evaluated"
    assert told["decide"]["outcome"] == "gate passed" and told["promote"]["outcome"] == "promoted"
    (version,) = run.lake.read(MODEL_VERSION).collect()
    assert (version.model_name, version.horizon_days) == (NAME, 30)
    assert run.lake.read(MODEL_GATE).collect()[0].model_name == NAME
    criteria = {row.criterion for row in run.lake.read(MODEL_GATE_CRITERION).collect()}
    assert {"enough_people", "auroc", "leakage", "risk_instability"} <= criteria
    assert told["score"]["row_count"] == run.lake.read(PREDICTION).count() > 0


def test_who_fell_at_each_step_is_counted_and_adds_up(scored):
    run, people, _ = scored
    asked, prior, unknown, events = _expected(people)
    steps = run.lake.read(LABEL_ATTRITION).orderBy("position").collect()
    assert [(one.step, one.dropped_count) for one in steps] == [
        ("prior outcome", prior),
        ("outcome not known yet", unknown),
    ]
    assert (steps[0].before_count, steps[-1].after_count) == (asked, asked - prior - unknown)
    (version,) = run.lake.read(MODEL_VERSION).collect()
    assert version.train_row_count + version.test_row_count == steps[-1].after_count
    assert events > 100


def test_nobody_is_scored_of_whom_the_model_may_not_be_asked(scored):
    run, people, _ = scored
    days = {person["key"]: person["days"] for person in people}
    for row in run.lake.read(PREDICTION).select("research_subject_key", "index_date").collect():
        before = [(row.index_date - day).days for day in days[row.research_subject_key]]
        assert not any(0 <= ago < PRIOR_DAYS for ago in before)


def test_the_other_model_is_untouched(scored):
    run, _, _ = scored
    told = score.execute(replace(run, params={}))
    assert run.settings.model.name == "dropout_risk" and told["outcome"] == "no champion"


def test_a_model_that_is_not_declared_is_refused_by_name_of_those_that_are(scored):
    run, _, _ = scored
    with pytest.raises(UsageError, match="dropout_risk, serious_event_risk"):
        train.execute(replace(run, params={"model": "other"}))


def test_attrition_that_does_not_add_up_is_refused():
    steps = [Step("washout", 10, 2, 8), Step("prior outcome", 7, 1, 6)]
    with pytest.raises(AccountingError, match="prior outcome"):
        attrition_rows("m", steps, 6, _at(UNTIL))
    told = attrition_rows("m", [Step("washout", 10, 2, 8)], 5, _at(UNTIL))
    assert [(one["dropped_count"], one["after_count"]) for one in told] == [(2, 8), (3, 5)]


def test_an_offer_that_lacks_something_says_what():
    with pytest.raises(UsageError, match="logistic_core or logistic_all"):
        _ = Offer(("age_years",), ("age_years",), names=("gradient_boosting",)).families
    with pytest.raises(UsageError, match="clinical_score"):
        _ = Offer(
            ("age_years",), ("age_years",), names=("logistic_core", "clinical_score")
        ).families
    with pytest.raises(UsageError, match="not among the model's inputs: phq9"):
        _ = Offer(("age_years",), ("age_years", "phq9")).families
    narrowed = {"logistic_core": {"C": (2.0, 3.0)}}
    (one,) = Offer(("a",), ("a",), names=("logistic_core",), narrowed=narrowed).families
    assert one.first == {"C": 2.0}
    with pytest.raises(UsageError, match="space of logistic_core: depth"):
        _ = Offer(("a",), ("a",), narrowed={"logistic_core": {"depth": (1, 2)}}).families


def test_every_declared_family_may_be_put_in_use_by_the_change_plan():
    plan = read_change_plan(conf_dir())
    (among,) = [clause.limit for clause in plan.clauses if clause.name == "algorithm"]
    for model in load_settings("prod", environ={}).models.values():
        assert set(model.families) <= set(among), model.name


def test_settings_know_the_families_that_there_are():
    from typing import get_args

    from clinical_lakehouse.runtime.settings import FamilyName

    assert set(get_args(FamilyName)) == {family.name for family in FAMILIES}
