"""ClinicalDataValidatorOperator: judges tables by their contracts and by conf/quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.methods.quality.asked import Asked, asked
from clinical_lakehouse.methods.quality.judgement import FAILED
from clinical_lakehouse.methods.quality.one_pass import Rows, tallies
from clinical_lakehouse.methods.quality.past import step_rows
from clinical_lakehouse.methods.quality.results import verdict
from clinical_lakehouse.methods.quality.schema_drift import as_contract, drift_of
from clinical_lakehouse.methods.quality.scores import Weights
from clinical_lakehouse.operators.quality_records import (
    alert,
    block,
    read_past,
    record_failures,
    record_results,
)
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.contract import Check, Table

# One job of all tables holds the broadcasts of all look-ups and one huge plan in memory at once.
_BATCH = 8


@dataclass(frozen=True)
class ClinicalDataValidatorOperator:
    """Judges `tables` by their contracts and by `checks` (of conf/quality, by table), a few at
    a time in one Spark job; `weights` make scores of the results, `source` is the task that
    alerts."""

    tables: tuple[Table, ...]
    checks: Mapping[str, Sequence[Check]]
    weights: Weights
    source: str

    def execute(self, run: Run) -> Metrics:
        """Store results, failing rows, steps and scores, block tables of which a fatal check fails,
        and alert; the task declares the tables.

        Raises ContractError before anything is stored if a check cannot be asked.
        """
        tables, rows_of = self._asked(run)
        found = verdict(tables, _collected(tables, rows_of, run), self.weights)
        samples = record_failures(run, found, rows_of)
        steps = step_rows(found, read_past(run), run.as_of)
        record_results(run, found, samples, steps)
        blocked = block(run, found)
        told = alert(run, self.source, found, steps)
        scores = [s.score for (dimension, _), s in found.scores.items() if dimension == "table"]
        return {
            "tables": len(scores),
            "checks": len(found.outcomes),
            "failing_checks": sum(one.state == FAILED for one in found.outcomes),
            "steps": len(steps),
            "lowest_score": round(min(scores, default=1.0), 4),
            "blocked_tables": blocked,
            "alerts": told,
        }

    def _asked(self, run: Run) -> tuple[list[Asked], Rows]:
        """What is asked of the tables that are made; their rows are read as the contract has
        them."""
        made = {t.name: run.lake.read(t) for t in self.tables if run.lake.exists(t)}
        drifts = {t.name: drift_of(t, made[t.name]) for t in self.tables if t.name in made}

        def rows_of(name: str) -> DataFrame:
            table = table_named(name)
            if name not in made:
                return run.lake.read(table)
            return as_contract(table, made[name], drifts[name])

        return asked(self.tables, self.checks, drifts), rows_of


def _collected(tables: Sequence[Asked], rows_of: Rows, run: Run) -> list[Mapping[str, Any]]:
    batches = [tables[at : at + _BATCH] for at in range(0, len(tables), _BATCH)]
    try:
        found = in_two_threads([tallies(some, rows_of, run.as_of).collect for some in batches])
    except PySparkException as error:
        raise _culprit(tables, rows_of, run) from error
    return [row.asDict() for rows in found for row in rows]


def _culprit(tables: Sequence[Asked], rows_of: Rows, run: Run) -> ContractError:
    """The check that Spark cannot carry out, by its place; never Spark's text, which may hold a
    value."""
    for one in tables:
        for check in one.checks:
            measures = tuple(m for m in (check.measure,) if m and not m.table)
            try:
                tallies([Asked(one.table, (check,), (), measures)], rows_of, run.as_of).collect()
            except PySparkException as error:
                reason = error.getCondition() or type(error).__name__
                place = check.place or f"the contract of {one.table.name}"
                return ContractError(f"{place}: check {check.name} cannot be asked: {reason}; "
                                     "correct its SQL, or use try_cast and nullif")  # fmt: skip
    return ContractError("the tables cannot be read as they are judged; see the task's log")
