"""Values of gold.feature_value as profiles by index date, made on the workers, and as a matrix."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.feature_checks import DayProfile, day_profile, edges_of
from clinical_lakehouse.methods.drift_verdict import Profile
from clinical_lakehouse.methods.intervals import Floats

PROFILE_SCHEMA = (
    "feature_name STRING, index_date DATE, edges ARRAY<DOUBLE>, counts ARRAY<BIGINT>, "
    "low DOUBLE, high DOUBLE, reasons MAP<STRING, BIGINT>"
)


def long_values(values: DataFrame, names: Sequence[str]) -> DataFrame:
    """One row per person, index date and feature: its value, and the reason where there is none."""
    listed = F.explode(F.array(*(F.lit(name) for name in names)))
    spread = values.withColumn("feature_name", listed)
    return spread.select(
        *("feature_name", "index_date"),
        F.try_element_at("feature_values", "feature_name").alias("value"),
        F.try_element_at("null_reasons", "feature_name").alias("reason"),
    )


def profiler(
    frozen: Mapping[str, tuple[float, ...]],
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A function of one feature's long values: a profile for each index date by its frozen edges,
    or by those of its first date that has enough values."""

    def profiled(rows: pd.DataFrame) -> pd.DataFrame:
        name = str(rows["feature_name"].iloc[0])
        days = [(day, own) for day, own in rows.sort_values("index_date").groupby("index_date")]
        cuts = frozen.get(name, ())
        made = []
        for day, own in days:
            values = own["value"].to_numpy(dtype=float, na_value=np.nan)
            cuts = cuts or edges_of(values)
            reasons = [reason if isinstance(reason, str) else None for reason in own["reason"]]
            one = day_profile(values, reasons, cuts)
            made.append(
                {
                    "feature_name": name,
                    "index_date": day,
                    "edges": list(cuts),
                    "counts": list(one.profile.counts),
                    "low": one.low,
                    "high": one.high,
                    "reasons": dict(one.reasons),
                }
            )
        return pd.DataFrame(made)

    return profiled


def as_profile(row: Any) -> DayProfile:
    """A row of gold.feature_profile."""
    profile = Profile(tuple(row["edges"]), tuple(row["counts"]))
    return DayProfile(profile, row["low"], row["high"], dict(row["reasons"] or {}))


def people_matrix(rows: pd.DataFrame, names: Sequence[str], more: Sequence[str] = ()) -> Floats:
    """People by feature (NaN: no value), then the columns `more` as numbers."""
    own = [[one.get(name) for name in names] for one in rows["feature_values"]]
    values = np.array(own, dtype=float).reshape(len(rows), len(names))
    others = [rows[name].to_numpy(dtype=float) for name in more]
    return np.column_stack([values, *others]) if others else values
