"""DQD's result file, as its viewer reads it (inst/shinyApps/www/js/loadResults.js)."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from clinical_lakehouse.quality.dqd_verdict import (
    ERROR,
    FAILED,
    NOT_APPLICABLE,
    PASSED,
    Verdict,
    overview,
)

# The release whose definitions are used; the viewer shows it.
DQD_VERSION = "2.8"


def results_json(found: Sequence[Verdict], source: Mapping[str, Any], as_of: datetime) -> str:
    """The file: CheckResults, Metadata (the row of cdm_source in camel case) and Overview. R writes
    a lone value as a list of one. The same verdicts give the same bytes: all times are as_of."""
    moment = as_of.strftime("%Y-%m-%d %H:%M:%S")
    content = {
        "startTimestamp": [moment],
        "endTimestamp": [moment],
        "executionTime": ["one aggregate per table"],
        "CheckResults": [_result(verdict) for verdict in found],
        "Metadata": [{**_metadata(source), "dqdVersion": DQD_VERSION}],
        "Overview": {name: [value] for name, value in overview(found).items()},
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _result(verdict: Verdict) -> dict[str, Any]:
    check, count = verdict.check, verdict.count
    row = {
        "numViolatedRows": None if count.error else count.violated,
        "pctViolatedRows": None if count.error else round(verdict.ratio, 6),
        "numDenominatorRows": None if count.error else count.counted,
        "executionTime": "counted with its table",
        "queryText": f"{check.kind.name}: {check.kind.rule}",
        "checkName": check.kind.name,
        "checkLevel": check.kind.level,
        "checkDescription": check.description,
        "cdmTableName": check.table.upper(),
        "cdmFieldName": check.field.upper() or None,
        "conceptId": check.words.get("conceptId") or None,
        "unitConceptId": check.words.get("unitConceptId") or None,
        "sqlFile": check.kind.sql_file,
        "category": check.category,
        "subcategory": check.subcategory,
        "context": check.context,
        "error": count.error,
        "checkId": check.check_id,
        "failed": int(verdict.status == FAILED),
        "passed": int(verdict.status == PASSED),
        "isError": int(verdict.status == ERROR),
        "notApplicable": int(verdict.status == NOT_APPLICABLE),
        "notApplicableReason": verdict.reason,
        "thresholdValue": check.threshold,
        "notesValue": check.notes,
    }
    return {name: value for name, value in row.items() if value is not None}


def _metadata(source: Mapping[str, Any]) -> dict[str, Any]:
    """R's names: cdm_source_name is cdmSourceName."""
    return {
        _camel(name): str(value) if isinstance(value, date) else value
        for name, value in source.items()
        if value is not None
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
