"""Decisions on refused rows: released once and without duplicates, discarded and kept, audited."""

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion import quarantine_review
from clinical_lakehouse.ingestion.accounting import only_unbalanced
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE, QUARANTINE
from tests.ingestion.chain import AS_OF, ingest, new_lake, write_lines

pytestmark = pytest.mark.soak  # a lake of its own, run several times


def _patient(name, gender="female"):
    return {"resourceType": "Patient", "id": name, "gender": gender}


LINES = (_patient("a"), _patient("b"), _patient("c", "F"), _patient("d", "M"))


def _run(lake, params):
    return Run(lake, load_settings("dev", environ={}), AS_OF, "decision", params)


def _decide(lake, decision, **given):
    params = {"decision": decision, "why": "ticket 7", "by": "maria", **given}
    return quarantine_review.decide.execute(_run(lake, params))


def _ledger(lake):
    rows = lake.read(ops.LANDING_FILE)
    assert only_unbalanced(rows).isEmpty()
    names = ("received_count", "loaded_count", "quarantined_count", "duplicate_count")
    return {row.file_name: tuple(row[name] for name in names) for row in rows.collect()}


@pytest.fixture(scope="module")
def refused(spark, tmp_path_factory):
    """A lake with three refused lines of four: two with a bad code, one by a rule since dropped."""
    folder = tmp_path_factory.mktemp("review")
    write_lines(folder / "landing" / "a.ndjson", *LINES)
    lake = new_lake(spark, folder / "lake")
    job.land.execute(_run(lake, {"landing": str(folder / "landing")}))
    second = lake.read(FHIR_RESOURCE).filter("line = 2")
    old = {"status": F.lit("invalid"), "reason": F.lit("old-rule"), "path": F.lit("Patient")}
    lake.merge(FHIR_RESOURCE, second.withColumns(old))
    ingest(lake, folder / "landing")
    return lake, folder / "landing"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"decision": "forget", "reason": "bad-code"}, "--decision must be one of"),
        ({"decision": "release"}, "give --reason CODE or --file NAME"),
        ({"decision": "release", "reason": "bad-code", "why": " "}, "--why is missing"),
        ({"decision": "release", "reason": "bad-code", "by": ""}, "--by is missing"),
        ({"decision": "release", "reason": "bad-cod"}, "no open row in quarantine fits"),
    ],
)
def test_half_a_decision_is_refused_in_one_line(refused, given, line):
    with pytest.raises(UsageError, match=line) as caught:
        _decide(refused[0], **given)
    assert "\n" not in str(caught.value)


def test_refused_rows_are_released_or_discarded_once(refused):
    lake, landing = refused
    assert _ledger(lake) == {"a.ndjson": (4, 1, 3, 0)}

    assert _decide(lake, "release", file="a.ndjson")["rows_decided"] == 1
    ingest(lake, landing, day=1)
    assert _ledger(lake) == {"a.ndjson": (4, 2, 2, 0)}
    assert lake.read(silver.PATIENT).count() == 2
    with pytest.raises(UsageError, match="no open row"):
        _decide(lake, "release", reason="old-rule")

    # A corrected file brings the third line and, once more, the released one.
    write_lines(landing / "b.ndjson", _patient("c"), _patient("b"))
    ingest(lake, landing, day=2)
    assert _ledger(lake) == {"a.ndjson": (4, 2, 2, 0), "b.ndjson": (2, 1, 0, 1)}
    assert lake.read(silver.PATIENT).count() == 3

    assert _decide(lake, "release", reason="bad-code")["rows_decided"] == 0
    assert _decide(lake, "discard", reason="bad-code")["rows_decided"] == 2
    rows = lake.read(QUARANTINE).collect()
    assert [(row.line, row.decision) for row in sorted(rows)] == [
        (3, "discarded"),
        (4, "discarded"),
    ]
    ingest(lake, landing, day=3)
    assert _ledger(lake) == {"a.ndjson": (4, 2, 2, 0), "b.ndjson": (2, 1, 0, 1)}

    audit = sorted(lake.read(ops.QUARANTINE_DECISION).collect(), key=lambda row: row.decision)
    assert [
        (row.decision, row.reason, row.row_count, row.decided_by, row.why, row.decided_at)
        for row in audit
    ] == [
        ("discarded", "bad-code", 2, "maria", "ticket 7", audit[0].decided_at),
        ("released", "old-rule", 1, "maria", "ticket 7", audit[0].decided_at),
    ]
