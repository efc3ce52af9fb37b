"""OHDSI's scores over condition eras: CHADS2, CHA2DS2-VASc and the diabetes index DCSI."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

DCSI, CHADS2, CHADS2_VASC = 902, 903, 904
_FEMALE = 8532


@dataclass(frozen=True)
class Category:
    """A disease: its weight, SNOMED concepts whose descendants count, those that do not, and single
    concepts that count without their descendants."""

    name: str
    weight: int
    within: tuple[int, ...]
    without: tuple[int, ...] = ()
    single: tuple[int, ...] = ()


# Chads2.sql and Chads2Vasc.sql of OHDSI FeatureExtraction; Gage et al., JAMA 2001;285:2864-70, and
# Lip et al., Chest 2010;137:263-72.
_CHADS2 = (
    Category("heart failure", 1, (316139,)),
    Category("hypertension", 1, (316866,)),
    Category("diabetes", 1, (201820,)),
    Category("stroke", 2, (381591, 434056)),
)
_VASCULAR = (
    *(312327, 43020432, 314962, 312939, 315288, 317309, 134380, 196438, 200138, 194393, 319047),
    *(40486130, 317003, 4313767, 321596),
)
_CHADS2_VASC = (
    Category("heart failure", 1, (316139, 314378), single=(316139, 314378, 318773, 321319)),
    Category("hypertension", 1, (320128, 442604, 201313), (197930,)),
    Category(
        "diabetes",
        1,
        (201820, 442793),
        (195771, 376112, 4174977, 4058243, 193323, 376979),
    ),
    Category(
        "stroke",
        2,
        (4043731, 4110192, 375557, 4108356, 373503, 434656, 433505, 376714, 312337),
    ),
    Category(
        "vascular",
        1,
        _VASCULAR,
        single=(*_VASCULAR, 317305, 321886, 314659, 321887, 437312, 134057),
    ),
)
# Dcsi.sql; Young et al., Am J Manag Care 2008;14:15-23: ICD-9-CM codes by category and severity.
# Each is a regular expression of the codes' beginning, or with a $ of the whole code.
_DCSI = (
    ("retinopathy", 1, r"250\.5|362\.01$|362\.1$|362\.83$|362\.53$|362\.81$|362\.82$"),
    ("retinopathy", 2, r"361|369|362\.02$|379\.23$"),
    ("nephropathy", 1, r"250\.4$|580|581|582|583"),
    ("nephropathy", 2, r"585|586|593\.9"),
    (
        "neuropathy",
        1,
        r"35[45]\.\d|356\.9|250\.6|358\.1|951\.[013]|713\.5|357\.2|596\.54$|337\.[01]|564\.5"
        r"|536\.3|458\.0",
    ),
    ("cerebrovascular", 1, r"435"),
    ("cerebrovascular", 2, r"431|433|434|436"),
    ("cardiovascular", 1, r"440|411|413|414|429\.2"),
    ("cardiovascular", 2, r"410|427\.[1345]|412|428|441|440\.23$|440\.24$"),
    ("peripheral vascular", 1, r"250\.7|442\.3|892\.1|443\.9|443\.81$"),
    ("peripheral vascular", 2, r"785\.4|707\.1|040\.0|444\.22$"),
    ("metabolic", 2, r"250\.[123]"),
)


def scores(cohort: DataFrame, cdm: Mapping[str, DataFrame], ids: Sequence[int]) -> DataFrame:
    """One row per cohort row and score: covariate 1000 + analysis id, from all condition eras that
    began up to the index date. A person without a condition has CHADS2's points of age; DCSI has a
    row only where a complication is known, as OHDSI's has."""
    return reduce(DataFrame.unionByName, (_MADE[number](cohort, cdm) for number in ids))


def _chads2(cohort: DataFrame, cdm: Mapping[str, DataFrame]) -> DataFrame:
    age = F.year("cohort_start_date") - F.col("year_of_birth")
    return _stroke_score(cohort, cdm, (CHADS2, _CHADS2), F.when(age >= 75, 1).otherwise(0))


def _chads2_vasc(cohort: DataFrame, cdm: Mapping[str, DataFrame]) -> DataFrame:
    age = F.year("cohort_start_date") - F.col("year_of_birth")
    aged = F.when(age >= 75, 2).when(age >= 65, 1).otherwise(0)
    female = F.when(F.col("gender_concept_id") == _FEMALE, 1).otherwise(0)
    return _stroke_score(cohort, cdm, (CHADS2_VASC, _CHADS2_VASC), aged + female)


