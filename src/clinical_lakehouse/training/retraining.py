"""What asks for a new model: a first one, drift that was confirmed, new outcomes, the calendar."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What a detector says of the model itself; a shift of inputs alone is data_drift of its inputs.
DRIFT_KINDS = ("accuracy_drop", "calibration_drift", "prediction_drift", "data_drift")
INTERVENTION_KIND = "intervention_effect"
_MEASURED = ("accuracy_drop", "calibration_drift")
# So many new outcomes move a model's estimates; fewer are noise (Riley 2019: 10 per parameter).
ENOUGH_OUTCOMES = 50


@dataclass(frozen=True)
class Trigger:
    """Whether to retrain, what asked for it, the alert that did, and why in a sentence."""

    is_due: bool
    trigger: str
    alert: str | None
    reason: str


def decide_trigger(
    champion: int | None, events: Iterable[Mapping[str, Any]], new_outcomes: int
) -> Trigger:
    """The decision, from recent ops.alert_event rows about the version in use.

    Where acting on scores spoils them and nothing measured among those nobody acted on has drifted,
    no model is trained: it would learn that those at risk are safe.
    """
    if champion is None:
        return Trigger(True, "first", None, "No version is in use yet.")
    mine = [row for row in events if _is_about(row, champion)]
    drifted = [row for row in mine if row["kind"] in DRIFT_KINDS and row["severity"] != "info"]
    is_acted_on = any(row["kind"] == INTERVENTION_KIND for row in mine)
    if is_acted_on and not any(row["kind"] in _MEASURED for row in drifted):
        said = "Outcomes are spoilt by acting on the scores, and the model itself has not drifted"
        return Trigger(False, "intervention", None, f"{said}; a new one would learn from that.")
    if drifted:
        worst = min(drifted, key=lambda row: (DRIFT_KINDS.index(row["kind"]), row["fingerprint"]))
        said = f"Confirmed {worst['kind'].replace('_', ' ')}: {worst['message']}"
        return Trigger(True, "drift", worst["fingerprint"], said)
    if new_outcomes >= ENOUGH_OUTCOMES:
        return Trigger(True, "new_information", None, f"{new_outcomes} outcomes are new.")
    return Trigger(True, "schedule", None, "It is time.")


def _is_about(row: Mapping[str, Any], version: int) -> bool:
    """Alerts of data name the version only where a model is measured."""
    return bool(json.loads(row["labels"]).get("version", str(version)) == str(version))
