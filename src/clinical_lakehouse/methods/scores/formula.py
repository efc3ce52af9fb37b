"""A clinical score as data: inputs with units and limits, source, and its value as a Column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

Inputs = Mapping[str, Column]


@dataclass(frozen=True)
class Input:
    """What a score is made of. Its name ends in its unit. Values outside [low, high], or not among
    `words`, are not scored. `default` stands in for a null where the source says what absence
    means; without one a null makes the score null."""

    name: str
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()
    default: float | bool | None = None

    def rule(self) -> str:
        """What a value must be, in words."""
        return f"must be {' or '.join(self.words)}" if self.words else f"{self.low:g}-{self.high:g}"

    def fits(self, value: Column) -> Column:
        """Is the value one that the score is defined for?"""
        if self.words:
            return value.isin(*self.words)
        if self.low is None or self.high is None:
            return F.lit(True)
        return value.between(self.low, self.high)


@dataclass(frozen=True)
class Formula:
    """A published score: what it needs, in which unit it comes, and where it was published."""

    name: str
    unit: str
    source: str
    inputs: tuple[Input, ...]
    value: Callable[[Inputs], Column]


def scored(formula: Formula, given: Inputs) -> Column:
    """STRUCT<value DOUBLE, reason STRING>: the score, or null and why it is null: which inputs are
    missing, or which do not fit. An input that `given` does not name is a missing one."""
    known = {one.name: _known(one, given) for one in formula.inputs}
    missing = [_when(known[one.name].isNull(), one.name) for one in formula.inputs]
    unfit = [
        _when(~one.fits(known[one.name]), f"{one.name} ({one.rule()})")
        for one in formula.inputs
        if one.words or one.low is not None
    ]
    reasons = (_reason("missing", missing), _reason("not defined for", unfit))
    reason = F.coalesce(*reasons, F.lit(None).cast("string"))
    value = F.when(reason.isNull(), formula.value(known).cast("double"))
    return F.struct(value.alias("value"), reason.alias("reason"))


def banded(value: Column, bands: tuple[tuple[float, int], ...], above: int) -> Column:
    """Points of the first band whose upper end (inclusive) the value does not pass."""
    points = F.lit(above)
    for upper, worth in reversed(bands):
        points = F.when(value <= upper, worth).otherwise(points)
    return points


def below(value: Column, bands: tuple[tuple[float, int], ...], otherwise: int) -> Column:
    """Points of the first band whose upper end (exclusive) the value lies under."""
    points = F.lit(otherwise)
    for upper, worth in reversed(bands):
        points = F.when(value < upper, worth).otherwise(points)
    return points


def _known(one: Input, given: Inputs) -> Column:
    """The input's value, its default for a null, as the type that the formula computes with."""
    kind = "string" if one.words else "boolean" if one.low is None else "double"
    value = given.get(one.name, F.lit(None)).cast(kind)
    return value if one.default is None else F.coalesce(value, F.lit(one.default))


def _when(condition: Column, text: str) -> Column:
    return F.when(condition, text)


def _reason(why: str, names: list[Column]) -> Column:
    """`why: a, b`, or null where there is nothing to tell."""
    listed = F.concat_ws(", ", *names) if names else F.lit("")
    return F.when(listed != "", F.concat(F.lit(f"{why}: "), listed))
