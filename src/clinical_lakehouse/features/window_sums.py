"""Sums of a series between the edges of its windows: a row is looked at once, not once a window."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.features.groups import EVER, Group


@dataclass(frozen=True)
class Sum:
    """What is kept of the rows between two edges (`start`), and how such parts come together.

    All are numbers, so that Spark aggregates by hash; `needed` names the aggregations it is for.
    """

    start: Callable[[], Column]
    together: Callable[[Column], Column]
    needed: frozenset[str]
    order: str | None = None  # of two parts the one that counts: the part with the extreme of it


def _if_value(name: str) -> Column:
    return F.when(F.col("v").isNotNull(), F.col(name))


def _sum(start: Callable[[], Column], *needed: str) -> Sum:
    return Sum(start, F.sum, frozenset(needed))


_SLOPES = ("slope", "trend_change")
_MEANS = ("mean", "adherence", "sd", *_SLOPES)
SUMS: Mapping[str, Sum] = {
    "n": Sum(lambda: F.sum("w"), F.sum, frozenset()),
    "nv": Sum(lambda: F.count("v"), F.sum, frozenset()),
    # The rows without weight: without one the lake did not know the person.
    "person": Sum(lambda: F.max(1 - F.col("w")), F.max, frozenset()),
    "bad": Sum(lambda: F.max("bad"), F.max, frozenset()),
    "since": Sum(
        lambda: F.min(F.when(F.col("w") == 1, F.col("age_us"))), F.min, frozenset(["days_since"])
    ),
    "s": _sum(lambda: F.sum("micro"), *_MEANS),
    "square_high": _sum(lambda: F.sum("square_high"), "sd"),
    "square_low": _sum(lambda: F.sum("square_low"), "sd"),
    "t": _sum(lambda: F.sum(_if_value("age_days")), *_SLOPES),
    "tt": _sum(lambda: F.sum(_if_value("age_days") * F.col("age_days")), *_SLOPES),
    "ts": _sum(lambda: F.sum(F.col("age_days") * F.col("micro")), *_SLOPES),
    "low": Sum(lambda: F.min("v"), F.min, frozenset(["min"])),
    "high": Sum(lambda: F.max("v"), F.max, frozenset(["max"])),
    "last_place": Sum(lambda: F.max("place"), F.max, frozenset(["latest"])),
    "last": Sum(lambda: F.max_by("v", "place"), F.max, frozenset(["latest"]), order="last_place"),
    "first_place": Sum(lambda: F.min("place"), F.min, frozenset(["first"])),
    "early": Sum(lambda: F.min_by("v", "place"), F.min, frozenset(["first"]), order="first_place"),
    "active": Sum(lambda: F.max("active"), F.max, frozenset(["is_active"])),
    "days": Sum(lambda: F.sum("touched"), F.sum, frozenset(["missing_ratio"])),
    "abnormal": Sum(lambda: F.sum("abnormal"), F.sum, frozenset(["days_abnormal"])),
    "covered": Sum(lambda: F.sum("covered"), F.sum, frozenset(["exposure_days"])),
}
BY_DAY = ("days", "abnormal", "covered")  # each day counts once, so days come together first
_HALF = ("nv", "s", "t", "tt", "ts")  # also kept of a window's later half


def aggregations(group: Group) -> tuple[str, ...]:
    """The aggregations a group uses, in one order."""
    return tuple(sorted({a for s in group.series for a in s.aggregations}))


def wanted(group: Group) -> dict[str, Sum]:
    """The sums its aggregations need."""
    used = set(aggregations(group))
    return {name: one for name, one in SUMS.items() if not one.needed or one.needed & used}


def edges(group: Group) -> list[int]:
    """Days at which a window, or half a window where trends are wanted, ends; 0 first."""
    days = {d for s in group.series for d in s.windows if d != EVER}
    halves = {d // 2 for s in group.series if "trend_change" in s.aggregations for d in s.windows}
    return sorted({0, *days, *halves})


def edge_below(days: Column, group: Group) -> Column:
    """The last edge not after a number of days."""
    found = F.lit(0)
    for edge in edges(group)[1:]:
        found = F.when(days >= edge, F.lit(edge)).otherwise(found)
    return found.alias("edge")


def per_window(group: Group) -> list[Column]:
    """A window's sums, from those between edges; `ever_n` counts records of any age."""
    inside = F.col("edge") < F.col("window_days")
    made = [F.sum("n").alias("ever_n")]
    for name, one in wanted(group).items():
        part = F.col(name) if name == "active" else F.when(inside, F.col(name))
        if one.order is None:
            made.append(one.together(part).alias(name))
        else:
            pick = F.max_by if one.together is F.max else F.min_by
            made.append(pick(part, F.when(inside, F.col(one.order))).alias(name))
    if "trend_change" in aggregations(group):
        late = F.col("edge") * 2 < F.col("window_days")
        made += [F.sum(F.when(late, F.col(n))).alias(f"late_{n}") for n in _HALF]
    return made


