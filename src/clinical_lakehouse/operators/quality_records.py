"""What the validator keeps: failing rows by key, results, steps and scores; and whom it tells."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.failing_rows import (
    changed,
    failing_rows,
    retired,
    samples,
)
from clinical_lakehouse.methods.quality.judgement import NOT_JUDGED
from clinical_lakehouse.methods.quality.one_pass import Rows
from clinical_lakehouse.methods.quality.past import Past, past, recent, series, told_steps
from clinical_lakehouse.methods.quality.results import (
    Outcome,
    Verdict,
    result_rows,
    score_rows,
    slice_rows,
    table_rows,
)
from clinical_lakehouse.methods.quality.trends import edge_of
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.reading import rows_of as collected
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.contract import Severity, Table
from clinical_lakehouse.tables.ops import QUALITY_RESULT
from clinical_lakehouse.tables.ops_quality import (
    QUALITY_BLOCK,
    QUALITY_FAILURE,
    QUALITY_SCORE,
    QUALITY_SLICE,
    QUALITY_STEP,
    QUALITY_TABLE_RESULT,
)

_RULE_DDL = "table_name STRING, check_name STRING, rule_version STRING"
Rule = tuple[str, str, str]


def record_failures(run: Run, found: Verdict, rows_of: Rows) -> dict[Rule, Sequence[str]]:
    """Bring ops.quality_failure up to date; up to five keys of rows that fail now, by check."""
    failing: dict[str, list[str]] = {}
    for one in found.outcomes:
        if one.count and one.count.failed:
            failing.setdefault(one.table.name, []).append(one.check.name)
    known = run.lake.read(QUALITY_FAILURE)
    is_known = run.lake.exists(QUALITY_FAILURE)
    if not failing and (not is_known or known.filter("is_failing").isEmpty()):
        return {}
    now = failing_rows(found.asked, failing, rows_of) if failing else _nothing(known)
    changes = changed(known, now, _rules(known, found.outcomes, judged=True), run.as_of)
    if is_known:
        made = [one.table.name for one in found.asked]
        ours = known.filter(F.col("table_name").isin(made))
        gone = retired(ours, _rules(known, found.outcomes, judged=False), run.as_of)
        changes = changes.unionByName(gone.drop("run_id"))
    rows = changes.withColumn("run_id", F.lit(run.run_id)).select(*QUALITY_FAILURE.column_names)
    run.lake.merge(QUALITY_FAILURE, rows)
    listed = samples(run.lake.read(QUALITY_FAILURE)).collect()
    return {(r.table_name, r.check_name, r.rule_version): r.sample_keys for r in listed}


def _nothing(known: DataFrame) -> DataFrame:
    names = ("table_name", "check_name", "rule_version", "row_key", "severity", "reason", "owner",
             "row_count")  # fmt: skip
    return known.select(*names).limit(0)


def _rules(known: DataFrame, outcomes: Sequence[Outcome], judged: bool) -> DataFrame:
    """The rules of this run; `judged`: those that could be judged."""
    of_rows = [one for one in outcomes if one.check.scope != "table"]
    rules = [one.rule for one in of_rows if not (judged and one.state == NOT_JUDGED)]
    return known.sparkSession.createDataFrame(rules, _RULE_DDL)


def read_past(run: Run) -> Past:
    """The 12 weeks before the run."""
    if not run.lake.exists(QUALITY_RESULT):
        return Past()
    results, measures, slices, scores, steps = (
        recent(run.lake.read(table), run.as_of)
        for table in (QUALITY_RESULT, QUALITY_TABLE_RESULT, QUALITY_SLICE, QUALITY_SCORE,
                      QUALITY_STEP)
    )  # fmt: skip
    runs = scores.filter("dimension <> 'table'").select("dimension", "slice", "checked_at")
    return past(collected([*series(results, measures, slices), runs, steps]))


def record_results(
    run: Run,
    found: Verdict,
    keys: Mapping[Rule, Sequence[str]],
    steps: Sequence[Mapping[str, Any]],
) -> None:
    """Store what this run found, in place of what an earlier attempt of it left."""
    kept = (
        (QUALITY_RESULT, result_rows(found, keys)),
        (QUALITY_TABLE_RESULT, table_rows(found)),
        (QUALITY_SLICE, slice_rows(found)),
        (QUALITY_STEP, steps),
        (QUALITY_SCORE, score_rows(found)),
    )
    in_two_threads([partial(_store, run, table, rows) for table, rows in kept])


def _store(run: Run, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    stamped = [{**row, "run_id": run.run_id, "checked_at": run.as_of} for row in rows]
    if run.lake.exists(table):
        own = run.run_id.replace("'", "\\'")
        run.lake.replace(table, stamped, f"run_id = '{own}'")
    else:
        run.lake.ensure(table)  # nothing found is something to be read, too
        run.lake.append(table, stamped)


def block(run: Run, found: Verdict) -> int:
    """Bring ops.quality_block up to date: tables of which a fatal check fails are blocked, those
    found mended are not any more. How many are blocked."""
    fatal: dict[str, list[str]] = {}
    for one in found.failing:
        if one.check.severity is Severity.FATAL:
            fatal.setdefault(one.table.name, []).append(one.check.name)
    judged = [one.table.name for one in found.asked]
    known = {row["table_name"]: row for row in run.lake.rows(QUALITY_BLOCK, "is_blocked")}
    rows = [
        {"table_name": name, "checks": sorted(checks), "is_blocked": True, "run_id": run.run_id,
         "blocked_at": known.get(name, {}).get("blocked_at", run.as_of)}
        for name, checks in fatal.items() if known.get(name, {}).get("checks") != sorted(checks)
    ]  # fmt: skip
    rows += [
        {**row, "is_blocked": False, "released_at": run.as_of, "run_id": run.run_id}
        for name, row in known.items() if name in judged and name not in fatal
    ]  # fmt: skip
    if rows:
        run.lake.merge(QUALITY_BLOCK, rows)
    return len((known.keys() - set(judged)) | fatal.keys())


def alert(run: Run, source: str, found: Verdict, steps: Sequence[Mapping[str, Any]]) -> int:
    """Tell of scores below the limit, of steps and of fatal checks; how many findings."""
    limit = run.settings.limits.quality_score_min
    findings = [
        _low(run, dimension, name, one.score)
        for (dimension, name), one in found.scores.items()
        if one.score < limit
    ]
    findings += [_step(run, step) for step in told_steps(steps)]
    findings += [_fatal(run, one) for one in found.failing if one.check.severity is Severity.FATAL]
    emit(run, source, findings)
    return len(findings)


def _low(run: Run, dimension: str, name: str, score: float) -> Finding:
    """The table's kind is the one that conf/alerting's rule quality_score_low replaces."""
    limit = run.settings.limits.quality_score_min
    kind = "quality_score" if dimension == "table" else f"quality_score_{dimension}"
    message = f"quality score of {_a(dimension)}{name} is {score:.1%}, below {limit:.0%}"
    return Finding(kind, "warning", {dimension: name}, score, limit, message, run.as_of)


def _a(dimension: str) -> str:
    return "" if dimension == "table" else f"{dimension} "


def _step(run: Run, step: Mapping[str, Any]) -> Finding:
    where, name = step["dimension"], step["slice"]
    labels = {"table": step["table_name"], "check": step["check_name"], where: name}
    place = "" if where == "table" else f" at {where} {name}"
    message = (f"{step['check_name']} of {step['table_name']}{place} is {step['value']:.4g}, "
               f"usually {step['usual']:.4g}")  # fmt: skip
    edge = edge_of(step["usual"], step["spread"], step["value"])
    return Finding("quality_step", "warning", labels, step["value"], edge, message, run.as_of)


def _fatal(run: Run, one: Outcome) -> Finding:
    labels = {"table": one.table.name, "check": one.check.name}
    failed = float(one.count.failed) if one.count else float(one.measured or 0)
    message = f"fatal check {one.check.name} of {one.table.name} fails: what is made of it waits"
    return Finding("quality_fatal", "critical", labels, failed, 0.0, message, run.as_of)
