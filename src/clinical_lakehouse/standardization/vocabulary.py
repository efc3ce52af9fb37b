"""Reads an Athena download's files into their contracts; names the vocabulary of a code system."""

import hashlib
import re
from pathlib import Path

from pyspark.sql import Column
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

    A folder that holds neither CONCEPT.csv nor that map nor a list of codes raises SourceError.
    """
    if not folder.is_dir():
        raise SourceError(f"no folder {folder.name!r}; give the folder of an Athena download")
    files = {path.name.upper(): path for path in sorted(folder.iterdir())}
    if not {"CONCEPT.CSV", _OWN_MAP} & files.keys() and not any(map(code_list, files.values())):
        raise SourceError(f"{folder.name} holds no CONCEPT.csv; give an unpacked Athena download")
    wanted = {name.upper(): table for name, table in ATHENA_FILES.items()}
    return {files[name]: table for name, table in wanted.items() if name in files}


def code_list(path: Path) -> int | str | None:
    """What a public list of codes holds, by its file's name: the year of ICD-10-CM, `gem` for CMS's
    map of ICD-9-CM to ICD-10-CM, None for any other file."""
    name = path.name.lower().removesuffix(".gz")
    if re.fullmatch(r"(icd9toicd10(cm)?gem|.*i9gem)\.(csv|txt)", name):
        return "gem"
    found = re.fullmatch(r"(?:icd-?10cm|code-list).*?(20\d\d)\.txt", name)
    return int(found[1]) if found else None


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
