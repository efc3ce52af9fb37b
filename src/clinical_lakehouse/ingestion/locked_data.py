"""Which resources are locked (submitted), and what earlier corrections have settled."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.consent_policy import DECIDING_DATES
from clinical_lakehouse.ingestion.resource_edit import value_at

# What a signature may mean (21 CFR 11.50(a)(3)).
MEANINGS = ("review", "approval", "responsibility", "authorship")
# (resource type, logical id)
Named = tuple[str, str]


@dataclass(frozen=True)
class Lock:
    """What is locked: a person's, a type's, a period's resources; None stands for all. Days are the
    source's own, both included."""

    patient_id: str | None = None
    resource_type: str | None = None
    first: date | None = None
    last: date | None = None

    @property
    def id(self) -> str:
        """Twelve digits, the same for the same lock."""
        told = [self.patient_id, self.resource_type, str(self.first), str(self.last)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]

    def holds(self, resource_type: str, patient_id: str | None, at: date | None) -> bool:
        """Is a resource locked? One without a date cannot be shown to lie outside the period."""
        return (
            self.patient_id in (None, patient_id)
            and self.resource_type in (None, resource_type)
            and (at is None or (self.first or at) <= at <= (self.last or at))
        )


@dataclass(frozen=True)
class Past:
    """What stands before a file of corrections is judged: ids of corrections that have landed,
    queries resolved by others than those known, locks in force, and whose each resource is."""

    landed: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    locks: tuple[Lock, ...] = ()
    patients: Mapping[Named, str | None] = field(default_factory=dict)

    def has_locked(self, name: Named, resource: dict[str, Any]) -> bool:
        """Does a lock in force hold the resource as it is given?"""
        if not self.locks:
            return False
        at, person = dated(resource), self.patients.get(name)
        return any(lock.holds(name[0], person, at) for lock in self.locks)


def dated(resource: dict[str, Any]) -> date | None:
    """The day that a resource is about, by the element that consent goes by too."""
    for path in DECIDING_DATES.get(str(resource.get("resourceType")), ()):
        try:
            # A partial date is its first day, as in silver.
            text = (value_at(resource, path) or "")[:10]
            return date.fromisoformat(
                f"{text}-01-01"[:10] if len(text) < len("2024-06-30") else text
            )
        except (KeyError, ValueError):
            continue
    return None


def in_force(rows: Iterable[Mapping[str, Any]]) -> tuple[Lock, ...]:
    """The locks of bronze.data_lock that nobody has taken away: of each the last row counts."""
    last: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["number"]):
        last[row["lock_id"]] = row
    names = ("patient_id", "resource_type", "first_date", "last_date")
    held = (row for row in last.values() if row["action"] == "lock")
    return tuple(Lock(*(row[name] for name in names)) for row in held)


def signed(given: Mapping[str, str], at: datetime) -> dict[str, Any]:
    """Who signs, in which role, what it means and why; UsageError where one of them is missing."""
    if not given.get("role", "").strip():
        raise UsageError("--role is missing: the role in which you sign")
    if given.get("meaning") not in MEANINGS:
        raise UsageError(f"--meaning must be one of {', '.join(MEANINGS)} (21 CFR 11.50)")
    names = {"signed_by": "by", "role": "role", "meaning": "meaning", "reason": "why"}
    return {column: given[name] for column, name in names.items()} | {
        "signed_at": at.astimezone(UTC)
    }


def day(given: Mapping[str, str], name: str) -> date | None:
    """A day of the parameters; UsageError where it is none."""
    try:
        return date.fromisoformat(given[name]) if given.get(name) else None
    except ValueError:
        raise UsageError(f"--{name.removesuffix('_date')} must be a day, e.g. 2024-06-30") from None
