"""The search: which family and hyper-parameters fit earlier dates so as to fit later ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hyperopt import STATUS_OK, Trials, fmin, hp, tpe
from threadpoolctl import threadpool_limits

from clinical_lakehouse.training.families import FAMILIES, Family
from clinical_lakehouse.training.split import cross_fit, time_cut

VALIDATION_SHARE = 0.5
_FAMILY = {family.name: family for family in FAMILIES}


@dataclass(frozen=True)
class Trial:
    """One evaluation: the log loss of held-out rows, its mean and its error by subjects."""

    family: str
    params: Mapping[str, float]
    loss: float
    loss_error: float


@dataclass(frozen=True)
class Choice:
    """The chosen trial, its inputs, and every trial made."""

    chosen: Trial
    features: Sequence[str]
    seed: int
    trials: Sequence[Trial]

    def fit(self, rows: pd.DataFrame) -> Any:
        """A pipeline of the chosen kind fitted on rows."""
        return fit_family(
            _FAMILY[self.chosen.family], self.chosen.params, self.features, self.seed
        )(rows)


def search(rows: pd.DataFrame, available: Sequence[str], max_evaluations: int, seed: int) -> Choice:
    """Try families and hyper-parameters by hyperopt's TPE; each trial is cross-fitted on the later
    half of the index dates. Same rows and seed, same choice.

    Among families the simplest within one standard error of the best is taken (Breiman 1984), for
    with few events the differences between families are mostly chance.
    """
    cut = time_cut(rows, VALIDATION_SHARE)
    made: list[Trial] = []

    def judge(point: Mapping[str, Any]) -> dict[str, Any]:
        family = _FAMILY[point["family"]]
        params = {name: float(point[name]) for name in family.space}
        features = family.features(available)
        scored = cross_fit(rows, cut, fit_family(family, params, features, seed))
        made.append(Trial(family.name, params, *_log_loss(scored)))
        return {"loss": made[-1].loss, "status": STATUS_OK}

    # The matrices are small: more threads wait for one another, 15 times as long on a busy machine.
    with threadpool_limits(limits=1):
        _minimise(judge, max_evaluations, seed)
    chosen = _simplest_good(made)
    return Choice(chosen, _FAMILY[chosen.family].features(available), seed, made)


def _minimise(
    judge: Callable[[Mapping[str, Any]], dict[str, Any]], max_evaluations: int, seed: int
) -> None:
    space = hp.choice("model", [{"family": f.name, **f.space} for f in FAMILIES])
    fmin(
        judge,
        space,
        algo=tpe.suggest,
        max_evals=max_evaluations,
        trials=Trials(),
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
        verbose=False,
    )


def fit_family(
    family: Family, params: Mapping[str, float], features: Sequence[str], seed: int
) -> Any:
    """A function that fits the family on rows: its inputs and is_event.

    A subject's rows tell little more than one of them, so all rows together weigh as much as there
    are subjects. Every row weighs the same: weights by a subject's number of rows would depend on
    how long they stayed, which is the outcome, and spoil calibration.
    """

    def fit(rows: pd.DataFrame) -> Any:
        pipeline = family.build(features, params, seed)
        weight = np.full(len(rows), rows["subject_key"].nunique() / len(rows))
        inputs, outcome = rows[list(features)], rows["is_event"].to_numpy()
        return pipeline.fit(inputs, outcome, model__sample_weight=weight)

    return fit


def _simplest_good(trials: Sequence[Trial]) -> Trial:
    best = min(trials, key=lambda trial: trial.loss)
    good = [trial for trial in trials if trial.loss <= best.loss + best.loss_error]
    rank = min(_FAMILY[trial.family].rank for trial in good)
    return min((t for t in good if _FAMILY[t.family].rank == rank), key=lambda trial: trial.loss)


def _log_loss(scored: pd.DataFrame) -> tuple[float, float]:
    """Mean log loss of rows and its standard error, subjects being the units that vary."""
    event = scored["is_event"].to_numpy(dtype=float)
    risk = np.clip(scored["score"].to_numpy(), 1e-6, 1 - 1e-6)
    loss = pd.Series(-(event * np.log(risk) + (1 - event) * np.log(1 - risk)))
    excess = (loss - loss.mean()).groupby(scored["subject_key"].to_numpy()).sum()
    error = float(np.sqrt((excess**2).sum())) / max(len(loss), 1)
    return float(loss.mean()), error
