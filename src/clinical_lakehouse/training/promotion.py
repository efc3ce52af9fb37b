"""What becomes of a version that may be promoted: the decision, and the row that records it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clinical_lakehouse.errors import ModelError, UsageError
from clinical_lakehouse.methods.change_plan import Signing

Row = Mapping[str, Any]
PROMOTED, ROLLED_BACK, ADOPTED = "promoted", "rolled_back", "adopted"
JOB = "model_deployment"  # who decides where no person does


@dataclass(frozen=True)
class Decider:
    """Who decides, in which role, what the decision means and why."""

    name: str
    role: str
    meaning: str
    reason: str


def by_plan(plan_version: str, reason: str) -> Decider:
    """The job itself, inside the change control plan."""
    return Decider(JOB, "job", f"inside change plan {plan_version}", reason)


def promotion_row(
    model_name: str, action: str, change: tuple[int | None, int], last: Row | None, who: Decider
) -> dict[str, Any]:
    """A gold.model_promotion row: `change` is from and to version, the number follows the last's;
    whoever writes it first has it. Without decided_at and cause."""
    return {
        "model_name": model_name,
        "promotion_number": 1 + (int(last["promotion_number"]) if last else 0),
        "action": action,
        "from_version": change[0],
        "to_version": change[1],
        "decided_by": who.name,
        "role": who.role,
        "meaning": who.meaning,
        "reason": who.reason,
    }


def taken_back(promotions: Iterable[Row]) -> set[int]:
    """Versions that were rolled back from and not promoted again since by a person."""
    bad: set[int] = set()
    for row in sorted(promotions, key=lambda one: one["promotion_number"]):
        if row["action"] == ROLLED_BACK and row["from_version"] is not None:
            bad.add(row["from_version"])
        bad.discard(row["to_version"])
    return bad


def approval_row(signing: Signing, given: Mapping[str, str], at: datetime) -> dict[str, Any]:
    """A gold.model_approval row; UsageError where role or meaning is none of the plan's."""
    for name, known in (("role", signing.roles), ("meaning", signing.meanings)):
        if given.get(name, "") not in known:
            raise UsageError(f"--{name} must be one of {', '.join(known)}")
    return {
        "decided_by": given["by"],
        "role": given["role"],
        "meaning": given["meaning"],
        "reason": given["why"],
        "decided_at": at,
    }


def approver(approvals: Iterable[Row], signing: Signing) -> Decider | None:
    """The first signature that lets a version go on; None while there is none."""
    deciding = [row for row in approvals if row["meaning"] == signing.deciding]
    if not deciding:
        return None
    first = min(deciding, key=lambda row: (row["decided_at"], row["decided_by"]))
    return Decider(first["decided_by"], first["role"], first["meaning"], first["reason"])


def rollback_target(promotions: Iterable[Row], wanted: int | None) -> int:
    """The version to go back to: the one asked for, which must have been in use, else the last one
    in use that was not itself rolled back. ModelError where there is none."""
    rows = sorted(promotions, key=lambda one: one["promotion_number"])
    if not rows:
        raise ModelError("no version is in use yet; there is nothing to roll back")
    used, bad, current = [row["to_version"] for row in rows], taken_back(rows), rows[-1]
    if wanted is not None:
        if wanted not in used or wanted == current["to_version"]:
            raise ModelError("that version was not in use before; `models history` lists those")
        return wanted
    others = [v for v in used if v != current["to_version"] and v not in bad]
    if not others:
        raise ModelError("no earlier version is left to go back to; `models history` lists all")
    return int(others[-1])
