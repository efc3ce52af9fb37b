"""Does the score treat groups alike: rates by group at a threshold, gaps, small cells."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Interval, design_effect, wilson

SMALLEST_CELL = 11  # fewer people than this may be recognised (CMS cell size policy)


@dataclass(frozen=True)
class GroupRates:
    """One group's rates at a threshold (None where nobody is in the denominator)."""

    row_count: int
    event_count: int
    person_count: int
    event_person_count: int
    selection: Interval | None
    true_positive: Interval | None
    false_positive: Interval | None
    precision: Interval | None

    @property
    def is_small(self) -> bool:
        """Fewer people than may be shown."""
        return self.person_count < SMALLEST_CELL


def rates_by_group(
    groups: ArrayLike,
    outcomes: ArrayLike,
    scores: ArrayLike,
    threshold: float,
    clusters: ArrayLike | None = None,
) -> dict[str, GroupRates]:
    """Selection, true positive, false positive rate and precision per group, with Wilson limits.

    With `clusters` (a person per row) people are counted by it and limits widen accordingly.
    """
    labels = np.asarray(groups)
    events, chosen = np.asarray(outcomes, bool), np.asarray(scores, float) >= threshold
    people = np.arange(labels.size) if clusters is None else np.asarray(clusters)
    return {
        str(group): _rates(
            events[labels == group], chosen[labels == group], people[labels == group]
        )
        for group in sorted(set(labels.tolist()))
    }


def gap(values: Iterable[float]) -> float | None:
    """Largest less smallest of the groups' figures; None for fewer than two groups."""
    found = list(values)
    return max(found) - min(found) if len(found) > 1 else None


def _rates(events: np.ndarray, chosen: np.ndarray, people: np.ndarray) -> GroupRates:
    everyone = np.ones_like(events)
    return GroupRates(
        row_count=int(events.size),
        event_count=int(events.sum()),
        person_count=len(np.unique(people)),
        event_person_count=len(np.unique(people[events])),
        selection=_rate(chosen, everyone, people),
        true_positive=_rate(chosen, events, people),
        false_positive=_rate(chosen, ~events, people),
        precision=_rate(events, chosen, people),
    )


def _rate(hits: np.ndarray, among: np.ndarray, people: np.ndarray) -> Interval | None:
    effect = design_effect(hits, among, people)
    return wilson(int((hits & among).sum()), int(among.sum()), design_effect=effect)
