"""For whom: how the subjects of each site and group fare in a window, and who is off."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.age_bands import UNKNOWN, age_band
from clinical_lakehouse.methods.calibration import observed_expected
from clinical_lakehouse.methods.intervals import Floats, Interval, simultaneous, wilson
from clinical_lakehouse.methods.small_cells import SMALLEST_CELL
from clinical_lakehouse.methods.weighted_performance import weighted_auroc
from clinical_lakehouse.monitoring.intervention import Acted, untreated_weights

Row = dict[str, Any]
GROUP = "group"  # as a population of performance.per_window
SITE, SEX, AGE_BAND, RACE = "site", "sex", "age_band", "race"
ATTRIBUTES = (SITE, SEX, AGE_BAND, RACE)
_MOST_NAMED = 3


def with_groups(rows: DataFrame, features: DataFrame) -> DataFrame:
    """Rows at risk with site, sex, race and age_years of the subject's first index date, so that
    nobody changes groups between windows."""
    key, told = "research_subject_key", ("organization_key", "sex", "race", "age_years")
    first = features.groupBy(key).agg(F.min_by(F.struct(*told), "index_date").alias("_first"))
    site = F.col("_first.organization_key").cast("string").alias(SITE)
    groups = first.select(key, site, *(f"_first.{name}" for name in told[1:]))
    return rows.join(groups, key, "left")


def group_rows(
    rows: pd.DataFrame, risks: Floats, acted: Acted, confidence: float, threshold: float | None
) -> list[Row]:
    """Figures of each attribute's groups in one window, one per metric.

    Observed over expected of those nobody acted on; AUROC, and the rates of high scores among all
    (selection_rate), with the outcome (true_positive_rate) and without it (false_positive_rate), as
    if nobody had been acted on. Limits hold for all groups of an attribute together (Sidak 1967).
    Groups below 11 subjects have counts alone.
    """
    if SITE not in rows:
        return []
    weights = untreated_weights(rows["score"], acted)
    given = rows.assign(_risk=risks, _weight=np.nan if weights is None else weights)
    found: list[Row] = []
    for attribute in ATTRIBUTES:
        labels = _labels(rows, attribute)
        sizes = labels.value_counts()
        level = simultaneous(confidence, int((sizes >= SMALLEST_CELL).sum()))
        for group, mine in given.groupby(labels.to_numpy(), sort=True):
            whose = {"population": GROUP, "attribute": attribute, "group_value": str(group)}
            counts = {"row_count": len(mine), "event_count": int(mine["is_event"].sum())}
            for metric, figure in _figures(mine, level, threshold):
                found.append({**_row(metric, figure), **whose, **counts})
    return found


def standing_out(metric: str, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """gold.group_performance rows of one window that are worse than their attribute's middle group
    beyond chance."""
    mine = [row for row in rows if row["metric"] == metric and row["low"] is not None]
    found = []
    for attribute in ATTRIBUTES:
        groups = [row for row in mine if row["attribute"] == attribute]
        middle = float(np.median([row["value"] for row in groups])) if len(groups) > 1 else None
        found += [row for row in groups if middle is not None and _is_worse(row, middle)]
    return found


def whom(metric: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Who stands out in one window, in words; else that nobody does."""
    mine = [row for row in rows if row["metric"] == metric and row["low"] is not None]
    named = standing_out(metric, mine)
    if not named:
        return "in all sites and groups alike" if mine else "no site or group is large enough"
    named.sort(key=lambda row: abs(np.log(max(row["value"], 1e-6))), reverse=True)
    said = [f"{named_group(row)} ({row['value']:.2f})" for row in named[:_MOST_NAMED]]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"above all {', '.join(said)}{more}"


def named_group(row: Mapping[str, Any]) -> str:
    """A group in words: site 17, age band 65-74."""
    return f"{row['attribute'].replace('_', ' ')} {row['group_value']}"


def _is_worse(row: Mapping[str, Any], middle: float) -> bool:
    """AUROC: lower. Observed over expected: further from 1, on either side."""
    if row["metric"] == "auroc":
        return bool(row["high"] < middle)
    return bool(row["low"] > max(middle, 1.0) or row["high"] < min(middle, 1.0))


def _labels(rows: pd.DataFrame, attribute: str) -> pd.Series:
    if attribute == AGE_BAND:
        return age_band(rows["age_years"])
    return rows[attribute].fillna(UNKNOWN)


def _figures(
    mine: pd.DataFrame, level: float, threshold: float | None
) -> Iterator[tuple[str, Interval | None]]:
    events, weights = mine["is_event"].to_numpy(bool), mine["_weight"].to_numpy(float)
    untreated, is_shown = ~mine["is_treated"].to_numpy(bool), len(mine) >= SMALLEST_CELL
    can_weigh = is_shown and not np.isnan(weights).any()
    own, risks = events[untreated], mine["_risk"].to_numpy(float)[untreated]
    yield "observed_expected", observed_expected(own, risks, level) if is_shown else None
    area = weighted_auroc(events, mine["score"], weights, level) if can_weigh else None
    yield "auroc", area
    if threshold is None:
        return
    high = mine["score"].to_numpy(float) >= threshold
    every = np.ones_like(high)
    for metric, among in (
        ("selection_rate", every), ("true_positive_rate", events), ("false_positive_rate", ~events)
    ):  # fmt: skip
        yield metric, _rate(high[among], weights[among], level) if can_weigh else None


def _rate(hits: np.ndarray, weights: Floats, level: float) -> Interval | None:
    """A weighted share, its limits those of as many rows as the weights are worth (Kish 1965)."""
    total = float(weights.sum())
    if total <= 0:
        return None
    worth = total**2 / float((weights**2).sum())
    return wilson(float(weights[hits].sum()) / total * worth, worth, level)


def _row(metric: str, found: Interval | None) -> Row:
    ends: Sequence[float | None] = (
        (found.value, found.low, found.high) if found else (None, None, None)
    )
    reference = 1.0 if metric == "observed_expected" else None
    return {"metric": metric, "reference": reference, **dict(zip(("value", "low", "high"), ends,
                                                                 strict=True))}  # fmt: skip
