"""Many tests at once: which hold when a share of those called may be wrong."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def benjamini_hochberg(p_values: Mapping[Name, float], tests: int, rate: float) -> set[Name]:
    """Names of the tests that hold at a false discovery rate (Benjamini and Hochberg 1995) in a
    family of `tests`, of which those not listed have a p value of 1. Where nothing is there to be
    found, the chance of any name is at most `rate`."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    last = max(
        (place for place, name in enumerate(ordered, 1) if p_values[name] <= rate * place / tests),
        default=0,
    )
    return set(ordered[:last])
