"""MedicalCoding: candidates of concepts for texts without one, and what a person made of them."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.methods.code_status import BAD, equivalents, statuses
from clinical_lakehouse.methods.concept_lookup import in_force, standing_for, within_50
from clinical_lakehouse.methods.text_match import closest, normal_form
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.tables.gold_codes import CODE_RELEASE, CODE_STATUS, CODE_TRANSLATION
from clinical_lakehouse.tables.gold_standardization import CODING_REVIEW, UNMAPPED_CODE
from clinical_lakehouse.tables.omop_vocabulary import (
    CONCEPT,
    CONCEPT_RELATIONSHIP,
    CONCEPT_SYNONYM,
    SOURCE_TO_CONCEPT_MAP,
)

UNDECIDED = "status IN ('open', 'suggested')"
_SAME_CODE = ("source_vocabulary_id", "source_code")
_SETTING = "coding.accept_exact"
_LETTERS = 255
# What may stand where: a text of a diagnosis is not looked for among drugs.
_FINDINGS = ("Condition", "Observation", "Measurement")
_DOMAINS = {
    "silver.condition": _FINDINGS,
    "silver.adverse_event": _FINDINGS,
    "silver.observation": ("Measurement", "Observation", "Procedure"),
    "silver.diagnostic_report": ("Measurement", "Observation", "Procedure"),
    "silver.medication_request": ("Drug",),
    "silver.medication_administration": ("Drug",),
    "silver.immunization": ("Drug",),
    "silver.procedure": ("Procedure", "Measurement", "Observation", "Device"),
    "silver.allergy_intolerance": ("Drug", "Observation", "Condition"),
    "silver.device": ("Device",),
    "silver.specimen": ("Specimen",),
}
_ROLES = {
    "unit": ("Unit",),
    "route": ("Route",),
    "site": ("Spec Anatomic Site",),
    "value": ("Meas Value", "Observation", "Condition", "Measurement"),
}


@dataclass(frozen=True)
class MedicalCoding:
    """Looks for standard concepts whose name, or whose source concept's or synonym's name, is the
    text of a code in gold.unmapped_code, the same but for case, order and spelling, or alike.

    Only a text's one candidate that is the same becomes `suggested`; nothing of it is used before
    it is accepted, by a person or, where the name is the text itself, by the setting accept_exact.
    What was decided is never touched.
    """

    list_min: float
    suggest_min: float
    candidates: int
    accept_exact: bool = False

    def execute(self, run: Run) -> Metrics:
        """Replace what is undecided in gold.coding_review; a task that declares TABLES calls it."""
        unmapped = run.lake.read(UNMAPPED_CODE)
        wanted = [] if run.lake.read(CONCEPT).isEmpty() else _wanted_domains(unmapped)
        open_before = not run.lake.read(CODING_REVIEW).filter(UNDECIDED).isEmpty()
        if not wanted and not open_before:
            run.lake.ensure(CODING_REVIEW)
            return {"candidate_count": 0, "suggested_count": 0}
        found = self._found(run, wanted)
        decided = run.lake.read(CODING_REVIEW).filter(f"NOT ({UNDECIDED})")
        new = found.join(decided.select(*CODING_REVIEW.key), list(CODING_REVIEW.key), "left_anti")
        count = run.lake.replace(CODING_REVIEW, new, where=UNDECIDED).inserted
        suggested = run.lake.read(CODING_REVIEW).filter("status = 'suggested'").count()
        if self.accept_exact and suggested:
            # Not the normalised: in other order the same words may mean another thing.
            is_exact = F.expr("status = 'suggested' AND method = 'exact'")
            decide(run, is_exact, "accepted", _SETTING, "the only name that is the text")
        return {"candidate_count": count, "suggested_count": suggested}

    def _found(self, run: Run, domains: list[str]) -> DataFrame:
        texts = _texts(run.lake.read(UNMAPPED_CODE))
        names = _names(run, domains)
        forms = texts.select("text_form").distinct()
        same = forms.withColumns({"name_form": F.col("text_form"), "score": F.lit(0.99)})
        known = names.select("name_form").distinct()
        near = closest(forms, known, self.candidates, self.list_min).drop("rank")
        pairs = texts.join(near.unionByName(same), "text_form").join(names, "name_form")
        is_same = F.col("text_form") == F.col("name_form")
        is_exact = F.lower(F.trim("source_text")) == F.lower(F.trim("matched_name"))
        method = F.when(is_exact, "exact").when(is_same, "normalised").otherwise("fuzzy")
        score = F.when(is_exact, 1.0).otherwise(F.col("score"))
        return self._ranked(pairs.withColumns({"method": method, "score": score}))

    def _ranked(self, found: DataFrame) -> DataFrame:
        """The best row per code and concept, the best concepts per code, with rank and status."""
        fits = found.filter(F.array_contains("domains", F.col("domain_id")))
        order = (F.desc("score"), "method", "matched_name")
        own = Window.partitionBy(*_SAME_CODE, "concept_id").orderBy(*order)
        best = fits.withColumn("_own", F.row_number().over(own)).filter("_own = 1")
        per_code = Window.partitionBy(*_SAME_CODE)
        ranking = per_code.orderBy(F.desc("score"), "method", "concept_id")
        is_same = F.col("method").isin("exact", "normalised")
        same_count = F.count_if(is_same).over(per_code)
        is_sure = is_same & (same_count == 1) & (F.col("score") >= self.suggest_min)
        ranked = best.withColumns(
            {
                "rank": F.row_number().over(ranking),
                "status": F.when(is_sure, "suggested").otherwise("open"),
            }
        )
        listed = ranked.filter(F.col("rank") <= self.candidates)
        human = {c: F.lit(None).cast("string") for c in ("reviewer", "decision_reason")}
        columns = {**human, "decided_at": F.lit(None).cast("timestamp")}
        return listed.withColumns(columns).select(*CODING_REVIEW.column_names)


def check_codes(run: Run, used: DataFrame) -> int:
    """Replace gold.code_status by the codes in use (vocabulary_id, code, row_count); how many are
    bad. A task that declares the tables calls it."""
    read = run.lake.read
    gems, year = read(CODE_TRANSLATION), run.as_of.year + (run.as_of.month > 9)
    judged = statuses(used, read(CODE_RELEASE), gems, year)
    same = equivalents(gems, read(CONCEPT), read(CONCEPT_RELATIONSHIP))
    made = judged.join(same, ["vocabulary_id", "plain"], "left").withColumns(
        {
            "is_bad": F.col("status").isin(*BAD),
            "year": F.when(F.col("vocabulary_id") == "ICD10CM", F.col("year")),
        }
    )
    run.lake.replace(CODE_STATUS, made.select(*CODE_STATUS.column_names))
    return run.lake.read(CODE_STATUS).filter("is_bad").count()


def decide(run: Run, chosen: Column, status: str, reviewer: str, reason: str) -> int:
    """Set the status of the review's rows where `chosen` holds, with who and why; how many.

    A task that declares gold.coding_review and omop.source_to_concept_map calls it.
    """
    rows = run.lake.read(CODING_REVIEW).filter(chosen)
    decided = rows.withColumns(
        {
            "status": F.lit(status),
            "reviewer": F.lit(reviewer),
            "decided_at": F.lit(run.as_of).cast("timestamp"),
            "decision_reason": F.lit(reason),
        }
    )
    count = run.lake.merge(CODING_REVIEW, decided).updated
    publish(run)
    return count


def publish(run: Run) -> None:
    """Bring omop.source_to_concept_map in line with what was accepted and rejected; rows that no
    decision is about (a person's own file) stay."""
    review = run.lake.read(CODING_REVIEW).filter(f"NOT ({UNDECIDED})")
    if review.isEmpty():
        return
    before = run.lake.read(SOURCE_TO_CONCEPT_MAP)
    own = _as_map(review)
    others = before.join(own, list(SOURCE_TO_CONCEPT_MAP.key), "left_anti")
    accepted = _as_map(review.filter("status = 'accepted'"))
    run.lake.replace(SOURCE_TO_CONCEPT_MAP, others.unionByName(accepted))


def _as_map(review: DataFrame) -> DataFrame:
    """Rows of omop.source_to_concept_map, valid from the day of the decision."""
    return review.select(
        within_50(F.col("source_code")).alias("source_code"),
        "source_concept_id",
        "source_vocabulary_id",
        F.substring("source_text", 1, _LETTERS).alias("source_code_description"),
        F.col("concept_id").alias("target_concept_id"),
        F.col("vocabulary_id").alias("target_vocabulary_id"),
        F.to_date("decided_at").alias("valid_start_date"),
        F.to_date(F.lit("2099-12-31")).alias("valid_end_date"),
        F.lit(None).cast("string").alias("invalid_reason"),
    )


def _wanted_domains(unmapped: DataFrame) -> list[str]:
    """Domains that the texts may belong to; at most as many rows are collected as there are roles
    and silver tables."""
    used = unmapped.filter("code <> ''").select("source_table", "role").distinct().collect()
    named = [_ROLES.get(r["role"]) or _DOMAINS.get(r["source_table"], ()) for r in used]
    return sorted({domain for domains in named for domain in domains})


def _texts(unmapped: DataFrame) -> DataFrame:
    """One row per code without a concept: source_text, text_form, and the domains it may have."""
    by_role = _listed(_ROLES)[F.col("role")]
    domains = F.coalesce(by_role, _listed(_DOMAINS)[F.col("source_table")])
    told = unmapped.filter("code <> ''").withColumns(
        {"domains": domains, "source_code": F.col("code")}
    )
    grouped = told.groupBy(*_SAME_CODE).agg(
        F.max("display").alias("display"),
        F.max("source_concept_id").alias("source_concept_id"),
        F.sum("row_count").alias("row_count"),
        F.array_distinct(F.flatten(F.collect_list("domains"))).alias("domains"),
    )
    text = F.substring(F.coalesce(F.nullif(F.trim("display"), F.lit("")), "source_code"), 1, 255)
    named = grouped.withColumn("source_text", text).drop("display")
    return named.withColumn("text_form", normal_form(F.col("source_text"))).filter(
        "text_form <> ''"
    )


def _names(run: Run, domains: list[str]) -> DataFrame:
    """Every name that leads to a standard concept of these domains: the concept's own, a synonym,
    or that of a source concept which maps to it."""
    concepts = run.lake.read(CONCEPT)
    own = concepts.filter(in_force("invalid_reason")).select(
        "concept_id", F.col("concept_name").alias("matched_name")
    )
    other = run.lake.read(CONCEPT_SYNONYM).select(
        "concept_id", F.col("concept_synonym_name").alias("matched_name")
    )
    leads = standing_for(concepts, run.lake.read(CONCEPT_RELATIONSHIP))
    target = concepts.filter(F.col("domain_id").isin(domains)).select(
        F.col("concept_id").alias("to_id"),
        *("concept_name", "vocabulary_id", "concept_code", "domain_id"),
    )
    named = own.unionByName(other).join(leads, "concept_id").join(target, "to_id")
    formed = named.withColumn("name_form", normal_form(F.col("matched_name")))
    return formed.drop("concept_id").withColumnRenamed("to_id", "concept_id")


def _listed(domains: dict[str, tuple[str, ...]]) -> Column:
    """A map literal from a word to its list of domains."""
    pairs = [(F.lit(k), F.array(*map(F.lit, v))) for k, v in domains.items()]
    return F.create_map(*[item for pair in pairs for item in pair])
