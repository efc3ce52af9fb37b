"""A canary's rows: what both versions said of the same people, who is shown which, its state."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.lots import held_out, lot
from clinical_lakehouse.training.canary import (
    OPEN,
    CanaryPlan,
    Look,
    Standing,
)

Row = Mapping[str, Any]
_KEY = ("research_subject_key", "index_date")


def bucket(subject: Column, model_name: str, version: int) -> Column:
    """The same place as `bucket_of` gives, of a column of subjects."""
    return lot(f"{model_name}/{version}", subject)


def open_canary(looks: Iterable[Row], champion: int | None) -> Row | None:
    """The last look at the canary that is open; None where there is none."""
    last = latest(looks)
    is_open = last and last["state"] in OPEN and last["champion_version"] == champion
    return last if is_open else None


def latest(looks: Iterable[Row]) -> Row | None:
    """The last look of all."""
    return max(looks, key=lambda row: (row["looked_at"], row["model_version"]), default=None)


def paired(predictions: DataFrame, canary: Row) -> DataFrame:
    """Index dates since the canary began that both versions scored: `new`, `old`, scored_at."""
    since = F.col("index_date") >= F.to_date(F.lit(canary["started_at"]))
    dated = predictions.filter(since)

    def by(version: int, name: str) -> DataFrame:
        own = dated.filter(F.col("model_version") == version)
        return own.select(*_KEY, F.col("score").alias(name))

    new = by(canary["model_version"], "new")
    return new.join(by(canary["champion_version"], "old"), list(_KEY))


def shown(made: DataFrame, canary: Row | None, champion: int) -> DataFrame:
    """gold.served_prediction rows of new predictions, without is_held_out: the canary's version for
    its share of the subjects, the version in use for the others."""
    version: Column = F.lit(champion)
    if canary is not None:
        place = bucket(F.col("research_subject_key"), canary["model_name"], canary["model_version"])
        is_taken = place < F.lit(canary["share_ratio"])
        version = F.when(is_taken, F.lit(canary["model_version"])).otherwise(version)
    kept = made.filter(F.col("model_version") == version)
    names = ("model_name", *_KEY, "model_version")
    return kept.select(*names, F.col("scored_at").alias("served_at"))


def marked(served: DataFrame, model_name: str, ratio: float) -> DataFrame:
    """With is_held_out: whose risks are shown with the mark that nobody is to act on them."""
    held = held_out(F.col("research_subject_key"), model_name, ratio)
    return served.withColumn("is_held_out", held)


def look_row(
    canary: Row, standing: Standing, look: Look, plan: CanaryPlan, at: datetime
) -> dict[str, Any]:
    """The gold.model_canary row of a look."""
    gain = look.difference
    is_step = standing.phase != canary["phase"]
    kept = ("model_name", "model_version", "champion_version", "started_at")
    return {
        **{name: canary[name] for name in kept},
        "looked_at": at,
        "state": standing.state,
        "phase": standing.phase,
        "share_ratio": plan.shares[standing.phase] if standing.state in OPEN else 0.0,
        "reason": standing.reason,
        "phase_at": at if is_step else canary["phase_at"],
        "subject_count": look.subjects,
        "outcome_count": look.outcomes,
        "event_count": look.events,
        "difference": gain.value if gain else None,
        "low": gain.low if gain else None,
        "high": gain.high if gain else None,
    }


def first_look(
    model_name: str, versions: tuple[int, int], plan: CanaryPlan, at: datetime
) -> dict[str, Any]:
    """The row that begins a canary of `versions` (new, in use) at its first share."""
    key = {"model_name": model_name, "model_version": versions[0], "champion_version": versions[1]}
    began = {**key, "started_at": at, "phase_at": at, "phase": 0}
    standing = Standing(OPEN[0], 0, f"Began at {plan.shares[0]:.0%} of the subjects.")
    return look_row(began, standing, Look(0, 0, 0, None, 0), plan, at)
