"""The job data_privacy: de-identified tables verified, and how easily people are found again."""

import json
from typing import Any

from clinical_lakehouse.methods.reidentification_risk import (
    SMALLEST_CLASS,
    class_risk,
    closeness,
    diversity,
)
from clinical_lakehouse.operators.hipaa_compliance import HIPAACompliance, verifiable
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.settings import Assessment
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.catalog import all_tables, table_named
from clinical_lakehouse.tables.gold_privacy import REIDENTIFICATION_RISK
from clinical_lakehouse.tables.vault import SUBJECT

VERIFIED = verifiable(list(all_tables().values()))


@task(
    reads=[*VERIFIED, SUBJECT],
    writes=[ops.PRIVACY_FINDING, ops.ALERT_EVENT],
    params={"sampled_ratio": "1"},
)
def verify(run: Run) -> Metrics:
    """Look in silver, omop and gold for what Safe Harbor forbids; stop where it is found."""
    return HIPAACompliance(VERIFIED, float(run.param("sampled_ratio", "1"))).execute(run)


@task(reads=VERIFIED, writes=[REIDENTIFICATION_RISK, ops.ALERT_EVENT], inspects=True)
def assess_risk(run: Run) -> Metrics:
    """Measure k, l, t, prosecutor and marketer risk of the tables that conf names; k < 11 alerts.

    Figures for an expert's determination (45 CFR 164.514(b)(1)), not the determination.
    """
    wanted = run.settings.privacy.reidentification
    there = [one for one in wanted if run.lake.exists(table_named(one.table))]
    rows = [_assessed(run, one) for one in there]
    if rows:
        run.lake.merge(REIDENTIFICATION_RISK, rows)
    small = [row for row in rows if row["is_below_smallest_class"]]
    emit(run, assess_risk.name, [_finding(run, row) for row in small])
    return {"tables_assessed": len(rows), "below_smallest_class": len(small)}


def _assessed(run: Run, wanted: Assessment) -> dict[str, Any]:
    """A gold.reidentification_risk row."""
    records = run.lake.read(table_named(wanted.table))
    names, sensitive = list(wanted.quasi_identifiers), wanted.sensitive
    risk = class_risk(records, names).collect()[0].asDict()
    renamed = {"records": "record_count", "classes": "class_count", "k": "smallest_class"}
    row = {
        "assessed_at": run.as_of,
        "table_name": wanted.table,
        "quasi_identifiers": json.dumps(names),
        "sensitive": sensitive,
        **{renamed.get(name, name): value for name, value in risk.items()},
    }
    if sensitive:
        row |= diversity(records, names, sensitive).collect()[0].asDict()
        distance = closeness(records, names, sensitive, is_ordered=wanted.is_ordered)
        row["closeness_t"] = distance.collect()[0]["t"]
    return row


def _finding(run: Run, row: dict[str, Any]) -> Finding:
    labels = {"table": row["table_name"], "columns": row["quasi_identifiers"]}
    message = f"{row['table_name']} has a class of {row['smallest_class']} people who look the same"
    value, limit = float(row["smallest_class"]), float(SMALLEST_CLASS)
    return Finding("small_class", "warning", labels, value, limit, message, run.as_of)
