"""How many people a prediction model needs before it is worth fitting (Riley et al. 2019, 2020)."""

import math
from dataclasses import dataclass

from scipy import stats

_SHRINKAGE = 0.9  # expected shrinkage of the predictors' effects: at most a tenth is lost
_OPTIMISM = 0.05  # expected optimism of the apparent R2 (Nagelkerke)
_MARGIN = 0.05  # half width of the interval around the overall risk
_Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class SampleSize:
    """People needed by each criterion: little overfitting, little optimism, a precise overall risk.

    `events_per_parameter` is what the largest of them means for this outcome.
    """

    overfitting: int
    optimism: int
    overall_risk: int
    events_per_parameter: float

    @property
    def people(self) -> int:
        """All criteria together."""
        return max(self.overfitting, self.optimism, self.overall_risk)


@dataclass(frozen=True)
class Enough:
    """Whether there are enough people, and if not, in about how many weeks there will be."""

    is_enough: bool
    people: int
    needed: int
    weeks: int | None


def binary_sample_size(parameters: int, prevalence: float, r2_cox_snell: float) -> SampleSize:
    """People for a model of a yes-or-no outcome with so many candidate parameters.

    `prevalence` is the share of events (0-1), `r2_cox_snell` what the model is expected to explain.
    Source: Riley et al., Statistics in Medicine 2019;38:1276 and BMJ 2020;368:m441, criteria 1-3.
    """
    likelihood = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    overall = math.ceil((_Z / _MARGIN) ** 2 * prevalence * (1 - prevalence))
    return _sample_size(parameters, r2_cox_snell, likelihood, overall, prevalence)


def survival_sample_size(
    parameters: int, rate: float, follow_up: float, horizon: float, r2_cox_snell: float
) -> SampleSize:
    """People for a model of the time to an event: `rate` events per person and unit of time, mean
    `follow_up` and `horizon` in that unit.

    Source: Riley et al., Statistics in Medicine 2019;38:1276, sections 3 to 5; the overall risk at
    the horizon is that of an exponential survival time.
    """
    events = rate * follow_up  # per person
    likelihood = events * math.log(events) - events
    overall = _people_for_risk(rate, follow_up, horizon)
    return _sample_size(parameters, r2_cox_snell, likelihood, overall, events)


def enough_yet(people: int, needed: int, people_per_week: float) -> Enough:
    """Is the sample there, and if not, in about how many weeks; None where nobody is coming."""
    if people >= needed:
        return Enough(True, people, needed, 0)
    weeks = math.ceil((needed - people) / people_per_week) if people_per_week > 0 else None
    return Enough(False, people, needed, weeks)


def _sample_size(
    parameters: int, r2: float, likelihood: float, overall: int, events: float
) -> SampleSize:
    """`likelihood` is the null model's log likelihood per person, `events` theirs per person."""
    largest = 1 - math.exp(2 * likelihood)
    allowed = r2 / (r2 + _OPTIMISM * largest)
    overfitting = _people_for_shrinkage(parameters, r2, _SHRINKAGE)
    optimism = _people_for_shrinkage(parameters, r2, allowed)
    people = max(overfitting, optimism, overall)
    return SampleSize(overfitting, optimism, overall, people * events / parameters)


def _people_for_shrinkage(parameters: int, r2: float, shrinkage: float) -> int:
    return math.ceil(parameters / ((shrinkage - 1) * math.log(1 - r2 / shrinkage)))


def _people_for_risk(rate: float, follow_up: float, horizon: float) -> int:
    """The fewest people whose upper limit of the cumulative incidence lies within the margin."""
    risk = 1 - math.exp(-rate * horizon)

    def is_precise(people: int) -> bool:
        error = _Z * math.sqrt(rate / (follow_up * people))
        return 1 - math.exp(-(rate + error) * horizon) - risk <= _MARGIN

    people = 1
    while not is_precise(people):
        people *= 2
    low, high = people // 2, people
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_precise(middle) else (middle, high)
    return high
