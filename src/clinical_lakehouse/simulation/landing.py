"""The landing files: one NDJSON file per resource type, opened when first written to."""

from collections import Counter
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import BinaryIO

import orjson

from clinical_lakehouse.simulation.fhir import Json

RESOURCE_TYPES = (
    "AdverseEvent",
    "AllergyIntolerance",
    "Condition",
    "Consent",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "Immunization",
    "Location",
    "MedicationAdministration",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "Procedure",
    "ResearchStudy",
    "ResearchSubject",
)


class Landing:
    """Writes lines that fall in a window of `meta.lastUpdated` and counts them by kind."""

    def __init__(self, folder: Path, window: tuple[date | None, date | None]) -> None:
        self._folder = folder
        low, high = window
        self._low = low.isoformat() if low else ""
        self._high = high.isoformat() if high else "9999"
        self._files: dict[str, BinaryIO] = {}
        self._lines: Counter[str] = Counter()
        self._kinds: dict[str, Counter[str]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Landing":
        self._folder.mkdir(parents=True, exist_ok=True)
        for resource_type in RESOURCE_TYPES:
            (self._folder / f"{resource_type}.ndjson").unlink(missing_ok=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    def write(self, resource: Json, kind: str) -> int | None:
        """Append a resource; its line number, or None outside the window."""
        updated = resource["meta"]["lastUpdated"]
        if not self._low <= updated < self._high:
            return None
        return self._append(resource["resourceType"], orjson.dumps(resource), kind)

    def write_line(self, resource_type: str, line: bytes, updated: str, kind: str) -> int | None:
        """Append a raw line that arrives at an instant; its line number, or None outside."""
        if not self._low <= updated < self._high:
            return None
        return self._append(resource_type, line, kind)

    def _append(self, resource_type: str, line: bytes, kind: str) -> int:
        name = f"{resource_type}.ndjson"
        file = self._files.get(name)
        if file is None:
            file = self._stack.enter_context((self._folder / name).open("wb", 1 << 18))
            self._files[name] = file
            self._kinds[name] = Counter()
        file.write(line)
        file.write(b"\n")
        self._lines[name] += 1
        self._kinds[name][kind] += 1
        return self._lines[name]

    def counts(self) -> dict[str, dict[str, int]]:
        """Lines per file, in all and per kind."""
        return {
            name: {"lines": self._lines[name], **dict(sorted(self._kinds[name].items()))}
            for name in sorted(self._files)
        }
