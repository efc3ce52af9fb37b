"""The model matrix: feature rows with a known outcome, split by date, on the driver."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.training.attrition import only_labelled
from clinical_lakehouse.training.families import CATEGORIES
from clinical_lakehouse.training.split import time_cut

# Keys, dates and site are no inputs; race and ethnicity are kept for judging fairness only.
_NO_INPUTS = (
    *("research_subject_key", "subject_key", "index_date", "feature_version"),
    *("organization_key", "race", "ethnicity"),
)
OUTCOME = ("is_event", "followed_days", "cause")
INPUTS = tuple(c for c in SUBJECT_FEATURE.column_names if c not in _NO_INPUTS)
MAX_ROWS = 500_000  # about 300 MB on the driver
_SHARES = 10_000
_MIN_ROWS, _MIN_EVENTS = 50, 10


@dataclass(frozen=True)
class Matrix:
    """Rows to train on and rows held out, later in time; one feature version."""

    train: pd.DataFrame
    test: pd.DataFrame
    feature_version: str

    def digest(self, settings: Mapping[str, Any]) -> str:
        """SHA-256 of the rows and of what else decides the model: the identity of a training."""
        sha = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
        for rows in (self.train, self.test):
            sha.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
        return sha.hexdigest()


def only_known(labelled: DataFrame, count: int | None = None) -> DataFrame:
    """Rows that no step dropped (population.labelled), with inputs, keys and outcome, as many as
    fit the driver; `count` spares counting them."""
    keys = ["subject_key", "research_subject_key", "organization_key", "index_date"]
    wanted = [*keys, "feature_version", *INPUTS]
    return within_bound(only_labelled(labelled).select(*wanted, *OUTCOME), count)


def within_bound(rows: DataFrame, count: int | None = None) -> DataFrame:
    """The rows, or of more than the driver should hold those of a fixed share of subjects."""
    count = rows.count() if count is None else count
    if count <= MAX_ROWS:
        return rows
    share = F.pmod(F.xxhash64("subject_key"), F.lit(_SHARES))
    return rows.filter(share < int(_SHARES * MAX_ROWS / count))


def as_matrix(rows: pd.DataFrame) -> Matrix:
    """Rows in a fixed order, split at the date that leaves the last 30% of index dates to test.

    Raises ModelError where there is too little to learn from (`too_few`).
    """
    ordered = rows.sort_values(["index_date", "research_subject_key"], ignore_index=True)
    numbers = [name for name in INPUTS if name not in CATEGORIES]
    ordered = ordered.astype(dict.fromkeys(numbers, float)).astype({"is_event": bool})
    if ordered["feature_version"].nunique() > 1:
        raise ModelError("feature rows are of more than one version; run feature_engineering again")
    if len(ordered) < _MIN_ROWS:
        raise ModelError(_too_few(len(ordered), int(ordered["is_event"].sum())))
    is_test = ordered["index_date"] >= time_cut(ordered)
    train, test = ordered[~is_test], ordered[is_test]
    events = int(train["is_event"].sum())
    if len(train) < _MIN_ROWS or min(events, len(train) - events) < _MIN_EVENTS:
        raise ModelError(_too_few(len(train), events))
    return Matrix(train, test, str(ordered["feature_version"].iloc[0]))


def too_few(rows: pd.DataFrame) -> bool:
    """Too few rows, or too few of one outcome among those that would be trained on?"""
    if len(rows) < _MIN_ROWS:
        return True
    earlier = rows[rows["index_date"] < time_cut(rows)]
    events = int(earlier["is_event"].sum())
    return len(earlier) < _MIN_ROWS or min(events, len(earlier) - events) < _MIN_EVENTS


def _too_few(rows: int, events: int) -> str:
    return (
        f"too little to train on: {rows} rows with a known outcome, {events} of them events; "
        f"{_MIN_ROWS} rows and {_MIN_EVENTS} of each outcome are needed, so train later"
    )
