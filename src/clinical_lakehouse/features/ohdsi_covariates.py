"""OHDSI's predefined covariates of a cohort, as FeatureExtraction's SQL computes them.

A cohort has one row per row_id: subject_id, cohort_start_date (the index date), cohort_end_date. A
covariate has row_id, covariate_id and covariate_value; what is not there is 0, or not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.features.ohdsi_analyses import VISIT, Analysis, chosen
from clinical_lakehouse.features.ohdsi_demographics import care_sites, demographics
from clinical_lakehouse.features.ohdsi_groups import groups_of
from clinical_lakehouse.features.ohdsi_scores import scores

Cdm = Mapping[str, DataFrame]
# Types of a primary diagnosis of an inpatient stay (header or first position).
_INPATIENT = (38000183, 38000184, 38000199, 38000200)
_VALUES = {
    "value_as_number": "double",
    "unit_concept_id": "bigint",
    "range_low": "double",
    "range_high": "double",
    "value_as_concept_id": "bigint",
}


def covariates(cohort: DataFrame, cdm: Cdm, ids: Sequence[int]) -> DataFrame:
    """One row per cohort row and covariate: row_id, covariate_id, covariate_value. `cdm` holds the
    omop tables by name (those of `tables_needed`); UsageError names an analysis not computed."""
    analyses = chosen(ids)
    parts = list(_parts(cohort, cdm, analyses))
    return reduce(DataFrame.unionByName, parts)


def _parts(cohort: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> Iterator[DataFrame]:
    """One frame per kind: analyses that differ by table and window alone share a pass."""
    for kind, alike in groupby(sorted(analyses, key=_kind), key=_kind):
        together = list(alike)
        if kind == "demographics":
            yield demographics(cohort, cdm, [a.id for a in together])
        elif kind == "care_site":
            yield care_sites(cohort, cdm)
        elif kind == "score":
            yield scores(cohort, cdm, [a.id for a in together])
        else:
            yield _COUNTED[kind](_seen(cohort, cdm, together), cdm, together)


def _kind(analysis: Analysis) -> str:
    return analysis.kind


def _seen(cohort: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """One row per cohort row, event and analysis in whose window the event lies."""
    sources = {_source(analysis): analysis for analysis in analyses}
    events = reduce(DataFrame.unionByName, (_events(cdm, n, a) for n, a in sources.items()))
    asked = cohort.select("row_id", F.col("subject_id").alias("_subject"), "cohort_start_date")
    # Every window ends on the index date, so that later events are in none.
    same = (F.col("_subject") == F.col("subject_id")) & (
        F.col("start_date") <= F.col("cohort_start_date")
    )
    joined = asked.join(events, same)
    hits = F.array_compact(F.array(*(_hit(analysis) for analysis in analyses)))
    told = joined.withColumn("analysis_id", F.explode(hits))
    return told.drop("_subject", "subject_id", "_source")


def _source(analysis: Analysis) -> str:
    """What rows an analysis reads: a table, or the inpatient part of it."""
    table = analysis.domain.table if analysis.domain else ""
    return f"{table} inpatient" if analysis.sub == "inpatient" else table


def _events(cdm: Cdm, source: str, analysis: Analysis) -> DataFrame:
    """The dated concepts of a source, with what came with them; unmapped ones (0) are left out."""
    domain = analysis.domain or VISIT
    rows = cdm[domain.table]
    if analysis.sub == "inpatient":
        rows = rows.filter(F.col("condition_type_concept_id").isin(*_INPATIENT))
    return rows.filter(F.col(domain.concept) != 0).select(
        F.lit(source).alias("_source"),
        F.col("person_id").alias("subject_id"),
        F.col(domain.concept).cast("bigint").alias("concept_id"),
        F.col(domain.start).alias("start_date"),
        F.col(domain.end).alias("end_date"),
        *(
            (F.col(name) if name in rows.columns else F.lit(None)).cast(kind).alias(name)
            for name, kind in _VALUES.items()
        ),
    )


def _hit(analysis: Analysis) -> Column:
    """The analysis' id if the event is one of its source and lies in its window, else null."""
    found = F.col("_source") == _source(analysis)
    if analysis.window_start is not None:
        last = F.col("start_date" if analysis.starts else "end_date")
        found &= last >= F.date_add("cohort_start_date", analysis.window_start)
    return F.when(found, analysis.id)


