"""The predetermined change control plan: what a new version may change, clause by clause."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_lakehouse.methods.intervals import Interval, difference
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields
from clinical_lakehouse.methods.yaml_source import Place

FILE = "deployment/change_plan.yml"
_ENVIRONMENTS = ("dev", "staging", "prod")
_TOP = ("version", "alone", "approval", "clauses")
_LIMITS = {
    "horizon": "same",
    "algorithm": "among",
    "inputs": "changed_max",
    "training_rows": "ratio_min",
    "held_out_auroc": "drop_max",
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Clause:
    """One clause of the plan, its limit, and where it stands."""

    name: str
    limit: Any
    place: Place


@dataclass(frozen=True)
class Signing:
    """Who may sign a version, with which meanings, and which of these lets it go on."""

    roles: tuple[str, ...]
    meanings: tuple[str, ...]
    deciding: str


@dataclass(frozen=True)
class ChangePlan:
    """What may change, where a version inside the plan goes on alone, and who signs elsewhere."""

    version: str
    alone: tuple[str, ...]
    signing: Signing
    clauses: tuple[Clause, ...]


@dataclass(frozen=True)
class Candidate:
    """A version's gold.model_version row and its held-out AUROC, where one could be computed."""

    row: Row
    auroc: Interval | None


def read_change_plan(conf: Path) -> ChangePlan:
    """Read the file below conf/; SettingsError names file and line of the first fault."""
    top = read_fields(conf / FILE, conf.parent).allow(*_TOP)
    alone = top.words("alone", ())
    if set(alone) - set(_ENVIRONMENTS):
        raise top.refusal("alone may name dev, staging and prod", "alone")
    top.inner("clauses").allow(*_LIMITS)
    found = tuple(_clause(name, fields) for name, fields in top.named("clauses"))
    return ChangePlan(top.text("version"), alone, _signing(top.inner("approval")), found)


def broken_clauses(plan: ChangePlan, new: Candidate, used: Candidate | None) -> list[str]:
    """One sentence per clause that the new version breaks, with the clause's place in conf.

    The first version breaks only what needs no other to compare with.
    """
    said = []
    for clause in plan.clauses:
        fault = _JUDGES[clause.name](clause.limit, new, used)
        if fault:
            said.append(f"clause {clause.name} ({clause.place}): {fault}")
    return said


def _signing(fields: Fields) -> Signing:
    fields.allow("roles", "meanings", "deciding")
    meanings = fields.words("meanings")
    return Signing(fields.words("roles"), meanings, fields.choice("deciding", meanings))


def _clause(name: str, fields: Fields) -> Clause:
    limit = _LIMITS[name]
    fields.allow(limit)
    found: Any
    if name == "horizon":
        found = fields.flag(limit, True)
    else:
        found = fields.words(limit) if name == "algorithm" else fields.number(limit)
    return Clause(name, found, fields.place())


def _horizon(same: bool, new: Candidate, used: Candidate | None) -> str:
    if used is None or not same or new.row["horizon_days"] == used.row["horizon_days"]:
        return ""
    return f"it predicts {new.row['horizon_days']} days ahead, not {used.row['horizon_days']}"


def _algorithm(among: tuple[str, ...], new: Candidate, used: Candidate | None) -> str:
    algorithm = new.row["algorithm"]
    return "" if algorithm in among else f"{algorithm} is none of {', '.join(among)}"


def _inputs(changed_max: float, new: Candidate, used: Candidate | None) -> str:
    if used is None:
        return ""
    mine, theirs = (set(json.loads(one.row["feature_names"])) for one in (new, used))
    changed = len(mine ^ theirs)
    return "" if changed <= changed_max else f"{changed} inputs changed, {changed_max:g} allowed"


def _training_rows(ratio_min: float, new: Candidate, used: Candidate | None) -> str:
    if used is None:
        return ""
    ratio = new.row["train_row_count"] / max(used.row["train_row_count"], 1)
    return "" if ratio >= ratio_min else f"trained on {ratio:.2f} of the rows, {ratio_min:g} wanted"


def _held_out_auroc(drop_max: float, new: Candidate, used: Candidate | None) -> str:
    if used is None or used.auroc is None:
        return ""
    if new.auroc is None:
        return "its held-out AUROC cannot be computed"
    if difference(used.auroc, new.auroc).low <= drop_max:
        return ""
    lost = used.auroc.value - new.auroc.value
    return f"its held-out AUROC is {lost:.3f} lower, {drop_max:g} allowed"


_JUDGES: Mapping[str, Callable[[Any, Candidate, Candidate | None], str]] = {
    "horizon": _horizon,
    "algorithm": _algorithm,
    "inputs": _inputs,
    "training_rows": _training_rows,
    "held_out_auroc": _held_out_auroc,
}
