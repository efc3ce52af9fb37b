"""Scores (0-1) of tables, sites, studies and sources: passed ratios, weighted by severity.

A score is sum(weight x passed ratio) / sum(weight) over the checks that were judged. Weights stand
in conf/quality/scores.yml.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clinical_lakehouse.methods.yaml_fields import read_fields
from clinical_lakehouse.tables.contract import Severity

Weights = Mapping[str, float]


@dataclass(frozen=True)
class Judged:
    """A check's share in a score."""

    severity: str
    passed_ratio: float
    is_failed: bool


@dataclass(frozen=True)
class Score:
    """A score, 0-1, of how many checks, and how many of these failed."""

    score: float
    check_count: int
    failed_check_count: int


def read_weights(folder: Path) -> dict[str, float]:
    """The weight of each severity, from scores.yml; SettingsError names file and line."""
    fields = read_fields(folder / "scores.yml", folder.parent.parent).allow("tables", "scores")
    weights = fields.inner("scores").allow(*Severity)
    found = {severity.value: weights.number(severity.value) for severity in Severity}
    if not all(found.values()):
        raise fields.refusal("weights must be above 0", "scores")
    return found


def score(judged: Iterable[Judged], weights: Weights) -> Score | None:
    """The score of these checks; None where none was judged."""
    checks = list(judged)
    if not checks:
        return None
    total = sum(weights[check.severity] for check in checks)
    passed = sum(weights[check.severity] * check.passed_ratio for check in checks)
    return Score(passed / total, len(checks), sum(check.is_failed for check in checks))
