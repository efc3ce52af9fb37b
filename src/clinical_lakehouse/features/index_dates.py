"""The grid of index dates: who is asked about, and when."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# A Monday: the grid's dates lie whole steps from it, whoever enrols when.
FIRST_MONDAY = date(1970, 1, 5)
_OLDEST_YEARS = 90


def index_rows(subjects: DataFrame, patients: DataFrame, until: date, every_days: int) -> DataFrame:
    """One row per participation and grid date in [enrolled, min(left, died, until)), with what is
    known of the person. The day of `until` is not over, so it is not in the grid."""
    people = patients.drop("organization_key")
    known = subjects.filter("started_at IS NOT NULL").join(people, "subject_key", "left")
    last = F.least(F.to_date("ended_at"), F.to_date("deceased_at"), F.lit(until))
    dated = known.select(
        *("research_subject_key", "subject_key", "organization_key"),
        *("sex", "race", "ethnicity", "birth_year", "is_over_89"),
        F.to_date("started_at").alias("enrolled_date"),
        last.alias("last_date"),
    )
    spread = dated.withColumn("index_date", F.explode(_grid(every_days)))
    return spread.select(
        *("research_subject_key", "subject_key", "organization_key", "index_date"),
        "enrolled_date",
        F.datediff("index_date", "enrolled_date").alias("study_day"),
        _age().alias("age_years"),
        *("sex", "race", "ethnicity"),
    )


def _grid(every_days: int) -> Column:
    """Grid dates from `enrolled_date` on and before `last_date`; none where it ends first."""
    passed = F.pmod(F.datediff(F.lit(FIRST_MONDAY), "enrolled_date"), F.lit(every_days))
    first = F.date_add("enrolled_date", passed.cast("int"))
    final = F.date_sub("last_date", 1)
    step = F.make_interval(days=F.lit(every_days))
    return F.when(first <= final, F.sequence(first, final, step))


def _age() -> Column:
    """Years since the middle of the birth year (all that de-identified data tell), at most 90."""
    middle = F.make_date("birth_year", F.lit(7), F.lit(1))
    years = F.round(F.datediff("index_date", middle) / 365.25, 2)
    capped = F.least(F.greatest(years, F.lit(0.0)), F.lit(float(_OLDEST_YEARS)))
    return F.when(F.col("is_over_89"), F.lit(float(_OLDEST_YEARS))).otherwise(capped)
