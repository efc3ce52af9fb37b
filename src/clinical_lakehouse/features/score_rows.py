"""Scores of each participation and index date, from the latest measurements and all diagnoses."""

from collections.abc import Iterator

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.comorbidity import (
    charlson_category,
    charlson_score,
    in_group,
    plain_code,
)
from clinical_lakehouse.methods.elixhauser import elixhauser_categories, elixhauser_score
from clinical_lakehouse.methods.scores.catalogue import FORMULAS
from clinical_lakehouse.methods.scores.formula import Formula, scored
from clinical_lakehouse.methods.scores.signals import DISEASES, MEASURED

LOOKBACK_DAYS = 365
_GRAIN = ("research_subject_key", "index_date")
_ICD10 = r"^[A-TV-Z][0-9][0-9A-Z]"
_CASE_REPORT_FORM = 32809  # an adverse event, not a diagnosis


def score_rows(index: DataFrame, measurements: DataFrame, conditions: DataFrame) -> DataFrame:
    """One row per participation, index date and score. A measurement counts for LOOKBACK_DAYS, in
    the input's own unit; a diagnosis from its first day on."""
    values = _measured(index, measurements)
    known = _diagnosed(index, conditions)
    asked = index.select(*_GRAIN, "subject_key", "age_years", "sex")
    rows = asked.join(values, list(_GRAIN), "left").join(known, list(_GRAIN), "left")
    rows = rows.withColumn("dates", F.coalesce("dates", _no_dates()))
    made = F.array(*(_one(formula) for formula in FORMULAS.values()), *_comorbidities())
    told = rows.select(*_GRAIN, "subject_key", F.explode(made).alias("made"))
    return told.select(*_GRAIN, "subject_key", "made.*")


def _no_dates() -> Column:
    return F.create_map().cast("map<string,date>")


def _measured(index: DataFrame, measurements: DataFrame) -> DataFrame:
    """Per participation and index date: the latest value of each input and its day, as maps."""
    code, unit = F.col("measurement_source_value"), F.col("unit_source_value")
    names = [
        F.when(code.isin(*codes) & unit.isin(*units), name)
        for name, (codes, units) in MEASURED.items()
    ]
    known = measurements.select(
        F.col("person_id").alias("subject_key"),
        F.coalesce(*names).alias("input"),
        F.col("measurement_date").alias("day"),
        F.coalesce("measurement_datetime", F.col("measurement_date").cast("timestamp")).alias("at"),
        F.col("value_as_number").alias("value"),
    ).filter("input IS NOT NULL AND value IS NOT NULL")
    since = F.date_sub("index_date", LOOKBACK_DAYS)
    in_time = (F.col("day") <= F.col("index_date")) & (F.col("day") > since)
    joined = index.select(*_GRAIN, "subject_key").join(known, "subject_key").filter(in_time)
    # Of two values at one moment the higher counts as the later, as in gold.subject_feature.
    last = F.max(F.struct("at", "value", "day")).alias("last")
    latest = joined.groupBy(*_GRAIN, "input").agg(last)
    return latest.groupBy(*_GRAIN).agg(
        _map("last.value").alias("values"), _map("last.day").alias("dates")
    )


def _map(column: str) -> Column:
    return F.map_from_entries(F.collect_list(F.struct("input", F.col(column))))


def _diagnosed(index: DataFrame, conditions: DataFrame) -> DataFrame:
    """Per participation and index date: diseases known, comorbidity groups, how many codes."""
    diagnoses = conditions.filter(F.col("condition_type_concept_id") != _CASE_REPORT_FORM)
    code = F.col("condition_source_value")
    plain = plain_code(code)
    known = diagnoses.select(
        F.col("person_id").alias("subject_key"),
        F.col("condition_start_date").alias("day"),
        _diseases(plain).alias("diseases"),
        charlson_category(code).alias("charlson"),
        elixhauser_categories(code).alias("elixhauser"),
        plain.rlike(_ICD10).alias("is_icd10"),
    ).distinct()
    asked = index.select(*_GRAIN, "subject_key").join(known, "subject_key")
    return asked.filter("day <= index_date").groupBy(*_GRAIN).agg(
        F.flatten(F.collect_set("diseases")).alias("diseases"),
        F.collect_set("charlson").alias("charlson"),
        F.flatten(F.collect_set("elixhauser")).alias("elixhauser"),
        F.count(F.lit(1)).alias("diagnoses"),
        F.count_if("is_icd10").alias("icd10_codes"),
    )  # fmt: skip


def _diseases(plain: Column) -> Column:
    found = [F.when(in_group(plain, one), one.name) for one in DISEASES]
    return F.array_compact(F.array(*found))


def _one(formula: Formula) -> Column:
    """A score as a row of the table."""
    diseases = {one.name for one in DISEASES}
    given = {}
    for one in formula.inputs:
        if one.name in ("age_years", "sex"):
            given[one.name] = F.col(one.name)
        elif one.name in diseases:
            has = F.array_contains("diseases", one.name)
            given[one.name] = F.coalesce(has, F.lit(False))
        elif one.name in MEASURED:
            given[one.name] = F.col("values")[one.name]
    names = [name for name in given if name in MEASURED]
    dates = F.map_filter("dates", lambda name, _: name.isin(*names)) if names else _no_dates()
    result = scored(formula, given)
    return _struct(formula.name, result["value"], formula.unit, result["reason"], dates)


def _comorbidities() -> Iterator[Column]:
    """The comorbidity indices; without a diagnosis nobody knows, so that they are null, not 0."""
    for name, score, count in (
        ("charlson", charlson_score("charlson"), "diagnoses"),
        ("elixhauser_van_walraven", elixhauser_score("elixhauser"), "icd10_codes"),
    ):
        known = F.coalesce(F.col(count), F.lit(0)) > 0
        reason = F.when(~known, f"missing: {count}")
        value = F.when(known, score).cast("double")
        yield _struct(name, value, "{score}", reason, _no_dates())


def _struct(name: str, value: Column, unit: str, reason: Column, dates: Column) -> Column:
    columns = {
        "score": F.lit(name),
        "value": F.round(value, 6),
        "unit": F.lit(unit),
        "reason": reason,
        "input_dates": dates,
    }
    return F.struct(*(column.alias(key) for key, column in columns.items()))
