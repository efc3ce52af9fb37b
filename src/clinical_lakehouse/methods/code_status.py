"""Is a used code one of its system: LOINC's check digit, RxNorm's form, ICD-10-CM by year, ICD-9-CM
by CMS's maps; as Columns, by the rules of methods.coding."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.concept_lookup import in_force

BAD = ("malformed", "bad_check_digit", "header", "expired", "not_yet", "unknown")
_ICD10CM = r"^[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?$"
_ICD9CM = r"^(\d{3}|V\d{2})(\.?\d{1,2})?$|^E\d{3}(\.?\d)?$"
_CHECKED = ("LOINC", "RxNorm", "ICD10CM", "ICD9CM", "SNOMED")


def statuses(codes: DataFrame, releases: DataFrame, gems: DataFrame, year: int) -> DataFrame:
    """Used codes (vocabulary_id, code, row_count) of the systems that have rules, with status.

    ICD-10-CM is judged by the latest year loaded up to `year`, else the earliest; without any,
    and ICD-9-CM without GEMs, by form alone: status well_formed.
    """
    checked = codes.filter(F.col("vocabulary_id").isin(*_CHECKED))
    plain = F.upper(F.replace(F.trim("code"), F.lit("."), F.lit("")))
    keyed = checked.withColumn("plain", plain)
    known = releases.groupBy(F.col("code").alias("plain")).agg(
        F.collect_set(F.when(F.col("is_billable"), F.col("year"))).alias("billable"),
        F.collect_set(F.when(~F.col("is_billable"), F.col("year"))).alias("headers"),
    )
    up_to = F.max(F.when(F.col("year") <= year, F.col("year")))
    judged_by = releases.agg(F.coalesce(up_to, F.min("year")).alias("year"))
    nines = gems.select(F.col("source_code").alias("plain"), F.lit(True).alias("in_gems"))
    has_gems = gems.agg((F.count(F.lit(1)) > 0).alias("has_gems"))
    joined = keyed.join(known, "plain", "left").join(nines.distinct(), "plain", "left")
    told = joined.crossJoin(F.broadcast(judged_by)).crossJoin(F.broadcast(has_gems))
    return told.select("vocabulary_id", "code", "row_count", "plain", "year",
                       _status().alias("status"))  # fmt: skip


def equivalents(gems: DataFrame, concepts: DataFrame, relations: DataFrame) -> DataFrame:
    """ICD-10-CM codes (icd10cm_codes) of a code: of ICD-9-CM by GEM, of SNOMED by Mapped from.

    Only one entry that CMS does not flag is not approximate; a standard concept stands for every
    source concept that maps to it, so the way back always is.
    """
    there = gems.filter("NOT is_no_map").groupBy(F.col("source_code").alias("plain")).agg(
        F.array_sort(F.collect_set("target_code")).alias("icd10cm_codes"),
        (F.max("is_approximate") | F.max("is_combination") | (F.count(F.lit(1)) > 1)).alias(
            "is_approximate"
        ),
    )  # fmt: skip
    kind = (F.col("relationship_id") == "Mapped from") & in_force("invalid_reason")
    pairs = relations.filter(kind).select("concept_id_1", "concept_id_2")
    own = concepts.filter("vocabulary_id = 'SNOMED'").select(
        F.col("concept_id").alias("concept_id_1"), F.upper("concept_code").alias("plain")
    )
    icd = concepts.filter("vocabulary_id = 'ICD10CM'").select(
        F.col("concept_id").alias("concept_id_2"), F.col("concept_code").alias("icd")
    )
    back = own.join(pairs, "concept_id_1").join(icd, "concept_id_2").groupBy("plain").agg(
        F.array_sort(F.collect_set(F.replace("icd", F.lit("."), F.lit("")))).alias(
            "icd10cm_codes"
        ),
        F.lit(True).alias("is_approximate"),
    )  # fmt: skip
    nine = there.withColumn("vocabulary_id", F.lit("ICD9CM"))
    return nine.unionByName(back.withColumn("vocabulary_id", F.lit("SNOMED")))


def _status() -> Column:
    system, code = F.col("vocabulary_id"), F.trim("code")
    loinc = (
        F.when(~code.rlike(r"^\d{1,7}-\d$"), "malformed")
        # LOINC's Mod 10 is Luhn's.
        .when(F.expr("NOT luhn_check(replace(trim(code), '-', ''))"), "bad_check_digit")
        .otherwise("valid")
    )
    form = F.when(system == "RxNorm", r"^[1-9]\d{0,7}$").otherwise(r"^[1-9]\d{5,17}$")
    return (
        F.when(system == "LOINC", loinc)
        .when(system == "ICD10CM", _icd10cm())
        .when(system == "ICD9CM", _icd9cm())
        .when(F.regexp_like(code, form), "valid")
        .otherwise("malformed")
    )


def _icd10cm() -> Column:
    """As methods.coding.icd10cm_status: a code that was split has expired, not become a header."""
    year, billable = F.col("year"), F.coalesce("billable", F.array().cast("array<int>"))
    return (
        F.when(~F.upper(F.trim("code")).rlike(_ICD10CM), "malformed")
        .when(year.isNull(), "well_formed")
        .when(F.array_contains(billable, year), "billable")
        .when(F.exists(billable, lambda y: y < year), "expired")
        .when(F.array_contains(F.coalesce("headers", F.array().cast("array<int>")), year), "header")
        .when(F.exists(billable, lambda y: y > year), "not_yet")
        .otherwise("unknown")
    )


def _icd9cm() -> Column:
    return (
        F.when(~F.upper(F.trim("code")).rlike(_ICD9CM), "malformed")
        .when(~F.col("has_gems"), "well_formed")
        .when(F.col("in_gems"), "valid")
        .otherwise("unknown")
    )
