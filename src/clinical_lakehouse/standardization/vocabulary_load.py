"""The job vocabulary_load: an Athena download's changed files, and what people have mapped."""

from pathlib import Path
from typing import Any

from clinical_lakehouse.operators.medical_coding import publish
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.standardization.vocabulary import athena_files, athena_schema, sha256
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import CODING_REVIEW
from clinical_lakehouse.tables.omop_vocabulary import ATHENA_FILES, SOURCE_TO_CONCEPT_MAP
from clinical_lakehouse.tables.ops import VOCABULARY_LOAD


@task(
    reads=[CODING_REVIEW],
    writes=[*ATHENA_FILES.values(), VOCABULARY_LOAD],
    params={"vocabulary": ""},
)
def load(run: Run) -> Metrics:
    """Load the changed files of an Athena download (a folder) into the vocabulary tables."""
    known = {row["table_name"]: row.asDict() for row in run.lake.read(VOCABULARY_LOAD).collect()}
    loaded: dict[str, dict[str, Any]] = {}
    for path, table in athena_files(Path(run.param("vocabulary"))).items():
        digest = sha256(path)
        if known.get(table.name, {}).get("file_hash") != digest:
            loaded[table.name] = _load(run, table, path, digest)
    if SOURCE_TO_CONCEPT_MAP.name in loaded:
        publish(run)  # the file does not know what was decided in gold.coding_review
    if loaded:
        ledger = list({**known, **loaded}.values())
        run.lake.replace(VOCABULARY_LOAD, run.lake.frame(VOCABULARY_LOAD, ledger))
    return {name: entry["row_count"] for name, entry in loaded.items()}


def _load(run: Run, table: Table, path: Path, digest: str) -> dict[str, Any]:
    """Replace a vocabulary table by a file; returns its row of ops.vocabulary_load."""
    with path.open(encoding="utf-8-sig") as file:
        schema = athena_schema(file.readline(), table)
    rows = run.lake.read_text_csv(path, schema).select(*table.column_names)
    return {
        "table_name": table.name,
        "file_hash": digest,
        "row_count": run.lake.replace(table, rows).inserted,
        "loaded_at": run.as_of,
    }
