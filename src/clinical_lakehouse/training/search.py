"""The search: which family and hyper-parameters fit earlier dates so as to fit later ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hyperopt import STATUS_OK, Trials, fmin, hp, tpe
from threadpoolctl import threadpool_limits

from clinical_lakehouse.methods.decisions import row_benefit
from clinical_lakehouse.methods.intervals import Interval, mean_interval
from clinical_lakehouse.methods.model_comparison import BOOTSTRAP, MORE_COMPLEX, SIMPLER
from clinical_lakehouse.training.families import FAMILIES, Family, Offer
from clinical_lakehouse.training.horizon_risk import outcome_of
from clinical_lakehouse.training.split import Folding, cross_fit, fold_of, time_cut
from clinical_lakehouse.training.trial_memory import TrialMemory

VALIDATION_SHARE = 0.5
LOG_LOSS, BRIER = "log_loss", "brier"
_FAMILY = {family.name: family for family in FAMILIES}


@dataclass(frozen=True)
class Trial:
    """One evaluation: the loss of held-out rows, its mean and its error by subjects."""

    family: str
    params: Mapping[str, float]
    loss: float
    loss_error: float


@dataclass(frozen=True)
class Contest:
    """Net benefit of the best complex trial less that of the best simple one, at the prevalence, on
    the same cross-fitted rows."""

    complex_family: str
    simple_family: str
    complex_benefit: float
    simple_benefit: float
    gain: Interval
    row_count: int
    person_count: int

    @property
    def is_worth_it(self) -> bool:
        """Is the complex one better beyond chance?"""
        return self.gain.low > 0


@dataclass(frozen=True)
class Choice:
    """The chosen trial, its inputs, and every trial made."""

    chosen: Trial
    features: Sequence[str]
    seed: int
    trials: Sequence[Trial]
    contest: Contest | None = None

    def fit(self, rows: pd.DataFrame) -> Any:
        """A pipeline of the chosen kind fitted on rows."""
        return fit_family(
            _FAMILY[self.chosen.family], self.chosen.params, self.features, self.seed
        )(rows)

    def contest_row(self) -> dict[str, Any]:
        """The contest as seen from the chosen one: columns of gold.model_comparison."""
        if self.contest is None:
            return {}
        gain, benefits = (
            self.contest.gain,
            [
                self.contest.complex_benefit,
                self.contest.simple_benefit,
            ],
        )
        if self.contest.is_worth_it:
            other, low, high = SIMPLER, gain.low, gain.high
        else:
            other, low, high = MORE_COMPLEX, -gain.high, -gain.low
            benefits.reverse()
        return {
            "compared_with": other,
            "metric": "net_benefit",
            "value": benefits[0],
            "other_value": benefits[1],
            "difference": benefits[0] - benefits[1],
            "low": low,
            "high": high,
            "method": BOOTSTRAP,
            "row_count": self.contest.row_count,
            "person_count": self.contest.person_count,
        }


@dataclass(frozen=True)
class Judge:
    """What hyperopt minimises, here or on a worker of a cluster: a point of the space in, its loss
    out. A trial that is in `memory` is not fitted again."""

    rows: pd.DataFrame
    offer: Offer
    seed: int
    folding: Folding
    metric: str
    memory: TrialMemory | None

    def __call__(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The loss, its error, and what they are of."""
        family = _FAMILY[point["family"]]
        params = {name: float(point[name]) for name in family.space}
        loss = self.memory.find(family.name, params) if self.memory else None
        if loss is None:
            # The matrices are small: more threads wait for one another, 15 times as long.
            with threadpool_limits(limits=1):
                loss = self._loss(family, params)
            if self.memory:
                self.memory.keep(family.name, params, loss)
        told = {"family": family.name, "params": params, "loss": loss[0], "loss_error": loss[1]}
        return {**told, "status": STATUS_OK}

    def _loss(self, family: Family, params: Mapping[str, float]) -> tuple[float, float]:
        cut = time_cut(self.rows, VALIDATION_SHARE)
        fit = fit_family(family, params, self.offer.features(family), self.seed)
        return _loss(cross_fit(self.rows, cut, fit, self.folding), self.metric)


