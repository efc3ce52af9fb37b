"""Labels of an OMOP cohort: who gets the outcome in the time at risk, and who may be asked.

Meaning and order of the steps are those of OHDSI PatientLevelPrediction's study population
(Reps et al., J Am Med Inform Assoc 2018;25:969-75).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

FIRST_ENTRY = "not the first entry"
UNOBSERVED = "index date not observed"
WASHOUT = "washout"
PRIOR_OUTCOME = "prior outcome"
TIME_AT_RISK = "time at risk"


@dataclass(frozen=True)
class Population:
    """The rules, in days. The time at risk runs from `risk_start_days` to `risk_end_days` after the
    index date, and ends with the observation. `prior_outcome_days` None asks for no such rule;
    people with the outcome may have less than `minimum_at_risk_days` if `keep_outcomes`."""

    risk_start_days: int = 1
    risk_end_days: int = 365
    washout_days: int = 365
    prior_outcome_days: int | None = 99999
    minimum_at_risk_days: int = 364
    first_entry_only: bool = True
    keep_outcomes: bool = True

    def steps(self) -> Iterator[str]:
        """The steps that these rules make, in order."""
        if self.first_entry_only:
            yield FIRST_ENTRY
        yield from (UNOBSERVED, WASHOUT)
        if self.prior_outcome_days is not None:
            yield PRIOR_OUTCOME
        yield TIME_AT_RISK


def label_cohort(
    cohort: DataFrame, outcomes: DataFrame, periods: DataFrame, rules: Population
) -> DataFrame:
    """One row per cohort entry: subject_id, cohort_start_date, risk_start_date, risk_end_date,
    label (outcomes in the time at risk), outcome_date (the first of them), `dropped_by`.

    `cohort` has subject_id and cohort_start_date, `outcomes` subject_id and outcome_date, `periods`
    are omop.observation_period. attrition.counted(rules.steps(), ...) counts the steps.
    """
    entries = _with_observation(cohort, periods)
    index = F.col("cohort_start_date")
    begun = F.date_add(index, rules.risk_start_days)
    ended = F.least(F.date_add(index, rules.risk_end_days), F.col("observed_to"))
    dated = entries.withColumns({"risk_start_date": begun, "risk_end_date": ended})
    seen = _with_outcomes(dated, outcomes, rules)
    return seen.select(
        *("subject_id", "cohort_start_date", "risk_start_date", "risk_end_date"),
        F.coalesce("label", F.lit(0)).cast("bigint").alias("label"),
        "outcome_date",
        _dropped_by(rules).alias("dropped_by"),
    )


def _with_observation(cohort: DataFrame, periods: DataFrame) -> DataFrame:
    """The entries with the observation period that holds their index date, and their place."""
    entries = cohort.select("subject_id", "cohort_start_date").distinct()
    order = Window.partitionBy("subject_id").orderBy("cohort_start_date")
    placed = entries.withColumn("entry", F.row_number().over(order))
    spans = periods.select(
        F.col("person_id").alias("_person"),
        F.col("observation_period_start_date").alias("observed_from"),
        F.col("observation_period_end_date").alias("observed_to"),
    )
    within = F.col("cohort_start_date").between(F.col("observed_from"), F.col("observed_to"))
    same = (F.col("subject_id") == F.col("_person")) & within
    return placed.join(spans, same, "left").drop("_person")


def _with_outcomes(dated: DataFrame, outcomes: DataFrame, rules: Population) -> DataFrame:
    """How many outcomes lie in the time at risk, the first of them, and whether one came before."""
    day = F.col("outcome_date")
    at_risk = day.between(F.col("risk_start_date"), F.col("risk_end_date"))
    lookback = rules.prior_outcome_days or 0
    before = (day < F.col("risk_start_date")) & (
        F.datediff(day, F.col("cohort_start_date")) > -lookback
    )
    grain = ("subject_id", "cohort_start_date")
    joined = dated.select(*grain, "risk_start_date", "risk_end_date").join(
        outcomes.select("subject_id", "outcome_date"), "subject_id"
    )
    found = joined.groupBy(*grain).agg(
        F.count_if(at_risk).alias("label"),
        F.min(F.when(at_risk, day)).alias("outcome_date"),
        F.max(before).alias("had_before"),
    )
    return dated.join(found, list(grain), "left")


def _dropped_by(rules: Population) -> Column:
    """The first rule that an entry breaks."""
    observed = F.datediff("cohort_start_date", "observed_from")
    at_risk = F.datediff("risk_end_date", "risk_start_date")
    spared = F.lit(rules.keep_outcomes) & (F.coalesce("label", F.lit(0)) > 0)
    short = (at_risk < 0) | ((at_risk < rules.minimum_at_risk_days) & ~spared)
    reason = F.when(F.lit(rules.first_entry_only) & (F.col("entry") > 1), FIRST_ENTRY)
    reason = reason.when(F.col("observed_from").isNull(), UNOBSERVED)
    reason = reason.when(observed < rules.washout_days, WASHOUT)
    if rules.prior_outcome_days is not None:
        reason = reason.when(F.coalesce("had_before", F.lit(False)), PRIOR_OUTCOME)
    return reason.when(short, TIME_AT_RISK)
