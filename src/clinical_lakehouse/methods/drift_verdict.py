"""Has a feature moved by more than the limit, and by more than chance: counts in, a verdict out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import jensenshannon

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.drift import binned, psi_of_counts
from clinical_lakehouse.methods.intervals import Floats

DRIFT, STABLE, TOO_FEW = "drift", "stable", "too few rows"
# The chance that an undisturbed window of all features alerts. Averaged over references: one that
# stays fixed is itself a sample, so the rate against it differs; 3% keeps it below one in twenty.
_ALPHA = 0.03
_DRAWS_PER_TEST = 5  # draws beyond the smallest p value that a corrected test asks for


@dataclass(frozen=True)
class Profile:
    """How many values of a feature lie in each bin; the edges are frozen, the last bin is missing.

    Profiles of the same edges add up: the days' are the month's, exactly.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: ArrayLike, edges: ArrayLike) -> "Profile":
        """The profile of values over inner edges (see drift.quantile_edges)."""
        cuts = np.asarray(edges, dtype=float)
        return cls(tuple(cuts.tolist()), tuple(binned(values, cuts).astype(int).tolist()))

    def __add__(self, other: "Profile") -> "Profile":
        if self.edges != other.edges:
            raise UsageError("profiles with other edges do not add up; profile both alike")
        return Profile(self.edges, tuple(map(sum, zip(self.counts, other.counts, strict=True))))

    @property
    def rows(self) -> int:
        """Rows, missing ones among them."""
        return sum(self.counts)

    @property
    def missing_ratio(self) -> float | None:
        """Share of rows without a value, 0-1."""
        return self.counts[-1] / self.rows if self.rows else None


@dataclass(frozen=True)
class Verdict:
    """`state` is drift, stable or too few rows; `p_value` is known where the limit is exceeded."""

    state: str
    psi: float
    p_value: float | None = None


def psi_between(reference: Profile, current: Profile) -> float:
    """Population stability index of two profiles; see drift.psi."""
    return psi_of_counts(*_pair(reference, current))


def ks_between(reference: Profile, current: Profile) -> float:
    """Largest distance of the two distribution functions at the edges, missing values left out."""
    was, now = (side[:-1] / max(side[:-1].sum(), 1) for side in _pair(reference, current))
    return float(np.abs(np.cumsum(was) - np.cumsum(now)).max())


def wasserstein_between(reference: Profile, current: Profile) -> float:
    """Area between the two distribution functions from the first edge to the last, in the feature's
    unit: the earth mover's distance of values whose tails are moved to the outer edges."""
    was, now = (side[:-1] / max(side[:-1].sum(), 1) for side in _pair(reference, current))
    gaps = np.abs(np.cumsum(was) - np.cumsum(now))[:-1]
    return float((gaps[:-1] * np.diff(np.asarray(reference.edges))).sum())


def jensen_shannon_between(reference: Profile, current: Profile) -> float:
    """Jensen-Shannon distance (base 2, 0-1) of the bins, missing values among them."""
    return float(jensenshannon(*_pair(reference, current), base=2))


def judge(
    reference: Mapping[str, Profile],
    current: Mapping[str, Profile],
    limit: float,
    *,
    alpha: float = _ALPHA,
    seed: int = 0,
) -> dict[str, Verdict]:
    """Each feature's verdict for one window: drift is more than `limit`, and more than chance.

    Chance is what a random split of all rows into two samples of these sizes gives (rows are
    exchangeable; for several rows a subject use `subject_p_value`). Over all features at most
    `alpha` of undisturbed windows alert (Holm 1979). More than the limit, but not more than chance,
    is "too few rows": such a sample cannot tell.
    """
    shared = [name for name in reference if name in current]
    draws = int(np.ceil(_DRAWS_PER_TEST * max(len(shared), 1) / alpha))
    generator = np.random.default_rng(seed)
    moved = {name: psi_between(reference[name], current[name]) for name in shared}
    p_values = {
        name: _p_value(reference[name], current[name], draws, generator)
        for name, value in moved.items()
        if value > limit
    }
    proven = _holm(p_values, len(shared), alpha)
    return {
        name: Verdict(
            STABLE if name not in p_values else DRIFT if name in proven else TOO_FEW,
            value,
            p_values.get(name),
        )
        for name, value in moved.items()
    }


def subject_p_value(
    reference: ArrayLike, current: ArrayLike, draws: int = 999, seed: int = 0
) -> float:
    """How often a random split of whole subjects gives a PSI at least as large as the observed.

    Each row is a subject's counts by bin; a subject stands on one side only.
    """
    was, now = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    together, taken = np.vstack([was, now]), len(now)
    observed = psi_of_counts(was.sum(axis=0), now.sum(axis=0))
    generator, hits = np.random.default_rng(seed), 0
    for _ in range(draws):
        mixed = generator.permutation(together)
        hits += psi_of_counts(mixed[taken:].sum(axis=0), mixed[:taken].sum(axis=0)) >= observed
    return (1 + hits) / (1 + draws)


def _p_value(
    reference: Profile, current: Profile, draws: int, generator: np.random.Generator
) -> float:
    was, now = (side.astype(int) for side in _pair(reference, current))
    together = was + now
    split = generator.multivariate_hypergeometric(together, int(now.sum()), size=draws)
    chance = _psi_rows((together - split).astype(float), split.astype(float))
    # The same split of counts, summed in another order, is not less extreme.
    observed = psi_between(reference, current) * (1 - 1e-9)
    return float((1 + (chance >= observed).sum()) / (1 + draws))


def _psi_rows(was: Floats, now: Floats) -> Floats:
    """drift.psi_of_counts for many pairs at once; bins that are empty in both are left out."""
    kept = (was[0] + now[0]) > 0
    was, now = was[:, kept] + 0.5, now[:, kept] + 0.5
    p, q = was / was.sum(axis=1, keepdims=True), now / now.sum(axis=1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def _holm(p_values: Mapping[str, float], tests: int, alpha: float) -> set[str]:
    """Names of the tests that hold against all `tests` of the family, those not listed included."""
    proven = set[str]()
    for place, name in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        if p_values[name] > alpha / (tests - place):
            break
        proven.add(name)
    return proven


def _pair(reference: Profile, current: Profile) -> tuple[Floats, Floats]:
    if reference.edges != current.edges:
        raise UsageError("profiles with other edges cannot be compared; profile both alike")
    return np.asarray(reference.counts, dtype=float), np.asarray(current.counts, dtype=float)
