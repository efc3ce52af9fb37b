"""Is a figure a step away from its usual range? Median and MAD, by weekday where it is known.

The factor 1.4826 makes the MAD estimate a normal standard deviation; 3 of them is Leys et al. 2013
(J Exp Soc Psychol 49:764). Runs that failed or stepped are not given here: what is wrong must not
become usual.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from clinical_lakehouse.methods.control_charts import MAD_TO_SIGMA

LEAST_POINTS = 8
_LIMIT = 3.0
_KNOWN_WEEKDAY = 3  # points of one weekday that make a median of its own
# The median of k points varies by about sqrt(1.57 / k) of one point's spread (pi/2, asymptotic).
_MEDIAN_VARIANCE = math.pi / 2
_RELATIVE_FLOOR = 0.01  # of a measured figure: a constant one may move by 3% before it is told


@dataclass(frozen=True)
class Point:
    """A figure of an earlier run."""

    at: datetime
    value: float


@dataclass(frozen=True)
class Usual:
    """What is usual on this weekday: centre, spread (1.4826 x MAD) and how it was found."""

    centre: float
    spread: float
    point_count: int
    seen: tuple[float, float] | None = None  # range of all points, where the weekday is new


def usual(points: Sequence[Point], at: datetime) -> Usual | None:
    """What earlier runs lead to expect at that moment; None with fewer than eight of them."""
    if len(points) < LEAST_POINTS:
        return None
    every = [point.value for point in points]
    days: dict[int, list[float]] = {}
    for point in points:
        days.setdefault(point.at.weekday(), []).append(point.value)
    same = days.get(at.weekday(), [])
    if len(same) >= _KNOWN_WEEKDAY:
        known = [values for values in days.values() if len(values) >= _KNOWN_WEEKDAY]
        residuals = [value - median(values) for values in known for value in values]
        return Usual(median(same), _mad(residuals), len(points))
    if same:
        wider = math.sqrt(1 + _MEDIAN_VARIANCE / len(same))
        return Usual(median(same), _mad(every) * wider, len(points))
    return Usual(median(every), _mad(every), len(points), (min(every), max(every)))


def share_spread(expected: Usual, judged: int) -> float:
    """The spread that a share of failing rows (0-1) of `judged` rows is held against: at least
    what so few rows may do by chance."""
    likely = min(max(expected.centre, 1 / judged), 1.0)
    return max(expected.spread, math.sqrt(likely * (1 - likely) / judged))


def measure_spread(expected: Usual) -> float:
    """The spread that a measured figure is held against: at least 1% of what is usual."""
    return max(expected.spread, _RELATIVE_FLOOR * abs(expected.centre))


def share_steps(expected: Usual, value: float, judged: int) -> bool:
    """Has the share of failing rows of `judged` rows gone up by a step?"""
    is_up = value > expected.centre
    return is_up and _steps(expected, value, share_spread(expected, judged))


def measure_steps(expected: Usual, value: float) -> bool:
    """Has a measured figure gone up or down by a step?"""
    return _steps(expected, value, measure_spread(expected))


def edge_of(centre: float, spread: float, value: float) -> float:
    """Where a step begins, on the side of `value`; `spread` is what the figure is held against."""
    return centre + math.copysign(_LIMIT * spread, value - centre)


def _steps(expected: Usual, value: float, spread: float) -> bool:
    if expected.seen and expected.seen[0] <= value <= expected.seen[1]:
        return False
    return abs(value - expected.centre) > _LIMIT * spread


def _mad(values: Sequence[float]) -> float:
    centre = median(values)
    return MAD_TO_SIGMA * median([abs(value - centre) for value in values])
