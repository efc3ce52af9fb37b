"""Batch scores: a fitted model applied to feature rows on the workers."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.tables.gold_models import PREDICTION
from clinical_lakehouse.training.inputs import as_inputs, risks

_KEPT = ("research_subject_key", "index_date", "feature_version", "organization_key")
_SCORED = (
    "research_subject_key BIGINT, index_date DATE, feature_version STRING, "
    "organization_key BIGINT, score DOUBLE"
)


def only_due(
    features: DataFrame, scored: DataFrame, version: Mapping[str, Any], until: date
) -> DataFrame:
    """Feature rows after the version's last training date, up to `until`, without a score of it."""
    first = F.col("index_date") > F.lit(version["train_to_date"])
    due = features.filter(first & (F.col("index_date") <= F.lit(until)))
    same = (F.col("model_name") == version["model_name"]) & (
        F.col("model_version") == version["model_version"]
    )
    done = scored.filter(same).select("research_subject_key", "index_date")
    return due.join(done, ["research_subject_key", "index_date"], "left_anti")


def predictions(
    rows: DataFrame, model: Any, kinds: Mapping[str, str], version: Mapping[str, Any], at: datetime
) -> DataFrame:
    """gold.prediction: one row per feature row; `kinds` are the model's inputs and their types. The
    model travels inside the function, so that each worker unpacks it once and needs no registry
    (works over Spark Connect too)."""
    columns = list(dict.fromkeys([*_KEPT, *kinds]))
    scores = rows.select(*columns).mapInPandas(_scorer(model, dict(kinds)), _SCORED)
    filled = scores.select(
        "*",
        F.lit(version["model_name"]).alias("model_name"),
        F.lit(int(version["model_version"])).cast("int").alias("model_version"),
        F.lit(at).cast("timestamp").alias("scored_at"),
    )
    return filled.select(*PREDICTION.column_names)


def _scorer(
    model: Any, kinds: dict[str, str]
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    def scored(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            yield batch[list(_KEPT)].assign(score=risks(model, as_inputs(batch, kinds)))

    return scored
