"""The job vocabulary_load: an Athena download's changed files, and what people have mapped."""

from pathlib import Path
from typing import Any

from clinical_lakehouse.methods.coding import read_gems, read_icd10cm
from clinical_lakehouse.operators.medical_coding import publish
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.standardization.vocabulary import (
    athena_files,
    athena_schema,
    code_list,
    sha256,
)
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_codes import CODE_RELEASE, CODE_TRANSLATION
from clinical_lakehouse.tables.gold_standardization import CODING_REVIEW
from clinical_lakehouse.tables.omop_vocabulary import ATHENA_FILES, SOURCE_TO_CONCEPT_MAP
from clinical_lakehouse.tables.ops import VOCABULARY_LOAD


@task(
    reads=[CODING_REVIEW],
    writes=[*ATHENA_FILES.values(), CODE_RELEASE, CODE_TRANSLATION, VOCABULARY_LOAD],
    params={"vocabulary": ""},
)
def load(run: Run) -> Metrics:
    """Load the changed files of a folder into the vocabulary tables: an Athena download, lists of
    ICD-10-CM codes by year, CMS's map of ICD-9-CM to ICD-10-CM."""
    folder = Path(run.param("vocabulary"))
    known = {row["table_name"]: row.asDict() for row in run.lake.read(VOCABULARY_LOAD).collect()}
    loaded: dict[str, dict[str, Any]] = {}
    files: dict[Path, Table | None] = {**athena_files(folder)}
    files |= {path: None for path in sorted(folder.iterdir()) if code_list(path)}
    for path, table in files.items():
        name, digest = table.name if table else path.name, sha256(path)
        if known.get(name, {}).get("file_hash") != digest:
            count = _load(run, table, path) if table else _load_codes(run, path)
            told = {"table_name": name, "file_hash": digest, "row_count": count}
            loaded[name] = {**told, "loaded_at": run.as_of}
    if SOURCE_TO_CONCEPT_MAP.name in loaded:
        publish(run)  # the file does not know what was decided in gold.coding_review
    if loaded:
        ledger = list({**known, **loaded}.values())
        run.lake.replace(VOCABULARY_LOAD, ledger)
    return {name: entry["row_count"] for name, entry in loaded.items()}


def _load(run: Run, table: Table, path: Path) -> int:
    """Replace a vocabulary table by a file; how many rows."""
    with path.open(encoding="utf-8-sig") as file:
        schema = athena_schema(file.readline(), table)
    rows = run.lake.read_text_csv(path, schema).select(*table.column_names)
    return run.lake.replace(table, rows).inserted


def _load_codes(run: Run, path: Path) -> int:
    """Load a public list of codes, at most some 100,000 a file; how many rows."""
    kind = code_list(path)
    if isinstance(kind, int):
        release = read_icd10cm(path, kind)
        codes = {**dict.fromkeys(release.headers), **release.billable}
        rows = [
            {"year": kind, "code": code, "title": title or None, "is_billable": title is not None}
            for code, title in codes.items()
        ]
        return run.lake.replace(CODE_RELEASE, rows, f"year = {kind}").inserted
    entries = [entry for found in read_gems(path).values() for entry in found]
    rows = [{**vars(e), "source_code": e.source, "target_code": e.target} for e in entries]
    return run.lake.replace(CODE_TRANSLATION, rows).inserted