def _concepts(seen: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """1 for each concept seen."""
    once = seen.select("row_id", "analysis_id", "concept_id").distinct()
    return _as_covariates(once, F.col("concept_id") * 1000, F.lit(1.0))


def _groups(seen: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """1 for each group (SNOMED ancestors, ATC classes and ingredients) of a concept seen."""
    tables = {analysis.domain.table for analysis in analyses if analysis.domain}
    groups = groups_of(tables, cdm["concept"], cdm["concept_ancestor"])
    grouped = seen.join(groups, "concept_id").select("row_id", "analysis_id", "group_id")
    return _as_covariates(grouped.distinct(), F.col("group_id") * 1000, F.lit(1.0))


def _counts(seen: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """Events, or distinct concepts, or events per concept."""
    per_concept = seen.groupBy("row_id", "analysis_id", "concept_id").agg(
        F.count(F.lit(1)).alias("events")
    )
    apart = F.col("analysis_id").isin(*(a.id for a in analyses if a.sub == "stratified"))
    distinct = F.col("analysis_id").isin(*(a.id for a in analyses if a.sub == "distinct"))
    stratum = F.when(apart, F.col("concept_id")).otherwise(1).alias("stratum")
    counted = per_concept.groupBy("row_id", "analysis_id", stratum).agg(
        F.count(F.lit(1)).alias("concepts"), F.sum("events").alias("events")
    )
    value = F.when(distinct, F.col("concepts")).otherwise(F.col("events"))
    return _as_covariates(counted, F.col("stratum") * 1000, value)


def _numbers(seen: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """The latest value per concept and unit; of one day's values the lowest. The id holds the last
    three digits of the unit's concept, as OHDSI's does."""
    known = seen.filter("value_as_number IS NOT NULL AND unit_concept_id IS NOT NULL")
    latest = known.groupBy("row_id", "analysis_id", "concept_id", "unit_concept_id").agg(
        F.max_by("value_as_number", F.struct("start_date", -F.col("value_as_number"))).alias(
            "value"
        )
    )
    unit = F.col("unit_concept_id") % 1000
    return _as_covariates(latest, F.col("concept_id") * 1_000_000 + unit * 1000, F.col("value"))


def _ranges(seen: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """1 for below (1), within (2) and above (3) the reference range that came with the value."""
    known = seen.filter("range_low IS NOT NULL AND range_high IS NOT NULL")
    group = (
        F.when(F.col("value_as_number") < F.col("range_low"), 1)
        .when(F.col("value_as_number") > F.col("range_high"), 3)
        .otherwise(2)
    )
    once = known.withColumn("group", group).select("row_id", "analysis_id", "concept_id", "group")
    number = F.col("concept_id") * 10_000 + F.col("group") * 1000
    return _as_covariates(once.distinct(), number, F.lit(1.0))


def _value_concepts(seen: DataFrame, cdm: Cdm, analyses: Sequence[Analysis]) -> DataFrame:
    """1 for each pair of concept and coded value. The id is a hash of both, as OHDSI's is; of two
    pairs with one id only the first by concept and value is kept."""
    known = seen.filter("value_as_concept_id IS NOT NULL")
    once = known.select("row_id", "analysis_id", "concept_id", "value_as_concept_id").distinct()
    concept = F.col("concept_id").bitwiseXOR(F.shiftright("concept_id", 18)).bitwiseAND(262143)
    coded = F.col("value_as_concept_id")
    value = coded.bitwiseXOR(F.shiftright(coded, 21)).bitwiseAND(2097151)
    hashed = once.withColumn("pair", concept * 2097152 + value)
    same = Window.partitionBy("analysis_id", "pair")
    first = (F.min("concept_id").over(same) == F.col("concept_id")) & (
        F.min("value_as_concept_id").over(same) == coded
    )
    kept = hashed.withColumn("_first", first).filter("_first")
    return _as_covariates(kept, F.col("pair") * 1000, F.lit(1.0))


def _as_covariates(rows: DataFrame, number: Column, value: Column) -> DataFrame:
    """covariateId = conceptId * 1000 + analysisId, and what stands for conceptId."""
    return rows.select(
        "row_id",
        (number.cast("bigint") + F.col("analysis_id")).alias("covariate_id"),
        value.cast("double").alias("covariate_value"),
    )


_COUNTED = {
    "concept": _concepts,
    "group": _groups,
    "count": _counts,
    "value": _numbers,
    "range": _ranges,
    "value_concept": _value_concepts,
}