def _stroke_score(
    cohort: DataFrame,
    cdm: Mapping[str, DataFrame],
    what: tuple[int, Sequence[Category]],
    of_person: Column,
) -> DataFrame:
    number, categories = what
    weighed = reduce(DataFrame.unionByName, _weighed(categories, cdm))
    ill = _begun(cohort, cdm, weighed).groupBy("row_id", "category").agg(F.max("weight").alias("w"))
    points = ill.groupBy("row_id").agg(F.sum("w").alias("points"))
    person = cdm["person"].select(
        F.col("person_id").alias("subject_id"), "year_of_birth", "gender_concept_id"
    )
    known = cohort.join(person, "subject_id").join(points, "row_id", "left")
    return _covariate(known, number, F.coalesce("points", F.lit(0)) + of_person)


def _weighed(categories: Sequence[Category], cdm: Mapping[str, DataFrame]) -> Iterator[DataFrame]:
    """One row per concept and category: concept_id, category, weight."""
    ancestors = cdm["concept_ancestor"]
    for one in categories:
        below = F.col("ancestor_concept_id")
        concept = F.col("descendant_concept_id").alias("concept_id")
        within = ancestors.filter(below.isin(*one.within)).select(concept)
        if one.without:
            out = ancestors.filter(below.isin(*one.without)).select(concept)
            within = within.join(out.distinct(), "concept_id", "left_anti")
        if one.single:
            valid = F.col("concept_id").isin(*one.single) & F.col("invalid_reason").isNull()
            within = within.unionByName(cdm["concept"].filter(valid).select("concept_id"))
        yield within.distinct().select(
            "concept_id", F.lit(one.name).alias("category"), F.lit(one.weight).alias("weight")
        )


def _dcsi(cohort: DataFrame, cdm: Mapping[str, DataFrame]) -> DataFrame:
    """The gravest complication of each category, summed: 0 to 13."""
    concepts = cdm["concept"]
    source = concepts.filter("vocabulary_id = 'ICD9CM'").select(
        F.col("concept_id").alias("concept_id_1"), F.col("concept_code").alias("code")
    )
    target = concepts.filter("vocabulary_id = 'SNOMED'").select(
        F.col("concept_id").alias("concept_id_2")
    )
    maps = cdm["concept_relationship"].filter("relationship_id = 'Maps to'")
    mapped = maps.join(source, "concept_id_1").join(target, "concept_id_2")
    found = [
        F.when(
            F.col("code").rlike(f"^({codes})"),
            F.struct(F.lit(name).alias("category"), F.lit(weight).alias("weight")),
        )
        for name, weight, codes in _DCSI
    ]
    rows = mapped.select(
        F.col("concept_id_2").alias("concept_id"),
        F.explode(F.array_compact(F.array(*found))).alias("one"),
    ).select("concept_id", "one.*")
    ill = _begun(cohort, cdm, rows.distinct()).groupBy("row_id", "category")
    gravest = ill.agg(F.max("weight").alias("w"))
    return _covariate(gravest.groupBy("row_id").agg(F.sum("w").alias("p")), DCSI, F.col("p"))


def _begun(cohort: DataFrame, cdm: Mapping[str, DataFrame], weighed: DataFrame) -> DataFrame:
    """One row per cohort row and weighed condition era that began up to the index date."""
    eras = cdm["condition_era"].select(
        F.col("person_id").alias("subject_id"),
        F.col("condition_concept_id").alias("concept_id"),
        F.col("condition_era_start_date").alias("started"),
    )
    joined = cohort.select("row_id", "subject_id", "cohort_start_date").join(eras, "subject_id")
    return joined.filter("started <= cohort_start_date").join(weighed, "concept_id")


def _covariate(rows: DataFrame, number: int, value: Column) -> DataFrame:
    return rows.select(
        "row_id",
        F.lit(1000 + number).cast("bigint").alias("covariate_id"),
        value.cast("double").alias("covariate_value"),
    )


_MADE: Mapping[int, Callable[[DataFrame, Mapping[str, DataFrame]], DataFrame]] = {
    DCSI: _dcsi,
    CHADS2: _chads2,
    CHADS2_VASC: _chads2_vasc,
}
