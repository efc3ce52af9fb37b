"""Two models on the same rows: by ranking, by decisions and by their error."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clinical_lakehouse.methods.decisions import clustered_mcnemar, row_benefit
from clinical_lakehouse.methods.discrimination import auroc, delong_test
from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.methods.intervals import Floats, Interval, mean_interval

# What training compares by itself, before a version is registered, on its own cross-fitted rows.
SIMPLER, MORE_COMPLEX = "simpler", "more_complex"
DELONG, BOOTSTRAP, MCNEMAR = "DeLong", "bootstrap by person", "McNemar by person"


@dataclass(frozen=True)
class Compared:
    """One figure of the model and of another one, and the difference with its 95% interval."""

    compared_with: str
    metric: str
    value: float
    other_value: float
    difference: Interval
    p_value: float | None
    method: str


def compared(held: HeldOut) -> list[Compared]:
    """The model against the baseline, against acting on all and on none, and against `held.others`.

    AUROC by DeLong's test for clustered data, net benefit and Brier score by a bootstrap of people,
    accuracy at the threshold by McNemar's test for clustered data. Nothing where one class is
    missing or the threshold is no probability.
    """
    events = held.outcomes
    if not events.size or events.all() or not events.any() or not 0 < held.threshold < 1:
        return []
    found = [*_with("baseline", held, held.baseline)]
    for name, scores in held.others.items():
        found += _with(name, held, scores)
    everyone, nobody = np.ones(events.size), np.zeros(events.size)
    found += [_benefit("treat_all", held, everyone), _benefit("treat_none", held, nobody)]
    return found


def _with(name: str, held: HeldOut, other: Floats) -> Iterator[Compared]:
    yield from _ranking(name, held, other)
    yield _benefit(name, held, other)
    yield _accuracy(name, held, other)
    events = held.outcomes.astype(float)
    errors = (held.scores - events) ** 2, (other - events) ** 2
    yield _rows(name, "brier", held, errors, BOOTSTRAP)


def _ranking(name: str, held: HeldOut, other: Floats) -> Iterator[Compared]:
    tested = delong_test(held.outcomes, held.scores, other, held.people)
    own, its = (auroc(held.outcomes, scores, held.people) for scores in (held.scores, other))
    if tested is not None and own is not None and its is not None:
        gap = tested.difference
        yield Compared(name, "auroc", own.value, its.value, gap, tested.p_value, DELONG)


def _benefit(name: str, held: HeldOut, other: Floats) -> Compared:
    both = (
        row_benefit(held.outcomes, held.scores, held.threshold),
        row_benefit(held.outcomes, other, held.threshold),
    )
    return _rows(name, "net_benefit", held, both, BOOTSTRAP)


def _accuracy(name: str, held: HeldOut, other: Floats) -> Compared:
    own, its = ((s >= held.threshold) == held.outcomes for s in (held.scores, other))
    p_value = clustered_mcnemar(own, its, held.people)
    both = own.astype(float), its.astype(float)
    return _rows(name, "accuracy", held, both, MCNEMAR, p_value=p_value)


def _rows(
    name: str,
    metric: str,
    held: HeldOut,
    both: tuple[Floats, Floats],
    method: str,
    *,
    p_value: float | None = None,
) -> Compared:
    own, its = both
    gap = mean_interval(own - its, held.people) or Interval(0.0, 0.0, 0.0)
    return Compared(name, metric, float(own.mean()), float(its.mean()), gap, p_value, method)
