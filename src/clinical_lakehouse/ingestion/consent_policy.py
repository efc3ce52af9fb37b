"""How this lake reads a Consent: which codes it knows, and the date that decides per resource."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

# The elements, in this order, whose first value dates a resource; a period counts by its start.
# Patient is no event: it goes with the person.
DECIDING_DATES: dict[str, tuple[str, ...]] = {
    "Patient": (),
    "AdverseEvent": ("date", "detected", "recordedDate"),
    "AllergyIntolerance": ("onsetDateTime", "onsetPeriod.start", "recordedDate"),
    "Condition": ("onsetDateTime", "onsetPeriod.start", "recordedDate"),
    "Coverage": ("period.start",),
    "Device": (),  # a thing, not an event: always undated
    "DeviceUseStatement": ("timingDateTime", "timingPeriod.start", "recordedOn"),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod.start", "issued"),
    "DocumentReference": ("context.period.start", "date"),
    "Encounter": ("period.start",),
    "Immunization": ("occurrenceDateTime", "recorded"),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod.start"),
    "MedicationRequest": ("authoredOn",),
    "Observation": ("effectiveDateTime", "effectivePeriod.start", "effectiveInstant", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod.start"),
    "ResearchSubject": ("period.start",),
    "Specimen": (
        "collection.collectedDateTime",
        "collection.collectedPeriod.start",
        "receivedTime",
    ),
}


@dataclass(frozen=True)
class Policy:
    """The settings under privacy.consent (conf/base.yml says what each means) and the clock."""

    as_of: datetime
    when_absent: str
    retrospective: str
    starts_with_encounter: bool
    ignored_scopes: tuple[str, ...]
    permit_rules: tuple[str, ...]
    deny_rules: tuple[str, ...]
    provision_rules: tuple[str, ...]
    purposes: tuple[str, ...]
    other_purposes: tuple[str, ...]
    actions: tuple[str, ...]
    other_actions: tuple[str, ...]
    recipients: tuple[str, ...]
    author_roles: tuple[str, ...]
    custodian_roles: tuple[str, ...]
    use_codes: tuple[str, ...]
    retrospective_codes: tuple[str, ...]
    policy_systems: tuple[str, ...]
    clinical_systems: tuple[str, ...]


def policy_of(privacy: Any, as_of: datetime) -> Policy:
    """The policy that settings (`privacy`) ask for, at one moment."""
    return Policy(as_of, privacy.consent_when_absent, **privacy.consent.model_dump())