def result(aggregation: str) -> Column:
    """The aggregation's value from a window's sums; null where there are too few of them."""
    return F.round(_RESULTS[aggregation]().cast("DOUBLE"), 6)


def _slope(prefix: str = "") -> Column:
    n, s, t, tt, ts = (F.col(f"{prefix}{name}").cast("DOUBLE") for name in _HALF)
    spread = n * tt - t * t
    # Age runs against time, so the sign turns; values are in millionths.
    return F.when(spread > 0, (t * s - n * ts) / spread / 1e6)


def _early_slope() -> Column:
    n, s, t, tt, ts = (F.col(name) - F.coalesce(f"late_{name}", F.lit(0)) for name in _HALF)
    n, s, t, tt, ts = (one.cast("DOUBLE") for one in (n, s, t, tt, ts))
    spread = n * tt - t * t
    return F.when(spread > 0, (t * s - n * ts) / spread / 1e6)


def _sd() -> Column:
    """Sample standard deviation. Doubles do where the spread is no tiny part of the squares; where
    it is (large values close together), exact whole numbers."""
    n, s = F.col("nv").cast("DOUBLE"), F.col("s").cast("DOUBLE")
    squares = F.col("square_high").cast("DOUBLE") * 1e9 + F.col("square_low").cast("DOUBLE")
    rough = n * squares - s * s
    spread = F.when(rough > 1e-6 * n * squares, rough).otherwise(_exact_spread())
    return F.when(n > 1, F.sqrt(spread / (n * (n - 1))) / 1e6)


def _exact_spread() -> Column:
    wide, narrow = "DECIMAL(38,0)", "DECIMAL(19,0)"
    squares = F.col("square_high").cast(wide) * F.lit(1_000_000_000) + F.col("square_low")
    times = F.col("nv").cast("DECIMAL(9,0)") * squares.cast("DECIMAL(28,0)")
    return (times - F.col("s").cast(narrow) * F.col("s").cast(narrow)).cast("DOUBLE")


def _of_window(days: Column) -> Column:
    return 1 - F.coalesce(days, F.lit(0)) / F.col("window_days")


_RESULTS: Mapping[str, Callable[[], Column]] = {
    "count": lambda: F.coalesce("n", F.lit(0)),
    "days_since": lambda: F.col("since") / 86_400_000_000,
    "mean": lambda: F.col("s") / F.col("nv") / 1e6,
    "adherence": lambda: F.col("s") / F.col("nv") / 1e6,
    "sd": _sd,
    "slope": _slope,
    "trend_change": lambda: _slope("late_") - _early_slope(),
    "min": lambda: F.col("low"),
    "max": lambda: F.col("high"),
    "latest": lambda: F.col("last"),
    "first": lambda: F.col("early"),
    "is_active": lambda: F.coalesce("active", F.lit(0)),
    "missing_ratio": lambda: _of_window(F.col("days")),
    "days_abnormal": lambda: F.when(F.col("nv") > 0, F.coalesce("abnormal", F.lit(0))),
    "exposure_days": lambda: F.coalesce("covered", F.lit(0)),
}
