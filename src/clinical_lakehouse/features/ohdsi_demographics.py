"""OHDSI's demographic covariates: person, index date, observation time, care site."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

GENDER, AGE, AGE_GROUP, RACE, ETHNICITY, YEAR, MONTH = range(1, 8)
PRIOR, POST, IN_COHORT, YEAR_MONTH, CARE_SITE = range(8, 13)
_AGE_GROUP_YEARS = 5


def demographics(cohort: DataFrame, cdm: Mapping[str, DataFrame], ids: Sequence[int]) -> DataFrame:
    """One row per cohort row and demographic covariate that is known of it. Age is the difference
    of calendar years, for OHDSI counts so."""
    known = _known(cohort, cdm, ids)
    made = _covariates()
    pairs = F.array(*(F.struct(*_named(number, *made[number])) for number in ids))
    rows = known.select("row_id", F.explode(pairs).alias("one")).select("row_id", "one.*")
    return rows.filter("covariate_id IS NOT NULL AND covariate_value IS NOT NULL")


def _named(number: int, concept: Column, value: Column) -> tuple[Column, Column]:
    covariate = concept.cast("bigint") * 1000 + number
    return covariate.alias("covariate_id"), value.cast("double").alias("covariate_value")


def _covariates() -> dict[int, tuple[Column, Column]]:
    """What stands for the concept in the id, and the value."""
    index, one = F.col("cohort_start_date"), F.lit(1.0)
    age = F.year(index) - F.col("year_of_birth")
    return {
        GENDER: (F.when(F.col("gender_concept_id") != 0, F.col("gender_concept_id")), one),
        AGE: (F.lit(1), age),
        AGE_GROUP: (F.floor(age / _AGE_GROUP_YEARS), one),
        RACE: (F.when(F.col("is_race"), F.col("race_concept_id")), one),
        ETHNICITY: (F.when(F.col("is_ethnicity"), F.col("ethnicity_concept_id")), one),
        YEAR: (F.year(index), one),
        MONTH: (F.month(index), one),
        PRIOR: (F.lit(1), F.datediff(index, F.col("observed_from"))),
        POST: (F.lit(1), F.datediff(F.col("observed_to"), index)),
        IN_COHORT: (F.lit(1), F.datediff(F.col("cohort_end_date"), index)),
        YEAR_MONTH: (F.year(index) * 100 + F.month(index), one),
    }


def _known(cohort: DataFrame, cdm: Mapping[str, DataFrame], ids: Sequence[int]) -> DataFrame:
    """The cohort with its persons and the observation period that holds the index date."""
    person = cdm["person"].select(
        F.col("person_id").alias("subject_id"),
        *("year_of_birth", "gender_concept_id", "race_concept_id", "ethnicity_concept_id"),
    )
    rows = cohort.join(person, "subject_id")
    periods = cdm["observation_period"].select(
        F.col("person_id").alias("_person"),
        F.col("observation_period_start_date").alias("observed_from"),
        F.col("observation_period_end_date").alias("observed_to"),
    )
    within = F.col("cohort_start_date").between(F.col("observed_from"), F.col("observed_to"))
    rows = rows.join(periods, (F.col("subject_id") == F.col("_person")) & within, "left")
    return reduce(lambda known, kind: _flagged(known, cdm, kind), ("race", "ethnicity"), rows)


def _flagged(rows: DataFrame, cdm: Mapping[str, DataFrame], kind: str) -> DataFrame:
    """`is_race`: the concept is one of that class, as OHDSI asks."""
    real = cdm["concept"].filter(F.lower("concept_class_id") == kind)
    named = real.select(F.col("concept_id").alias(f"{kind}_concept_id"))
    told = named.distinct().withColumn(f"is_{kind}", F.lit(True))
    return rows.join(F.broadcast(told), f"{kind}_concept_id", "left")


def care_sites(cohort: DataFrame, cdm: Mapping[str, DataFrame]) -> DataFrame:
    """The care site of the index date: of the visit's detail, else of the visit, else of the
    person; of several the one that ends first."""
    person = cdm["person"].select(
        F.col("person_id").alias("subject_id"), F.col("care_site_id").alias("site_of_person")
    )
    rows = cohort.select("row_id", "subject_id", "cohort_start_date").join(person, "subject_id")
    for name, table in (("visit", "visit_occurrence"), ("visit_detail", "visit_detail")):
        spans = cdm[table].select(
            F.col("person_id").alias("_person"),
            F.col(f"{name}_start_date").alias("_from"),
            F.col(f"{name}_end_date").alias(f"{name}_ends"),
            F.col("care_site_id").alias(f"site_of_{name}"),
        )
        within = F.col("cohort_start_date").between(F.col("_from"), F.col(f"{name}_ends"))
        same = (F.col("subject_id") == F.col("_person")) & within
        rows = rows.join(spans, same, "left").drop("_person", "_from")
    site = F.coalesce("site_of_visit_detail", "site_of_visit", "site_of_person")
    order = Window.partitionBy("row_id").orderBy("visit_detail_ends", "visit_ends", site)
    first = rows.filter(site.isNotNull()).withColumn("_place", F.row_number().over(order))
    return first.filter("_place = 1").select(
        "row_id",
        (site.cast("bigint") * 1000 + CARE_SITE).alias("covariate_id"),
        F.lit(1.0).alias("covariate_value"),
    )
