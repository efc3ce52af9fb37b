"""Seeded random corrections of a trial, told as a source tells them: late, out of order, twice."""

import copy
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

_FIRST = datetime(2024, 7, 1, tzinfo=UTC)
_CODES = (("2345-7", "http://loinc.org"), ("718-7", "http://loinc.org"))
# Resources of few make the cascades: people, consents, visits, sites, staff.
_WEIGHTS = {
    "Observation": 8, "Condition": 5, "MedicationAdministration": 4, "MedicationRequest": 4,
    "Procedure": 4, "Immunization": 3, "AdverseEvent": 3, "Encounter": 4, "Patient": 3,
    "ResearchSubject": 2, "Consent": 2, "AllergyIntolerance": 1, "Organization": 1,
    "Practitioner": 1,
}  # fmt: skip
_STATUSES = {
    "Observation": ("final", "amended", "entered-in-error", "cancelled"),
    "Encounter": ("finished", "cancelled", "entered-in-error", "in-progress"),
    "Procedure": ("completed", "not-done", "entered-in-error"),
    "MedicationAdministration": ("completed", "not-done", "entered-in-error"),
    "MedicationRequest": ("active", "cancelled", "draft"),
    "Immunization": ("completed", "not-done"),
    "Consent": ("active", "inactive"),
}
KINDS = ("insert", "update", "update", "update", "delete", "late", "out-of-order", "twice")


def read_trial(folder: Path) -> dict[str, list[dict]]:
    """The valid resources of a simulated trial by type."""
    found: dict[str, list[dict]] = {}
    for path in sorted(folder.glob("*.ndjson")):
        for line in path.read_bytes().splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                continue
            if isinstance(one, dict) and "id" in one:
                found.setdefault(one["resourceType"], []).append(one)
    return found


class Edits:
    """Corrections drawn from one seed; `deliveries` is a list of resources per delivery."""

    def __init__(self, seed: int, trial: dict[str, list[dict]], deliveries: int) -> None:
        self.draw = random.Random(seed)
        self.held = {kind: list(trial[kind]) for kind in _WEIGHTS if trial.get(kind)}
        self.deliveries: list[list[dict]] = [[] for _ in range(deliveries)]
        self.counts = dict.fromkeys(KINDS, 0)
        self.number = 0

    def make(self, count: int) -> "Edits":
        """Draw so many corrections, spread over the deliveries in order."""
        for number in range(count):
            at = number * len(self.deliveries) // count
            kind = self.draw.choice(KINDS)
            self.counts[kind] += 1
            self._one(kind, at)
        return self

    def _one(self, kind: str, at: int) -> None:
        type_ = self.draw.choices(list(self.held), [_WEIGHTS[k] for k in self.held])[0]
        index = self.draw.randrange(len(self.held[type_]))
        before = self.held[type_][index]
        later = min(at + 1, len(self.deliveries) - 1)
        if kind == "insert":
            fresh = self._edited({**before, "id": f"{before['id'][:20]}n{self.number}"})
            self.held[type_].append(fresh)
            self.deliveries[at].append(fresh)
        elif kind == "delete":
            self.deliveries[at].append(self._deletion(before))
        elif kind == "late":
            old = copy.deepcopy(before)
            self._change(old)
            old["meta"] = {"versionId": "0", "lastUpdated": "2023-01-01T00:00:00Z"}
            self.deliveries[at].append(old)
        elif kind == "twice":
            self.deliveries[at].append(before)
        else:
            first = self._edited(before)
            second = self._edited(first) if kind == "out-of-order" else first
            self.held[type_][index] = second
            self.deliveries[at].append(second)
            if kind == "out-of-order":
                self.deliveries[later].append(first)

    def _time(self) -> str:
        self.number += 1
        return (_FIRST + timedelta(minutes=self.number)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _edited(self, before: dict) -> dict:
        made = copy.deepcopy(before)
        version = int(before.get("meta", {}).get("versionId", "1")) + 1
        made["meta"] = {"versionId": str(version), "lastUpdated": self._time()}
        self._change(made)
        return made

    def _change(self, resource: dict) -> None:
        type_, draw = resource["resourceType"], self.draw
        if "valueQuantity" in resource and draw.random() < 0.6:
            resource["valueQuantity"]["value"] = round(draw.uniform(1, 200), 1)
        if type_ in _STATUSES and draw.random() < 0.5:
            resource["status"] = draw.choice(_STATUSES[type_])
        if "coding" in resource.get("code", {}) and draw.random() < 0.3:
            code, system = draw.choice(_CODES)
            resource["code"] = {"coding": [{"system": system, "code": code}]}
        for name in ("effectiveDateTime", "occurrenceDateTime", "authoredOn", "onsetDateTime"):
            if name in resource and draw.random() < 0.4:
                resource[name] = f"2024-0{draw.randint(1, 5)}-1{draw.randint(0, 9)}"
        if "component" in resource and draw.random() < 0.5:
            resource["component"] = resource["component"][:1]
        if type_ == "Patient":
            resource["birthDate"] = f"{draw.randint(1940, 1990)}-03-04"
            resource["gender"] = draw.choice(("female", "male"))
        if type_ not in ("Patient", "Consent") and "encounter" in resource and draw.random() < 0.2:
            del resource["encounter"]

    def _deletion(self, resource: dict) -> dict:
        url = f"{resource['resourceType']}/{resource['id']}"
        return {
            "resourceType": "Bundle",
            "type": "transaction",
            "meta": {"lastUpdated": self._time()},
            "entry": [{"request": {"method": "DELETE", "url": url}}],
        }
