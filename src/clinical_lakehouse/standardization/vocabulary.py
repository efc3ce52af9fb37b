"""Reads an Athena download's files into their contracts, and finds standard concepts of codes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.omop_vocabulary import ATHENA_FILES, SOURCE_TO_CONCEPT_MAP

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

_OWN_MAP = f"{SOURCE_TO_CONCEPT_MAP.short_name.upper()}.CSV"


def vocabulary_of(system: str) -> Column:
    """The OMOP vocabulary of a column of FHIR system URIs: null for an unknown one."""
    pairs = [F.lit(item) for pair in VOCABULARIES.items() for item in pair]
    return F.create_map(*pairs)[F.col(system)]


def athena_files(folder: Path) -> dict[Path, Table]:
    """The folder's files that are vocabulary tables, the person's own map among them.

    A folder that holds neither CONCEPT.csv nor that map raises SourceError.
    """
    if not folder.is_dir():
        raise SourceError(f"no folder {folder.name!r}; give the folder of an Athena download")
    files = {path.name.upper(): path for path in sorted(folder.iterdir())}
    if not {"CONCEPT.CSV", _OWN_MAP} & files.keys():
        raise SourceError(f"{folder.name} holds no CONCEPT.csv; give an unpacked Athena download")
    wanted = {name.upper(): table for name, table in ATHENA_FILES.items()}
    return {files[name]: table for name, table in wanted.items() if name in files}


def sha256(path: Path) -> str:
    """Of a file's bytes, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    """One concept per known code of `codes` (vocabulary_id and code, distinct): the one that holds,
    else the withdrawn one with the lowest id, with its `fault`.

    Where several hold, nobody can say which is meant: id 0, fault ambiguous.
    """
    keys: Sequence[str] = ("vocabulary_id", "code")
    named = concepts.withColumn("code", F.col("concept_code"))
    holds = _holds("invalid_reason")
    ordered = Window.partitionBy(*keys).orderBy(~holds, "concept_id")
    valid_count = F.count_if(holds).over(Window.partitionBy(*keys))
    ranked = named.join(codes, list(keys)).select(
        *(*keys, "concept_id", "standard_concept"),
        F.when(valid_count > 1, "ambiguous").when(valid_count == 0, "deprecated").alias("fault"),
        F.row_number().over(ordered).alias("_rank"),
    )
    is_known = ~F.col("fault").eqNullSafe(F.lit("ambiguous"))
    is_standard = F.coalesce(F.col("standard_concept") == "S", F.lit(False))
    return ranked.filter("_rank = 1").select(
        *keys,
        F.when(is_known, F.col("concept_id")).otherwise(0).alias("source_concept_id"),
        (is_standard & F.col("fault").isNull()).alias("is_standard"),
        "fault",
    )


def standard_concepts(sources: DataFrame, concepts: DataFrame, relations: DataFrame) -> DataFrame:
    """One row per source concept and standard concept it maps to, by Maps to, with the concept of
    its value, by Maps to value.

    `sources` comes from source_concepts. One that maps to nothing gives a row with a null
    concept_id.
    """
    kinds = F.col("relationship_id").isin("Maps to", "Maps to value")
    pairs = relations.filter(kinds & _holds("invalid_reason")).select(
        F.col("concept_id_1").alias("source_concept_id"), "relationship_id", "concept_id_2"
    )
    is_target, to = F.col("relationship_id") == "Maps to", F.col("concept_id_2")
    related = sources.filter("source_concept_id > 0").join(pairs, "source_concept_id", "left")
    # A standard concept stands for itself, also where the download's relations were cut.
    itself = F.when(F.col("is_standard"), F.array("source_concept_id")).otherwise(F.array())
    grouped = related.groupBy("vocabulary_id", "code", "source_concept_id", "is_standard").agg(
        F.collect_set(F.when(is_target, to)).alias("targets"),
        F.min(F.when(~is_target, to)).alias("value_concept_id"),
    )
    targets = F.explode(F.array_union(F.col("targets"), itself.cast("array<int>")))
    mapped = grouped.select("vocabulary_id", "code", "value_concept_id", targets.alias("to_id"))
    return _with_unmapped(sources, mapped.join(_standard(concepts), "to_id"))


def human_concepts(codes: DataFrame, concepts: DataFrame, source_map: DataFrame) -> DataFrame:
    """The same rows for codes that a person has mapped (omop.source_to_concept_map); only standard
    concepts that hold count."""
    entries = source_map.filter(_holds("invalid_reason")).select(
        F.col("source_vocabulary_id").alias("vocabulary_id"),
        F.col("source_code").alias("code"),
        "source_concept_id",
        F.col("target_concept_id").alias("to_id"),
    )
    named = entries.join(codes, ["vocabulary_id", "code"]).join(_standard(concepts), "to_id")
    sources = named.groupBy("vocabulary_id", "code").agg(
        F.max("source_concept_id").alias("source_concept_id"),
        F.lit(None).cast("string").alias("fault"),
    )
    found = named.withColumn("value_concept_id", F.lit(None).cast("int"))
    return _with_unmapped(sources, found)


def _standard(concepts: DataFrame) -> DataFrame:
    standard = concepts.filter((F.col("standard_concept") == "S") & _holds("invalid_reason"))
    return standard.select(F.col("concept_id").alias("to_id"), "domain_id")


def _with_unmapped(sources: DataFrame, found: DataFrame) -> DataFrame:
    per_code = Window.partitionBy("vocabulary_id", "code").orderBy("to_id")
    ranked = found.withColumn("map_index", F.row_number().over(per_code) - 1)
    kept = ranked.select(
        *("vocabulary_id", "code", "to_id", "domain_id", "map_index", "value_concept_id")
    )
    return sources.join(kept, ["vocabulary_id", "code"], "left").select(
        "vocabulary_id",
        "code",
        "source_concept_id",
        F.col("to_id").alias("concept_id"),
        "domain_id",
        F.coalesce("map_index", F.lit(0)).alias("map_index"),
        "value_concept_id",
        "fault",
    )


def _holds(column: str) -> Column:
    return F.coalesce(F.trim(F.col(column)), F.lit("")) == ""
