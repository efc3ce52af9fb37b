"""Who a declared model is asked of, and whose outcome is known: each row fits or says why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.outcomes import with_outcome
from clinical_lakehouse.training.cohort_labels import PRIOR_OUTCOME, TIME_AT_RISK, WASHOUT

NOT_KNOWN_YET = "outcome not known yet"
AT_RISK = "at_risk"


class Asked(Protocol):
    """The rules of conf/models about people, as settings hold them."""

    @property
    def washout_days(self) -> int:
        """Days on study before the index date."""

    @property
    def prior_outcome_days(self) -> int | None:
        """No event so many days before it, the index date itself included; None: no such rule."""


@dataclass(frozen=True)
class Rules:
    """What decides a row: the population at the index date, the horizon in days, and what becomes
    of those who end before it (`censoring` of conf/base.yml)."""

    population: Asked
    horizon_days: int
    censoring: str

    def steps(self) -> Iterator[str]:
        """The steps in order, as attrition counts them."""
        if self.population.washout_days:
            yield WASHOUT
        if self.population.prior_outcome_days is not None:
            yield PRIOR_OUTCOME
        yield NOT_KNOWN_YET
        if self.censoring == AT_RISK:
            yield TIME_AT_RISK


def labelled(
    rows: DataFrame, ends: DataFrame, rules: Rules, until: date, margin_days: int
) -> DataFrame:
    """Feature rows with their outcome (methods.outcomes.with_outcome) and `dropped_by`, the first
    step that drops them, null for those to train on."""
    known = with_outcome(rows, ends, rules.horizon_days, until, margin_days)
    reason = _outside(rules).otherwise(F.when(~F.col("is_complete"), NOT_KNOWN_YET))
    if rules.censoring == AT_RISK:
        short = ~F.col("is_event") & (F.col("followed_days") < rules.horizon_days)
        reason = F.coalesce(reason, F.when(short, TIME_AT_RISK))
    return known.withColumn("dropped_by", reason)


def only_asked(rows: DataFrame, ends: DataFrame, rules: Rules, until: date) -> DataFrame:
    """The rows of whom the model may be asked, by what was known at their index dates."""
    if not rules.population.washout_days and rules.population.prior_outcome_days is None:
        return rows
    known = with_outcome(rows, ends, rules.horizon_days, until, 0)
    return known.filter(_outside(rules).isNull()).select(*rows.columns)


def _outside(rules: Rules) -> Column:
    prior, asked = rules.population.prior_outcome_days, rules.population
    reason = F.when(F.coalesce("study_day", F.lit(0)) < asked.washout_days, WASHOUT)
    if prior is None:
        return reason
    return reason.when(F.col("days_since_event") < prior, PRIOR_OUTCOME)
