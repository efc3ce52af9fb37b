"""Control charts on the driver: the tabular CUSUM and the EWMA (Montgomery, Introduction to
Statistical Quality Control, 7th edition, chapter 9)."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

MAD_TO_SIGMA = 1.4826  # of a normal distribution: 1 / 0.6745


@dataclass(frozen=True)
class CusumPoint:
    """Sums of deviations above and below the target, beyond the slack; and for how many points each
    has been over 0: where a signal's shift began."""

    above: float
    below: float
    count_above: int
    count_below: int

    @property
    def height(self) -> float:
        """The larger of the two sums, in standard deviations."""
        return max(self.above, self.below)


@dataclass(frozen=True)
class EwmaPoint:
    """The weighted mean and its control limits at this point."""

    mean: float
    low: float
    high: float

    @property
    def is_out(self) -> bool:
        """Beyond its limits?"""
        return not self.low <= self.mean <= self.high


def cusum(
    values: Iterable[float], target: float, sigma: float, slack: float = 0.5
) -> list[CusumPoint]:
    """One point per value, in standard deviations of `sigma` (equations 9.2 and 9.3). A shift is
    signalled where a sum is over the decision interval h, usually 5."""
    points, last = [], CusumPoint(0.0, 0.0, 0, 0)
    for value in values:
        distance = (value - target) / sigma
        above = max(0.0, distance - slack + last.above)
        below = max(0.0, -distance - slack + last.below)
        last = CusumPoint(
            above,
            below,
            last.count_above + 1 if above > 0 else 0,
            last.count_below + 1 if below > 0 else 0,
        )
        points.append(last)
    return points


def ewma(
    values: Iterable[float], target: float, sigma: float, weight: float = 0.1, width: float = 2.7
) -> list[EwmaPoint]:
    """One point per value with exact limits (equations 9.22, 9.25 and 9.26), in its own units;
    `width` is L, in standard deviations of the weighted mean."""
    points, mean = [], target
    for number, value in enumerate(values, 1):
        mean = weight * value + (1 - weight) * mean
        spread = sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * number)))
        points.append(
            EwmaPoint(mean, target - width * sigma * spread, target + width * sigma * spread)
        )
    return points
