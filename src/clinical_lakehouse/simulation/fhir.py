"""Small pieces of FHIR R4 JSON that every resource is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
CVX = "http://hl7.org/fhir/sid/cvx"
UCUM = "http://unitsofmeasure.org"
MEDDRA = "https://www.meddra.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
OWN = "https://clinical-lakehouse.example/"


@dataclass(frozen=True)
class Code:
    """A coded idea in one system."""

    system: str
    code: str
    display: str

    @property
    def coding(self) -> Json:
        """As a FHIR Coding."""
        return {"system": self.system, "code": self.code, "display": self.display}


def concept(*codes: Code, text: str = "") -> Json:
    """A CodeableConcept; its text is the first code's display unless given."""
    return {"coding": [c.coding for c in codes], "text": text or codes[0].display}


def hl7(system: str, code: str) -> Json:
    """A CodeableConcept of an HL7 terminology code system."""
    return {"coding": [{"system": TERMINOLOGY + system, "code": code}]}


def own(system: str, code: str, display: str) -> Json:
    """A Coding of the simulated sponsor's code systems."""
    return {"system": OWN + system, "code": code, "display": display}


def quantity(value: float, unit: str, ucum: str) -> Json:
    """A Quantity in UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": ucum}


def ref(resource_type: str, resource_id: str) -> Json:
    """A literal relative reference."""
    return {"reference": f"{resource_type}/{resource_id}"}


def refs(resource_type: str, resource_ids: Sequence[str]) -> list[Json]:
    """Literal relative references to several resources of one type."""
    return [ref(resource_type, resource_id) for resource_id in resource_ids]


def instant(moment: datetime) -> str:
    """A moment in UTC as a FHIR instant."""
    return moment.isoformat(timespec="seconds") + "Z"


def resource(resource_type: str, resource_id: str, updated: str, **elements: object) -> Json:
    """A first version of a resource, last updated at an instant."""
    return {
        "resourceType": resource_type,
        "id": resource_id,
        "meta": {"versionId": "1", "lastUpdated": updated},
        **elements,
    }


def next_version(of: Json, updated: str, **changes: object) -> Json:
    """The following version of a resource with some elements replaced."""
    version = str(int(of["meta"]["versionId"]) + 1)
    return {**of, "meta": {"versionId": version, "lastUpdated": updated}, **changes}
