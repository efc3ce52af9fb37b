"""Every feature by site and period in one pass: counts by bin, medians and spreads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.drift_verdict import Profile
from clinical_lakehouse.methods.intervals import Floats

WINDOW_DAYS = 28
CURRENT = "current"
TRAINING, PREVIOUS, LAST_YEAR = "training", "previous", "last_year"
_YEAR_DAYS = 364  # whole weeks, so that the same weekdays are compared
_BINS = 10
_BAND_DAYS, _LAST_BAND = 91, 3
_SCHEMA = (
    "site STRING, band STRING, period STRING, feature_name STRING, counts ARRAY<BIGINT>, "
    "median DOUBLE, spread DOUBLE, unknown_count BIGINT"
)


# A site and a band of time on study; a period; a feature.
Stratum = tuple[str, str]
Key = tuple[Stratum, str, str]


@dataclass(frozen=True)
class Described:
    """A feature at a site in a period: its profile, median and interquartile range, and how many
    values of it are codes that the reference does not know."""

    profile: Profile
    median: float | None
    spread: float | None
    unknown_count: int = 0


def periods(version: Mapping[str, Any], as_of: date) -> dict[str, tuple[date, date]]:
    """First and last day of the window up to `as_of` and of what it is held against: what the
    version was trained on, the window before, and the same days of last year."""
    first = as_of - timedelta(days=WINDOW_DAYS - 1)

    def before(days: int) -> tuple[date, date]:
        return first - timedelta(days=days), as_of - timedelta(days=days)

    return {
        CURRENT: (first, as_of),
        TRAINING: (version["train_from_date"], version["train_to_date"]),
        PREVIOUS: before(WINDOW_DAYS),
        LAST_YEAR: before(_YEAR_DAYS),
    }


def latest_rows(
    features: DataFrame, spans: Mapping[str, tuple[date, date]], names: Sequence[str]
) -> DataFrame:
    """One row per participation and period, its latest: rows of one subject say the same thing
    again. With `period`, `site` and `band`, the quarter of the year on study: declared context; and
    with the person and the row's index date."""
    spread = F.array(*(_named(name, *span) for name, span in spans.items()))
    dated = features.withColumn("period", F.explode(F.array_compact(spread)))
    columns = [name for name in names if name != "index_date"]
    context = [name for name in ("organization_key", "study_day") if name not in columns]
    kept = F.max_by(F.struct(*columns, *context), "index_date").alias("row")
    latest = F.max("index_date").alias("index_date")
    found = dated.groupBy("research_subject_key", "period", "subject_key").agg(kept, latest)
    site = F.coalesce(F.col("row.organization_key").cast("string"), F.lit("unknown"))
    quarter = F.least(F.floor(F.col("row.study_day") / _BAND_DAYS), F.lit(_LAST_BAND))
    band = F.coalesce(quarter.cast("string"), F.lit("unknown"))
    chosen = [F.col(f"row.{name}").alias(name) for name in columns]
    key = ("research_subject_key", "subject_key", "period", "index_date")
    return found.select(*key, site.alias("site"), band.alias("band"), *chosen)


def _named(name: str, first: date, last: date) -> Column:
    return F.when(F.col("index_date").between(F.lit(first), F.lit(last)), F.lit(name))


def references(
    rows: DataFrame, numbers: Sequence[str], texts: Sequence[str]
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[str, ...]]]:
    """Inner edges of ten equal shares of each number in the training period (equal ones count once)
    and the codes of each text, in one pass."""
    ranks = [share / _BINS for share in range(1, _BINS)]
    wanted = [F.percentile_approx(name, F.lit(ranks), 10_000).alias(name) for name in numbers]
    wanted += [F.array_sort(F.collect_set(name)).alias(name) for name in texts]
    found = rows.filter(F.col("period") == TRAINING).agg(*wanted).collect()[0]
    edges = {name: tuple(sorted(set(map(float, found[name])))) for name in numbers if found[name]}
    return edges, {name: tuple(found[name]) for name in texts if found[name]}


def described(
    rows: DataFrame,
    edges: Mapping[str, tuple[float, ...]],
    codes: Mapping[str, tuple[str, ...]],
) -> dict[Key, Described]:
    """By site and band, period and feature; made on the workers, a row for each comes to the
    driver."""
    found = rows.groupBy("site", "band", "period").applyInPandas(_describer(edges, codes), _SCHEMA)
    cuts = {**edges, **{name: _code_edges(known) for name, known in codes.items()}}
    return {
        ((row["site"], row["band"]), row["period"], row["feature_name"]): Described(
            Profile(cuts[row["feature_name"]], tuple(row["counts"])),
            row["median"],
            row["spread"],
            row["unknown_count"],
        )
        for row in found.collect()
    }


def describe_values(values: Floats, edges: tuple[float, ...]) -> dict[str, Any]:
    """Counts, median and interquartile range of one feature's values; NaN is missing."""
    profile, known = Profile.of(values, edges), values[~np.isnan(values)]
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]) if known.size else [None] * 3
    spread = None if low is None else float(high - low)
    median = None if middle is None else float(middle)
    counts = [int(count) for count in profile.counts]
    return {"counts": counts, "median": median, "spread": spread, "unknown_count": 0}


def describe_codes(values: pd.Series, known: tuple[str, ...]) -> dict[str, Any]:
    """Counts by known code, the last but one being codes that are not known."""
    place = {code: float(number) for number, code in enumerate(known)}
    numbers = values.map(lambda code: place.get(code, float(len(known))) if code else np.nan)
    found = describe_values(numbers.to_numpy(dtype=float), _code_edges(known))
    unknown = int((numbers == len(known)).sum())
    return {**found, "median": None, "spread": None, "unknown_count": unknown}


def _code_edges(known: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(number + 0.5 for number in range(len(known)))


def _describer(
    edges: Mapping[str, tuple[float, ...]], codes: Mapping[str, tuple[str, ...]]
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def describe(rows: pd.DataFrame) -> pd.DataFrame:
        where = {name: rows[name].iloc[0] for name in ("site", "band", "period")}
        made = [
            {**where, "feature_name": name,
             **describe_values(rows[name].to_numpy(dtype=float, na_value=np.nan), cuts)}
            for name, cuts in edges.items()
        ] + [
            {**where, "feature_name": name, **describe_codes(rows[name], known)}
            for name, known in codes.items()
        ]  # fmt: skip
        return pd.DataFrame(made)

    return describe
