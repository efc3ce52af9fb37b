"""Visits, adverse events, doses, drugs and conditions: counts at each index date."""

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.comorbidity import charlson_category, charlson_score

VISIT_DAYS, SHORT_DAYS, LONG_DAYS = 90, 30, 90
_ATTENDED = ("arrived", "triaged", "in-progress", "onleave", "finished")
_MISSED = ("cancelled",)
# OMOP type concepts: where the record comes from.
_CASE_REPORT_FORM = 32809
_PRESCRIPTION = 32838


def only_complete(encounters: DataFrame, completeness: DataFrame) -> DataFrame:
    """Encounters of which silver.encounter_completeness says that nothing is still to come."""
    complete = completeness.filter("is_complete").select("encounter_key")
    return encounters.join(complete, "encounter_key", "left_semi")


def visits(encounters: DataFrame) -> DataFrame:
    """Trial visits (those with a visit code) as events: attended or missed."""
    planned = encounters.filter("visit_code IS NOT NULL")
    kind = F.when(F.col("status").isin(*_ATTENDED), "attended").when(
        F.col("status").isin(*_MISSED), "missed"
    )
    return _events(planned, kind, "subject_key", "started_at", F.lit(None))


def adverse_events(reported: DataFrame) -> DataFrame:
    """Adverse events that happened (actuality) as events; the code is `serious` or not."""
    actual = reported.filter("coalesce(status, 'actual') = 'actual'")
    serious = F.when(F.lower("seriousness_code") == "serious", "serious")
    return _events(actual, F.lit("adverse"), "subject_key", "occurred_at", serious)


def doses(administrations: DataFrame) -> DataFrame:
    """Doses given as events."""
    given = administrations.filter("status = 'completed'")
    return _events(given, F.lit("dose"), "subject_key", "started_at", F.lit(None))


def drugs(exposures: DataFrame) -> DataFrame:
    """Prescriptions as events; the code is the drug's."""
    prescribed = exposures.filter(F.col("drug_type_concept_id") == _PRESCRIPTION)
    code = F.col("drug_source_value")
    return _events(prescribed, F.lit("drug"), "person_id", "drug_exposure_start_date", code)


def conditions(occurrences: DataFrame) -> DataFrame:
    """Conditions as events, but for adverse events; the code is the condition's."""
    known = occurrences.filter(F.col("condition_type_concept_id") != _CASE_REPORT_FORM)
    code = F.col("condition_source_value")
    return _events(known, F.lit("condition"), "person_id", "condition_start_date", code)


def per_index_date(index: DataFrame, *events: DataFrame) -> DataFrame:
    """One row per participation and index date: counts of what had happened by that date."""
    group = F.when(F.col("kind") == "condition", charlson_category(F.col("code")))
    together = reduce(DataFrame.unionByName, events).withColumn("charlson_group", group)
    asked = index.select("research_subject_key", "subject_key", "index_date", "enrolled_date")
    in_time = [asked["subject_key"] == together["subject_key"]]
    in_time.append(together["event_date"] <= asked["index_date"])
    joined = asked.join(together, in_time, "left")
    grouped = joined.groupBy("research_subject_key", "index_date").agg(*_counts())
    attended, planned = F.col("attended_count"), F.col("attended_count") + F.col("missed_count")
    adherence = F.when(planned > 0, F.round(attended / planned, 6)).alias("visit_adherence_ratio")
    score = charlson_score("charlson_categories").alias("charlson_score")
    return grouped.select("*", adherence, score).drop(
        "attended_count", "missed_count", "charlson_categories"
    )


def _counts() -> list[Column]:
    attended, missed = F.col("kind") == "attended", F.col("kind") == "missed"
    adverse, visit = F.col("kind") == "adverse", F.col("kind").isin("attended", "missed")
    since_enrolment = F.col("event_date") >= F.col("enrolled_date")
    last_visit = F.max(F.when(attended, F.col("event_date")))
    condition = F.when(F.col("kind") == "condition", F.col("code"))
    return [
        _count(visit & _within(VISIT_DAYS), "visits_planned_count"),
        _count(missed & _within(VISIT_DAYS), "visits_missed_count"),
        _count(attended & since_enrolment, "attended_count"),
        _count(missed & since_enrolment, "missed_count"),
        F.datediff("index_date", last_visit).alias("days_since_visit"),
        _count(adverse & _within(SHORT_DAYS), "adverse_event_30d_count"),
        _count(adverse & _within(LONG_DAYS), "adverse_event_90d_count"),
        _count(adverse & since_enrolment & (F.col("code") == "serious"), "serious_event_count"),
        _count((F.col("kind") == "dose") & _within(SHORT_DAYS), "dose_30d_count"),
        _distinct(F.when(F.col("kind") == "drug", F.col("code")), "comedication_count"),
        _distinct(condition, "condition_count"),
        F.collect_set("charlson_group").alias("charlson_categories"),
    ]


def _within(days: int) -> Column:
    """The event lies in the last `days` days, the index date among them."""
    return F.col("event_date") > F.date_sub("index_date", days)


def _count(condition: Column, name: str) -> Column:
    return F.count_if(condition).cast("int").alias(name)


def _distinct(code: Column, name: str) -> Column:
    return F.size(F.collect_set(code)).alias(name)


def _events(rows: DataFrame, kind: Column, person: str, when: str, code: Column) -> DataFrame:
    """Person, date, kind and code; rows without a kind or a date are no events."""
    named = rows.select(
        F.col(person).alias("subject_key"),
        F.to_date(when).alias("event_date"),
        kind.alias("kind"),
        code.cast("string").alias("code"),
    )
    return named.filter("kind IS NOT NULL AND event_date IS NOT NULL")