def search(
    rows: pd.DataFrame,
    offer: Offer,
    max_evaluations: int,
    seed: int,
    memory: TrialMemory | None = None,
    *,
    folding: Folding = fold_of,
    metric: str = LOG_LOSS,
    trials: Trials | None = None,
) -> Choice:
    """Try the families and hyper-parameters on offer by hyperopt's TPE; each trial is cross-fitted
    on the later half of the index dates and judged by `metric`, LOG_LOSS or BRIER. Same rows and
    seed, same choice, also of a search that was killed and finds its trials in `memory`; with
    SparkTrials in `trials`, which asks for several at once, only if it runs one at a time.

    Every simple family is tried. Of these the simplest within one standard error of the best is
    taken (Breiman 1984), for with few events the differences are mostly chance. A complex family
    wins only where its net benefit is larger by an interval above 0.
    """
    families, judge = offer.families, Judge(rows, offer, seed, folding, metric, memory)
    points = [{"family": one.name, **one.first} for one in families if one.first is not None]
    kept = trials if trials is not None else Trials()
    found: list[Mapping[str, Any]] = [judge(point) for point in points]
    found += _minimise(judge, families, max_evaluations, kept)
    made = [
        Trial(one["family"], dict(one["params"]), one["loss"], one["loss_error"]) for one in found
    ]
    simple = _simplest_good([trial for trial in made if _FAMILY[trial.family].is_simple])
    complex_ones = [trial for trial in made if not _FAMILY[trial.family].is_simple]
    best = min(complex_ones, key=lambda trial: trial.loss, default=None)
    with threadpool_limits(limits=1):
        contest = _contest((rows, folding), offer, best, simple, seed) if best else None
    chosen = best if best is not None and contest is not None and contest.is_worth_it else simple
    features = offer.features(_FAMILY[chosen.family])
    return Choice(chosen, features, seed, made, contest)


def _contest(
    given: tuple[pd.DataFrame, Folding],
    offer: Offer,
    complex_one: Trial,
    simple: Trial,
    seed: int,
) -> Contest:
    """Both once more on the later half, each row by a model that saw no row of its person."""
    rows, folding = given
    cut = time_cut(rows, VALIDATION_SHARE)
    scored = {}
    for trial in (complex_one, simple):
        family = _FAMILY[trial.family]
        fit = fit_family(family, trial.params, offer.features(family), seed)
        scored[trial.family] = cross_fit(rows, cut, fit, folding)
    own, other = scored[complex_one.family], scored[simple.family]
    events, people = own["is_event"].to_numpy(bool), own["subject_key"].to_numpy()
    threshold = float(np.clip(events.mean(), 0.01, 0.99))
    own_benefit, other_benefit = (
        row_benefit(events, one["score"], threshold) for one in (own, other)
    )
    gain = mean_interval(own_benefit - other_benefit, people) or Interval(0.0, 0.0, 0.0)
    means = float(own_benefit.mean()), float(other_benefit.mean())
    sizes = len(own), len(np.unique(people))
    return Contest(complex_one.family, simple.family, *means, gain, *sizes)


def _minimise(
    judge: Judge, families: Sequence[Family], max_evaluations: int, trials: Trials
) -> list[Mapping[str, Any]]:
    """What the trials that succeeded gave, in their order."""
    space = hp.choice("model", [{"family": f.name, **f.space} for f in families])
    fmin(
        judge,
        space,
        algo=tpe.suggest,
        max_evals=max_evaluations,
        trials=trials,
        rstate=np.random.default_rng(judge.seed),
        show_progressbar=False,
        verbose=False,
    )
    return [one for one in trials.results if one["status"] == STATUS_OK]


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
        inputs, outcome = rows[list(features)], outcome_of(pipeline, rows)
        return pipeline.fit(inputs, outcome, model__sample_weight=weight)

    return fit


def _simplest_good(trials: Sequence[Trial]) -> Trial:
    best = min(trials, key=lambda trial: trial.loss)
    good = [trial for trial in trials if trial.loss <= best.loss + best.loss_error]
    rank = min(_FAMILY[trial.family].rank for trial in good)
    return min((t for t in good if _FAMILY[t.family].rank == rank), key=lambda trial: trial.loss)


def _loss(scored: pd.DataFrame, metric: str = LOG_LOSS) -> tuple[float, float]:
    """Mean loss of rows and its standard error, subjects being the units that vary."""
    event = scored["is_event"].to_numpy(dtype=float)
    risk = np.clip(scored["score"].to_numpy(), 1e-6, 1 - 1e-6)
    logs = -(event * np.log(risk) + (1 - event) * np.log(1 - risk))
    loss = pd.Series(logs if metric == LOG_LOSS else (event - risk) ** 2)
    excess = (loss - loss.mean()).groupby(scored["subject_key"].to_numpy()).sum()
    error = float(np.sqrt((excess**2).sum())) / max(len(loss), 1)
    return float(loss.mean()), error
