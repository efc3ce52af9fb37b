"""OHDSI's scores over condition eras: CHADS2, CHA2DS2-VASc, DCSI (diabetes), HFRS (frailty)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

DCSI, CHADS2, CHADS2_VASC, HFRS = 902, 903, 904, 926
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

# Hfrs.sql; Gilbert et al., Lancet 2018;391:1775-82: points of 109 ICD-10 categories.
_HFRS = {
    7.1: "F00",
    4.4: "G81",
    4.0: "G30",
    3.7: "I69",
    3.6: "R29",
    3.2: "N39 F05 W19 S00",
    3.0: "R31",
    2.9: "B96",
    2.7: "R41",
    2.6: "R26 I67 R56",
    2.5: "R40 S06",
    2.4: "T83",
    2.3: "S42 E87 M25 E86",
    2.2: "R54",
    2.1: "Z50 F03 W18",
    2.0: "Z75 F01 S80 L03",
    1.9: "H54 E53",
    1.8: "Z60 G20 R55 S22 K59 N17",
    1.7: "L89 Z22 B95",
    1.6: "L97 R44 K26 I95 N19 A41",
    1.5: "Z87 J96 X59 M19 G40",
    1.4: "M81 S72 S32 E16 R94 N18",
    1.3: "R33 R69 N28",
    1.2: "R32 G31 Y95 S09 R45 G45",
    1.1: "Z74 M79 W06 S01 A04 A09 J18",
    1.0: "J69 R47 E55 Z93 R02",
    0.9: "R63 H91 W10 W01 E05 M41",
    0.8: "R13 Z99 U80 M80 K92 I63",
    0.7: "N20 F10 Y84 R00 J22",
    0.6: "Z73 R79",
    0.5: "Z91 S51 F32 M48",
    0.4: "E83 M15 D64 L08",
    0.3: "R11 K52",
    0.1: "R50",
}
FRAILTY_POINTS = {code: points for points, codes in _HFRS.items() for code in codes.split()}


def scores(cohort: DataFrame, cdm: Mapping[str, DataFrame], ids: Sequence[int]) -> DataFrame:
    """One row per cohort row and score: covariate 1000 + analysis id, from all condition eras that
    began up to the index date. A person without a condition has CHADS2's points of age; DCSI and
    HFRS have a row only where something is known, as OHDSI's have."""
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
    """0 to 13: what is graver counts, of each kind of complication."""
    found = [
        F.when(
            F.col("code").rlike(f"^({codes})"),
            F.struct(F.lit(name).alias("category"), F.lit(float(weight)).alias("weight")),
        )
        for name, weight, codes in _DCSI
    ]
    mapped = _mapped(cdm, "ICD9CM")
    weighed = mapped.select("concept_id", F.explode(F.array_compact(F.array(*found))).alias("one"))
    return _gravest(cohort, cdm, weighed.select("concept_id", "one.*"), DCSI)


def _hfrs(cohort: DataFrame, cdm: Mapping[str, DataFrame]) -> DataFrame:
    """Points of each ICD-10 category that is known, once."""
    points = F.create_map(*(F.lit(part) for pair in FRAILTY_POINTS.items() for part in pair))
    category = F.substring("code", 1, 3)
    weighed = _mapped(cdm, "ICD10").select(
        "concept_id", category.alias("category"), points[category].alias("weight")
    )
    return _gravest(cohort, cdm, weighed.filter("weight IS NOT NULL"), HFRS)


def _mapped(cdm: Mapping[str, DataFrame], vocabulary: str) -> DataFrame:
    """One row per code of the vocabulary and SNOMED concept it maps to: code, concept_id."""
    concepts = cdm["concept"]
    source = concepts.filter(F.col("vocabulary_id") == vocabulary).select(
        F.col("concept_id").alias("concept_id_1"), F.col("concept_code").alias("code")
    )
    target = concepts.filter("vocabulary_id = 'SNOMED'").select(
        F.col("concept_id").alias("concept_id_2")
    )
    maps = cdm["concept_relationship"].filter("relationship_id = 'Maps to'")
    mapped = maps.join(source, "concept_id_1").join(target, "concept_id_2")
    return mapped.select("code", F.col("concept_id_2").alias("concept_id"))


def _gravest(
    cohort: DataFrame, cdm: Mapping[str, DataFrame], weighed: DataFrame, number: int
) -> DataFrame:
    """The highest weight of each category, summed."""
    ill = _begun(cohort, cdm, weighed.distinct()).groupBy("row_id", "category")
    summed = ill.agg(F.max("weight").alias("w")).groupBy("row_id").agg(F.sum("w").alias("points"))
    # Weights have one decimal; a sum of doubles depends on their order.
    return _covariate(summed, number, F.round("points", 1))


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
    HFRS: _hfrs,
}
