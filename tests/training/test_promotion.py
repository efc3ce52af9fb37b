"""Promotion as our own event: one winner, hand-moved aliases found, signatures, rollback."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError, UsageError
from clinical_lakehouse.methods.change_plan import Signing
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.gold_deployment import MODEL_CANARY, MODEL_PROMOTION, SERVED_ANSWER
from clinical_lakehouse.tables.gold_models import MODEL_GATE, MODEL_VERSION
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.training.model_deployment import advance as advance_task
from clinical_lakehouse.training.model_deployment import promote
from clinical_lakehouse.training.model_review import decide
from clinical_lakehouse.training.promotion import (
    Decider,
    approval_row,
    approver,
    promotion_row,
    rollback_target,
    taken_back,
)
from tests.builders import rows

ANA = Decider("ana", "ml_lead", "approval", "Because.")


SIGNED = {"decision": "approve", "version": "2", "role": "ml_lead", "by": "ana"}


def _in_use(run):
    return tracking.in_use(run.lake, run.settings.model.name)


def _event(number, action, from_version, to_version):
    given = {"promotion_number": number, "action": action}
    return {**given, "from_version": from_version, "to_version": to_version}


HISTORY = [_event(1, "promoted", None, 1), _event(2, "promoted", 1, 2), _event(3, "promoted", 2, 3)]


def test_rollback_goes_to_the_version_before_and_never_to_a_bad_one():
    assert rollback_target(HISTORY, None) == 2
    back = [*HISTORY, _event(4, "rolled_back", 3, 2)]
    assert taken_back(back) == {3}
    assert rollback_target(back, None) == 1
    assert rollback_target(back, 3) == 3  # a person may name it
    assert taken_back([*back, _event(5, "promoted", 2, 3)]) == set()
    for bad in ([], HISTORY[:1]):
        with pytest.raises(ModelError, match="nothing to roll back|no earlier version"):
            rollback_target(bad, None)
    with pytest.raises(ModelError, match="not in use before"):
        rollback_target(HISTORY, 7)


def test_only_the_deciding_meaning_lets_a_version_go_on():
    signing = Signing(("ml_lead",), ("review", "approval"), "approval")
    given = {"by": "ana", "role": "ml_lead", "meaning": "review", "why": "Read."}
    review = approval_row(signing, given, 1)
    assert approver([review], signing) is None
    approval = approval_row(signing, {**given, "meaning": "approval", "by": "ben"}, 2)
    assert approver([review, approval], signing).name == "ben"
    for wrong in ({"role": "boss"}, {"meaning": "fine"}):
        with pytest.raises(UsageError, match="must be one of"):
            approval_row(signing, {**given, **wrong}, 1)


@pytest.fixture(scope="module")
def lake_of_models(spark, tmp_path_factory):
    return Lakehouse(spark, tmp_path_factory.mktemp("models") / "lake")


@pytest.fixture
def bare(lake_of_models, request):
    """A run whose model, of this test alone, has one registered version that passed its gate."""
    settings = load_settings("dev", environ={})
    own = settings.model.model_copy(update={"name": request.node.name[5:40]})
    settings = settings.model_copy(update={"model": own})
    run = Run(lake_of_models, settings, datetime(2024, 6, 30, 12, tzinfo=UTC), "test")
    tracking._client(run.lake).create_registered_model(own.name)
    _add(run, 1)
    return run


def _add(run, version, names=("age_years",)):
    """A version without a model file: promotion looks at what is written of it."""
    name = run.settings.model.name
    tracking._client(run.lake).create_model_version(name, "file:///nowhere")
    key = {"model_name": name, "model_version": version}
    told = {"algorithm": "logistic_core", "feature_names": json.dumps(names)}
    run.lake.append(MODEL_VERSION, rows(run.lake, MODEL_VERSION, {**key, **told}))
    passed = {**key, "is_passed": True, "reason": "Because."}
    run.lake.append(MODEL_GATE, rows(run.lake, MODEL_GATE, passed))


def _events(run):
    mine = run.lake.read(MODEL_PROMOTION).filter(F.col("model_name") == run.settings.model.name)
    found = mine.orderBy("promotion_number").collect()
    return [(row.action, row.from_version, row.to_version) for row in found]


def _alerts(run):
    found = run.lake.read(ALERT_EVENT).collect()
    return [row for row in found if json.loads(row.labels)["model"] == run.settings.model.name]


@pytest.fixture
def dev(bare):
    """Version 1 is in use."""
    promote.execute(bare)
    return bare


def _alias(run):
    return tracking.get_alias_version(run, run.settings.model.name, "champion")


def test_of_two_promotions_at_once_one_wins_and_the_other_is_refused_clearly(dev):
    _add(dev, 2)
    name = dev.settings.model.name
    last = tracking.last_promotion(dev, name)
    row = promotion_row(name, "promoted", (1, 2), last, ANA)
    rival = promotion_row(name, "rolled_back", (1, 1), last, ANA)

    def attempt(one):
        try:
            promotions.record(dev, one)
        except ModelError as error:
            return str(error)
        return "won"

    with ThreadPoolExecutor(2) as both:
        told = list(both.map(attempt, (row, rival)))
    assert sorted(text[:33] for text in told) == ["another run changed the version i", "won"]
    winner = (row, rival)[told.index("won")]
    assert len(_events(dev)) == 2
    assert (
        _alias(dev)
        == winner["to_version"]
        == tracking.champion_version(dev, dev.settings.model.name)
    )


def test_while_the_registry_is_down_nothing_is_half_promoted(dev, monkeypatch):
    _add(dev, 2)
    name = dev.settings.model.name
    row = promotion_row(name, "promoted", (1, 2), tracking.last_promotion(dev, name), ANA)
    monkeypatch.setattr(tracking, "_client", lambda lake: (_ for _ in ()).throw(_down()))
    with pytest.raises(ModelError, match="no version 2 in the registry"):
        promotions.record(dev, row)
    monkeypatch.undo()
    assert (_events(dev), _alias(dev)) == ([("promoted", None, 1)], 1)
    promotions.record(dev, row)
    assert (_alias(dev), tracking.champion_version(dev, name)) == (2, 2)


def _down():
    from mlflow.exceptions import MlflowException

    return MlflowException("connection refused")


def test_an_alias_moved_by_hand_is_found_by_the_next_run_put_back_and_told_once(dev):
    _add(dev, 2)
    tracking.set_alias(dev, dev.settings.model.name, "champion", 2)
    assert tracking.champion_version(dev, dev.settings.model.name) == 1
    for _ in range(2):
        promotions.follow(dev, "test", dev.settings.model.name)
    (alert,) = _alerts(dev)
    assert (alert.kind, alert.severity) == ("alias_edited", "critical")
    assert "pointed to version 2, though version 1 is in use" in alert.message
    assert _alias(dev) == 1


@pytest.mark.soak
def test_a_killed_promotion_is_finished_by_the_next_run_without_an_alert(dev, monkeypatch):
    _add(dev, 2)
    monkeypatch.setattr(tracking, "shadow", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        promote.execute(dev)
    monkeypatch.undo()
    assert (_alias(dev), tracking.champion_version(dev, dev.settings.model.name)) == (1, 2)
    assert promote.execute(dev)["outcome"] == "already champion"
    assert _alias(dev) == 2
    assert _alerts(dev) == []


@pytest.mark.soak
def test_in_prod_a_version_waits_for_its_approval(dev):
    _add(dev, 2)
    prod = replace(dev, settings=dev.settings.model_copy(update={"env": "prod"}))
    assert promote.execute(prod)["outcome"] == "waiting for review"
    signature = {"decision": "approve", "version": "2", "role": "ml_lead", "by": "ana"}
    decide.execute(replace(prod, params={**signature, "meaning": "review", "why": "Read."}))
    assert promote.execute(prod)["outcome"] == "canary began"
    assert _in_use(prod) == tracking.InUse(1, 2, 0.05)
    assert promote.execute(prod)["outcome"] == "canary running"
    key = {"model_name": prod.settings.model.name, "model_version": 2, "champion_version": 1}
    won = {**key, "state": "won", "looked_at": prod.as_of + timedelta(days=90)}
    prod.lake.append(MODEL_CANARY, rows(prod.lake, MODEL_CANARY, won))
    assert promote.execute(prod)["outcome"] == "waiting for approval"
    decide.execute(replace(prod, params={**signature, "meaning": "approval", "why": "CR-12"}))
    assert promote.execute(prod)["outcome"] == "promoted"
    last = tracking.last_promotion(prod, prod.settings.model.name)
    told = (last["decided_by"], last["role"], last["meaning"], last["reason"])
    assert told == ("ana", "ml_lead", "approval", "CR-12")
    assert _in_use(prod) == tracking.InUse(2)


def test_a_server_that_is_slow_with_a_canary_stops_it_and_nobody_is_asked_by_it_any_more(dev):
    _add(dev, 2)
    prod = replace(dev, settings=dev.settings.model_copy(update={"env": "prod"}))
    decide.execute(replace(prod, params={**SIGNED, "meaning": "review", "why": "Read."}))
    assert promote.execute(prod)["outcome"] == "canary began"
    asked = {"model_name": prod.settings.model.name, "answered_at": prod.as_of, "risk": 0.5}
    answers = [
        {**asked, "request_id": str(n), "model_version": 2 - n % 2, "latency_ms": 900.0 * (n < 10)}
        for n in range(200)
    ]
    prod.lake.append(SERVED_ANSWER, rows(prod.lake, SERVED_ANSWER, *answers))
    told = advance_task.execute(replace(prod, as_of=prod.as_of + timedelta(hours=1)))
    assert told["outcome"] == "canary lost"
    assert told["reason"] == "A guard stopped it: 5.0% of the answers took over 500 ms, 1% allowed."
    assert _in_use(prod) == tracking.InUse(1)


@pytest.mark.soak
def test_a_rollback_is_one_decision_and_the_bad_version_does_not_come_back(dev):
    _add(dev, 2)
    promote.execute(dev)
    assert _alias(dev) == 2
    given = {"decision": "rollback", "why": "Wrong at site 3.", "by": "ana"}
    later = replace(dev, params=given, as_of=dev.as_of + timedelta(hours=1))
    assert decide.execute(later)["model_version"] == 1
    assert decide.execute(later)["model_version"] == 1  # the same try again goes back once
    assert _events(dev)[1:] == [("promoted", 1, 2), ("rolled_back", 2, 1)]
    assert _alias(dev) == 1
    assert promote.execute(dev)["outcome"] == "rolled back before"


@pytest.mark.soak
def test_outside_the_plan_the_job_stops_names_the_clause_and_alerts(dev):
    _add(dev, 2, [f"x{n}" for n in range(9)])
    with pytest.raises(ModelError, match=r"clause inputs \(conf/deployment/change_plan.yml:\d+\)"):
        promote.execute(dev)
    (alert,) = _alerts(dev)
    assert alert.kind == "change_plan_broken"
    assert tracking.champion_version(dev, dev.settings.model.name) == 1


@pytest.mark.soak
def test_an_alias_from_before_promotions_were_recorded_is_adopted(bare):
    tracking.set_alias(bare, bare.settings.model.name, "champion", 1)
    assert promote.execute(bare)["outcome"] == "already champion"
    assert _events(bare) == [("adopted", None, 1)]
