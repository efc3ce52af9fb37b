"""What asks for a new model, from the alert to the version in use; never a mere intervention."""

import json
from dataclasses import replace

import pytest

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.tables.gold_deployment import RETRAINING_TRIGGER
from clinical_lakehouse.training.model_deployment import promote
from clinical_lakehouse.training.retraining import ENOUGH_OUTCOMES, decide_trigger
from clinical_lakehouse.training.scheduled_retraining import trigger
from tests.training.test_promotion import _add, bare, dev, lake_of_models  # noqa: F401


def _event(kind, version="3", severity="warning"):
    labels = json.dumps({"model": "m", "version": version})
    given = {"kind": kind, "severity": severity, "labels": labels}
    return {**given, "fingerprint": f"of {kind}", "message": "It fell."}


DROP, EFFECT = _event("accuracy_drop", severity="critical"), _event("intervention_effect")
SHIFT = _event("data_drift")


@pytest.mark.parametrize(
    ("events", "outcomes", "trigger", "alert"),
    [
        ([], 0, "schedule", None),
        ([], ENOUGH_OUTCOMES, "new_information", None),
        ([SHIFT, DROP], 0, "drift", "of accuracy_drop"),
        ([SHIFT], 0, "drift", "of data_drift"),
        ([EFFECT, DROP], 0, "drift", "of accuracy_drop"),
        ([_event("data_drift", severity="info")], 0, "schedule", None),
        ([_event("accuracy_drop", version="2")], 0, "schedule", None),
    ],
)
def test_what_asks_for_a_new_model_is_named_with_its_alert(events, outcomes, trigger, alert):
    found = decide_trigger(3, events, outcomes)
    assert (found.is_due, found.trigger, found.alert) == (True, trigger, alert)


@pytest.mark.parametrize("events", [[EFFECT], [EFFECT, SHIFT]])
def test_a_mere_intervention_never_retrains_whatever_else_is_new(events):
    found = decide_trigger(3, events, 10 * ENOUGH_OUTCOMES)
    assert (found.is_due, found.trigger) == (False, "intervention")


def test_the_first_model_needs_no_reason():
    assert decide_trigger(None, [EFFECT], 0).trigger == "first"


def _see(run, kind):
    labels = {"model": run.settings.model.name, "version": "1"}
    emit(run, "test", [Finding(kind, "warning", labels, 1.0, 0.5, "It fell.", run.as_of)])


@pytest.mark.soak
def test_one_lineage_from_the_alert_to_the_version_in_use(dev):  # noqa: F811
    name = dev.settings.model.name
    _see(dev, "intervention_effect")
    with pytest.raises(ModelError, match="not trained: Outcomes are spoilt"):
        trigger.execute(dev)
    assert trigger.execute(replace(dev, params={"despite": "CR-9"}))["outcome"] == "intervention"
    _see(dev, "accuracy_drop")
    alert = trigger.execute(dev)["alert"]
    _add(dev, 2)
    promote.execute(dev)
    assert tracking.last_promotion(dev, name)["cause"] == alert
    rows = dev.lake.read(RETRAINING_TRIGGER).filter(f"model_name = '{name}'").collect()
    assert [(row.is_due, row.trigger) for row in rows] == [(True, "drift")]
