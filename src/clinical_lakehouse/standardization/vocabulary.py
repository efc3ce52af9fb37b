"""Reads an Athena download's files into their contracts, and finds standard concepts of codes."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.tables.contract import Table

# FHIR code system URI (or its OID) -> OMOP vocabulary.
_OID = "urn:oid:2.16.840.1.113883.6"
VOCABULARIES = {
    "http://loinc.org": "LOINC",
    f"{_OID}.1": "LOINC",
    "http://snomed.info/sct": "SNOMED",
    f"{_OID}.96": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    f"{_OID}.88": "RxNorm",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    f"{_OID}.90": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    f"{_OID}.103": "ICD9CM",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    f"{_OID}.69": "NDC",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    f"{_OID}.12": "CPT4",
    "http://www.whocc.no/atc": "ATC",
    "https://www.meddra.org": "MedDRA",
    "http://terminology.hl7.org/CodeSystem/mdr": "MedDRA",
    "http://unitsofmeasure.org": "UCUM",
}


def vocabulary_of(system: str) -> Column:
    """The OMOP vocabulary of a column of FHIR system URIs: null for an unknown one."""
    pairs = [F.lit(item) for pair in VOCABULARIES.items() for item in pair]
    return F.create_map(*pairs)[F.col(system)]


def athena_schema(header: str, table: Table) -> str:
    """The DDL of a file with that tab-separated header line, in the file's own column order.

    Columns the contract does not know are read as text and left out later; a missing one raises
    SourceError.
    """
    names = [name.strip().lower() for name in header.split("\t")]
    types = {column.name: column.type for column in table.columns}
    missing = [name for name in types if name not in names]
    if missing:
        raise SourceError(f"{table.short_name.upper()}.csv lacks the column {missing[0]}")
    return ", ".join(f"`{name}` {types.get(name, 'STRING')}" for name in names)


def source_concepts(codes: DataFrame, concepts: DataFrame) -> DataFrame:
    """One concept per known code of `codes` (vocabulary_id and code, distinct): one that holds
    before a withdrawn one, then the lower id."""
    keys: Sequence[str] = ("vocabulary_id", "code")
    named = concepts.withColumn("code", F.col("concept_code"))
    same_code = Window.partitionBy(*keys).orderBy(~_holds("invalid_reason"), "concept_id")
    matched = named.join(codes, list(keys))
    first = matched.withColumn("_rank", F.row_number().over(same_code)).filter("_rank = 1")
    is_standard = F.coalesce(F.col("standard_concept") == "S", F.lit(False))
    return first.select(
        *keys, F.col("concept_id").alias("source_concept_id"), is_standard.alias("is_standard")
    )


def standard_concepts(sources: DataFrame, concepts: DataFrame, relations: DataFrame) -> DataFrame:
    """One row per source concept and standard concept it maps to, by Maps to.

    `sources` comes from source_concepts. One that maps to nothing gives a row with a null
    concept_id.
    """
    holds = _holds("invalid_reason")
    maps_to = relations.filter((F.col("relationship_id") == "Maps to") & holds)
    pairs = maps_to.select(F.col("concept_id_1").alias("source_concept_id"), "concept_id_2")
    # A standard concept stands for itself, also where the download's relations were cut.
    itself = sources.filter("is_standard").select(
        "vocabulary_id", "code", "source_concept_id", F.col("source_concept_id").alias("to_id")
    )
    mapped = sources.join(pairs, "source_concept_id").select(
        "vocabulary_id", "code", "source_concept_id", F.col("concept_id_2").alias("to_id")
    )
    targets = concepts.filter((F.col("standard_concept") == "S") & holds).select(
        F.col("concept_id").alias("to_id"), "domain_id"
    )
    found = mapped.union(itself).distinct().join(targets, "to_id")
    return _with_unmapped(sources, found)


def _with_unmapped(sources: DataFrame, found: DataFrame) -> DataFrame:
    per_code = Window.partitionBy("vocabulary_id", "code").orderBy("to_id")
    ranked = found.withColumn("map_index", F.row_number().over(per_code) - 1)
    kept = ranked.select("vocabulary_id", "code", "to_id", "domain_id", "map_index")
    return sources.join(kept, ["vocabulary_id", "code"], "left").select(
        "vocabulary_id",
        "code",
        "source_concept_id",
        F.col("to_id").alias("concept_id"),
        "domain_id",
        F.coalesce("map_index", F.lit(0)).alias("map_index"),
    )


def _holds(column: str) -> Column:
    return F.coalesce(F.trim(F.col(column)), F.lit("")) == ""
