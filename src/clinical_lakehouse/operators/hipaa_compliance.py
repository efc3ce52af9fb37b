"""HIPAACompliance: looks in tables for what Safe Harbor forbids, and stops where it finds it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.methods.deid.identifier_counts import FOUND, counting
from clinical_lakehouse.methods.deid.spans import URL
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.tables.contract import Column as ContractColumn
from clinical_lakehouse.tables.contract import Phi, Severity, Table
from clinical_lakehouse.tables.ops import PRIVACY_FINDING
from clinical_lakehouse.tables.vault import SUBJECT

_LAYERS = ("silver", "omop", "gold")  # de-identified; bronze and vault may hold identifiers
_PERSON = ("subject_key", "person_id")
_ZIP = ("zip", "zip3", "postal_code")
# Columns of codes and keys: what looks like an identifier there may well be none.
_CODED = ("code", "system", "value", "version", "id")
_RANK = (Severity.WARN, Severity.ERROR, Severity.FATAL)
_OLDEST = 90  # everybody over 89 is written as this, 45 CFR 164.514(b)(2)(i)(C)
_SURELY_OVER = 91  # years between birth year and end: at least 90 whole years


@dataclass(frozen=True)
class HIPAACompliance:
    """Judges `tables` by Safe Harbor (45 CFR 164.514(b)(2)): privacy classes of columns, patterns
    of the 18 kinds in text, ages over 89, ZIP3 areas, and in strict mode dates that are not moved.

    Reads `sampled_ratio` of the rows for patterns. Findings of `fails_from` and above stop the task
    once they are written; none holds a value.
    """

    tables: tuple[Table, ...]
    sampled_ratio: float = 1.0
    fails_from: Severity = Severity.ERROR

    def execute(self, run: Run) -> Metrics:
        """Write ops.privacy_finding; ContractError names the worst tables. The task declares the
        tables, vault.subject, ops.privacy_finding and the two of alerts."""
        made = [table for table in self.tables if run.lake.exists(table)]
        found = [*_declared(made), *_seen(run, made, self.sampled_ratio), *_unmoved(run)]
        rows = [_row(run, one) for one in found]
        if rows:
            run.lake.merge(PRIVACY_FINDING, rows)
        worst = [r for r in rows if _RANK.index(r["severity"]) >= _RANK.index(self.fails_from)]
        emit(run, "data-privacy-verify", [_alert(run, row) for row in worst])
        if worst:
            names = ", ".join(sorted({f"{r['kind']} in {r['table_name']}" for r in worst})[:5])
            raise ContractError(f"{len(worst)} privacy findings, see ops.privacy_finding: {names}")
        return {"tables": len(made), "findings": len(rows)}


def verifiable(tables: list[Table]) -> tuple[Table, ...]:
    """The tables of the de-identified layers that tell of people, or of what they were given."""
    telling = {*_PERSON, *_ZIP, "display"}
    return tuple(t for t in tables if t.schema_name in _LAYERS and telling & set(t.column_names))


_Found = tuple[str, str, str, Severity, int]  # table, column, kind, severity, count


def _declared(tables: list[Table]) -> Iterator[_Found]:
    """Columns whose privacy class does not belong into the layer."""
    for table in tables:
        is_personal = not set(_PERSON).isdisjoint(table.column_names)
        for column in table.columns:
            if column.phi is Phi.DIRECT:
                yield (table.name, column.name, "direct-column", Severity.ERROR, 1)
            is_date = column.type in ("DATE", "TIMESTAMP")
            if is_personal and is_date and column.phi is not Phi.PSEUDONYM:
                yield (table.name, column.name, "date-column", Severity.ERROR, 1)


def _seen(run: Run, tables: list[Table], ratio: float) -> list[_Found]:
    """What rows hold: all tables in one Spark job."""
    parts = [part for table in tables for part in _counts(run, table, ratio)]
    if not parts:
        return []
    names = ("table_name", "column_name", "kind")
    totals = reduce(DataFrame.union, parts).groupBy(*names).agg(F.sum("found_count").alias("n"))
    is_system = F.col("column_name").endswith("system") & (F.col("kind") == URL)
    rows = totals.filter((F.col("n") > 0) & ~is_system).collect()  # a code system is a URL
    return [(*(row[n] for n in names), _severity(row["column_name"]), row["n"]) for row in rows]


def _counts(run: Run, table: Table, ratio: float) -> Iterator[DataFrame]:
    """Rows of FOUND: texts by their patterns, figures by their rule."""
    rows = run.lake.read(table)
    texts = [column.name for column in table.columns if column.type == "STRING"]
    if texts:
        some = rows.select(*texts) if ratio >= 1 else rows.select(*texts).sample(ratio)
        yield some.mapInArrow(counting(table.name, texts), FOUND)
    for column in table.columns:
        rule = _rule(run, table, column)
        if rule is not None:
            kind, is_bad = rule
            named = [F.lit(word) for word in (table.name, column.name, kind)]
            yield rows.agg(F.count_if(is_bad).alias("n")).select(*named, "n")


def _rule(run: Run, table: Table, column: ContractColumn) -> tuple[str, Column] | None:
    value = F.col(column.name)
    if column.name in _ZIP:
        withheld = run.settings.privacy.zip3_withheld
        return "zip3", ~value.rlike(r"^\d{3}$") | value.isin(*withheld)
    if column.name == "birth_year" and "deceased_at" in table.column_names:
        end = F.coalesce(F.year("deceased_at"), F.lit(run.as_of.year))
        return "birth-year", end - value >= _SURELY_OVER
    if column.name.startswith("age_") and column.type in ("INT", "DOUBLE"):
        return "age", value > _OLDEST
    return None


def _unmoved(run: Run) -> Iterator[_Found]:
    """People whose dates are real although the mode is strict."""
    if run.settings.privacy.hipaa_compliance_mode == "strict":
        count = run.lake.read(SUBJECT).filter("date_shift_days = 0").count()
        if count:
            yield (SUBJECT.name, "date_shift_days", "unmoved-dates", Severity.ERROR, count)


def _severity(column: str) -> Severity:
    is_coded = column.split("_")[-1] in _CODED
    return Severity.WARN if is_coded else Severity.ERROR


def _row(run: Run, found: _Found) -> dict[str, Any]:
    table, column, kind, severity, count = found
    return {
        "run_id": run.run_id,
        "table_name": table,
        "column_name": column,
        "kind": kind,
        "severity": severity.value,
        "found_count": count,
        "found_at": run.as_of,
    }


def _alert(run: Run, row: dict[str, Any]) -> Finding:
    labels = {name: row[name] for name in ("table_name", "column_name", "kind")}
    message = f"{row['found_count']} rows of {row['table_name']} hold what looks like {row['kind']}"
    count = float(row["found_count"])
    return Finding("privacy_finding", "critical", labels, count, 0.0, message, run.as_of)
