"""What making a model fairer would cost: reweighing, thresholds by group, and their net benefit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.fairness import SMALLEST_CELL, gap
from clinical_lakehouse.methods.intervals import Floats

REWEIGHING, GROUP_THRESHOLDS = "reweighing", "group thresholds"
HELPS, NO_GAIN, REFUSED = "helps", "no gain", "refused"


@dataclass(frozen=True)
class Mitigation:
    """Who would be selected after a mitigation for one attribute, in the held-out rows' order."""

    name: str
    attribute: str
    flags: np.ndarray


@dataclass(frozen=True)
class Cost:
    """One group before and after: rate of those found and net benefit; the verdict is that of the
    whole mitigation."""

    mitigation: str
    attribute: str
    group: str
    true_positive_rate: float | None
    true_positive_rate_after: float | None
    net_benefit: float
    net_benefit_after: float
    person_count: int
    verdict: str


def reweighing(groups: ArrayLike, outcomes: ArrayLike) -> Floats:
    """Weights that make outcome and group independent: P(group) P(outcome) / P(both) (Kamiran and
    Calders 2012); their mean is 1."""
    labels, events = np.asarray(groups), np.asarray(outcomes, dtype=bool)
    weights = np.ones(labels.size)
    for group in np.unique(labels):
        for event in (True, False):
            both = (labels == group) & (events == event)
            if both.any():
                weights[both] = (labels == group).mean() * (events == event).mean() / both.mean()
    return weights


def group_thresholds(
    groups: ArrayLike, outcomes: ArrayLike, scores: ArrayLike, threshold: float
) -> dict[str, float]:
    """For each group the threshold at which as many of its people with the outcome are found as of
    everybody at `threshold` (equal opportunity: Hardt, Price and Srebro 2016); groups without the
    outcome keep it. Learn it on training rows."""
    labels, events = np.asarray(groups), np.asarray(outcomes, dtype=bool)
    risks = np.asarray(scores, dtype=float)
    found = {str(group): threshold for group in np.unique(labels)}
    if not events.any():
        return found
    wanted = float((risks[events] >= threshold).mean())
    for group in found:
        mine = np.sort(risks[events & (labels == group)])[::-1]
        if mine.size:
            needed = max(int(np.ceil(wanted * mine.size - 1e-9)), 1)
            found[group] = float(mine[needed - 1])
    return found


def costs(
    mitigation: Mitigation,
    groups: np.ndarray,
    outcomes: np.ndarray,
    before: np.ndarray,
    context: tuple[np.ndarray, float],
) -> list[Cost]:
    """Each group of at least 11 people before and after; `context` is (people, threshold).

    A mitigation is refused where it lowers the net benefit of every group: nobody is better off
    (levelling down: Mittelstadt, Wachter and Russell 2023). It helps where the largest gap of true
    positive rates becomes smaller.
    """
    people, threshold = context
    found: dict[str, tuple[Mapping[str, float | None], int]] = {}
    for group in sorted(set(groups.tolist())):
        mine = groups == group
        count = len(np.unique(people[mine]))
        if count >= SMALLEST_CELL:
            sides = {"": before[mine], "_after": mitigation.flags[mine]}
            found[group] = (_sides(outcomes[mine], sides, threshold), count)
    verdict = _verdict([figures for figures, _ in found.values()])
    return [
        Cost(mitigation.name, mitigation.attribute, group, **figures,  # type: ignore[arg-type]
             person_count=count, verdict=verdict)
        for group, (figures, count) in found.items()
    ]  # fmt: skip


def _sides(
    events: np.ndarray, sides: Mapping[str, np.ndarray], threshold: float
) -> dict[str, float | None]:
    odds = threshold / (1 - threshold)
    found: dict[str, float | None] = {}
    for side, flags in sides.items():
        rate = float(flags[events].mean()) if events.any() else None
        gain = np.where(flags, np.where(events, 1.0, -odds), 0.0)
        found |= {f"true_positive_rate{side}": rate, f"net_benefit{side}": float(gain.mean())}
    return found


def _verdict(groups: list[dict[str, float | None]] | list[Mapping[str, float | None]]) -> str:
    changes = [(g["net_benefit_after"] or 0.0) - (g["net_benefit"] or 0.0) for g in groups]
    if changes and max(changes) < 0:
        return REFUSED
    before, after = (
        gap(rate for g in groups if (rate := g[f"true_positive_rate{side}"]) is not None)
        for side in ("", "_after")
    )
    return HELPS if before is not None and after is not None and after < before else NO_GAIN
