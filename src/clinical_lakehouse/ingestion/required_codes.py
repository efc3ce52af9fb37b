"""Required code lists that fhir.resources shortens ("registered | preliminary | +") or leaves out.

Source: FHIR R4 (4.0.1), the value sets of the elements' required bindings.
"""

from collections.abc import Mapping

_OBSERVATION_STATUS = (
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
)
_ENCOUNTER_STATUS = (
    "planned",
    "arrived",
    "triaged",
    "in-progress",
    "onleave",
    "finished",
    "cancelled",
    "entered-in-error",
    "unknown",
)
_REQUEST_STATUS = ("draft", "active", "suspended", "cancelled", "completed", "entered-in-error")
_ITEM_TYPES = (
    "group",
    "display",
    "question",
    "boolean",
    "decimal",
    "integer",
    "date",
    "dateTime",
    "time",
    "string",
    "text",
    "url",
    "choice",
    "open-choice",
    "attachment",
    "reference",
    "quantity",
)
_TASK_STATUS = (
    "draft",
    "requested",
    "received",
    "accepted",
    "rejected",
    "ready",
    "cancelled",
    "in-progress",
    "on-hold",
    "failed",
    "completed",
    "entered-in-error",
)
_COMPARATORS = ("<", "<=", ">=", ">")

REQUIRED_CODES: Mapping[str, tuple[str, ...]] = {
    "CapabilityStatement.format": (),  # MIME types: an open list
    "DetectedIssue.status": _OBSERVATION_STATUS,
    "Observation.status": _OBSERVATION_STATUS,
    "RiskAssessment.status": _OBSERVATION_STATUS,
    "DiagnosticReport.status": (*_OBSERVATION_STATUS, "partial", "appended"),
    "Encounter.status": _ENCOUNTER_STATUS,
    "EncounterStatusHistory.status": _ENCOUNTER_STATUS,
    "DeviceUdiCarrier.entryType": (
        "barcode",
        "rfid",
        "manual",
        "card",
        "self-reported",
        "unknown",
    ),
    "DeviceUseStatement.status": (
        "active",
        "completed",
        "entered-in-error",
        "intended",
        "stopped",
        "on-hold",
    ),
    "QuestionnaireItem.type": _ITEM_TYPES,
    "SupplyRequest.status": (*_REQUEST_STATUS, "unknown"),
    "Task.status": _TASK_STATUS,
    "Quantity.comparator": _COMPARATORS,
    "Age.comparator": _COMPARATORS,
    "Count.comparator": _COMPARATORS,
    "Distance.comparator": _COMPARATORS,
    "Duration.comparator": _COMPARATORS,
}
