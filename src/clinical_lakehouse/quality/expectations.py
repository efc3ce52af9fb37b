"""The one way to Great Expectations: a table's checks as a suite, and a run's results, stored.

Great Expectations only keeps them: its own engine asks a query a check, ours asks all at once. It
takes ten seconds to import, so nothing is imported before it is needed, and it may tell nobody.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from clinical_lakehouse.tables.contract import Check, Severity, Table

_SEVERITIES = {Severity.FATAL: "critical", Severity.ERROR: "warning", Severity.WARN: "info"}
Row = Mapping[str, Any]


def store(
    folder: Path,
    checks: Mapping[Table, Sequence[Check]],
    results: Sequence[Row],
    run: tuple[str, datetime],
) -> int:
    """Write a suite per table, and per table a validation result of these rows of
    ops.quality_result and quality_table_result, below `folder`/gx; how many suites."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=str(folder))
    for table, own in checks.items():
        suite = gx.ExpectationSuite(name=table.name, expectations=[expectation(c) for c in own])
        context.suites.add_or_update(suite)
        mine = {row["check_name"]: row for row in results if row["table_name"] == table.name}
        if mine:
            _store_result(context, table, [(c, mine[c.name]) for c in own if c.name in mine], run)
    return len(checks)


def expectation(check: Check) -> Any:
    """The check as an expectation that Great Expectations can also carry out by itself on Spark;
    the share that may fail becomes `mostly` where the expectation knows it. References, and what
    looks into other tables, need columns that our look-ups add, so they are kept as their SQL."""
    import great_expectations.expectations as gxe

    meta = {"check": check.name, "version": check.version, "category": check.category,
            "kind": check.kind, "declared_in": check.place or "contract"}  # fmt: skip
    given: dict[str, Any] = {"meta": meta, "severity": _SEVERITIES[check.severity]}
    names = [part.strip(" `") for part in check.predicate.split(",")]
    mostly = float(1 - float(check.max_failed_ratio))
    if check.scope == "key" and check.where == "true":
        if len(names) == 1:
            return gxe.ExpectColumnValuesToBeUnique(column=names[0], **given)
        return gxe.ExpectCompoundColumnsToBeUnique(column_list=names, **given)
    if check.kind == "completeness" and check.where == "true" and not check.lookups:
        column = check.predicate.split("`")[1]
        return gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=mostly, **given)
    if check.kind == "volume":
        low, high = (None if edge is None else int(edge) for edge in (check.low, check.high))
        return gxe.ExpectTableRowCountToBeBetween(min_value=low, max_value=high, **given)
    return gxe.UnexpectedRowsExpectation(unexpected_rows_query=_query(check), **given)


def _query(check: Check) -> str:
    """The rows that fail, as SQL over Great Expectations' {batch}."""
    if check.scope == "table":
        figure = check.measure.expression if check.measure else "0"
        low = f"figure < {check.low}" if check.low is not None else "false"
        high = f"figure > {check.high}" if check.high is not None else "false"
        limits = "false" if check.against else f"{low} OR {high}"
        return f"SELECT * FROM (SELECT {figure} AS figure FROM {{batch}}) WHERE {limits}"
    if check.scope == "key":
        return (f"SELECT {check.predicate} FROM {{batch}} WHERE {check.where} "
                f"GROUP BY {check.predicate} HAVING count(*) > 1")  # fmt: skip
    if check.refers:
        own, other, key = check.refers
        return (f"SELECT * FROM {{batch}} AS b LEFT ANTI JOIN {other} AS o ON b.{own} = o.{key} "
                f"WHERE b.{own} IS NOT NULL")  # fmt: skip
    return f"SELECT * FROM {{batch}} WHERE ({check.where}) AND NOT ({check.predicate})"


def _store_result(
    context: Any, table: Table, judged: Sequence[tuple[Check, Row]], run: tuple[str, datetime]
) -> None:
    from great_expectations.core import ExpectationSuiteValidationResult, RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    results = [_result(check, row) for check, row in judged]
    passed = sum(bool(one.success) for one in results)
    found = ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=table.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={"run_id": {"run_name": run[0], "run_time": run[1].isoformat()}},
    )
    suite = ExpectationSuiteIdentifier(table.name)
    identifier = RunIdentifier(run_name=run[0], run_time=run[1])
    key = ValidationResultIdentifier(suite, identifier, table.name)
    context.validation_results_store.store_validation_results(found, key)


def _result(check: Check, row: Row) -> Any:
    from great_expectations.core import ExpectationValidationResult

    judged, failed = row.get("row_count"), row.get("failed_count") or 0
    result = {"observed_value": row.get("measured")} if judged is None else {
        "element_count": judged,
        "unexpected_count": failed,
        "unexpected_percent": 100 * failed / judged if judged else 0.0,
    }  # fmt: skip
    return ExpectationValidationResult(
        success=row["state"] in ("passed", "not_applicable"),
        expectation_config=expectation(check).configuration,
        result=result,
        meta={"rule_version": row["rule_version"], "state": row["state"]},
    )
