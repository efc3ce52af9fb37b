"""Quarantine, fix and replay through the whole chain, a day at a time: each row comes back once."""

import pytest

from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion import quarantine_review
from clinical_lakehouse.ingestion.accounting import only_unbalanced
from clinical_lakehouse.methods.quality.grammar import read_checks
from clinical_lakehouse.operators.clinical_data_validator import ClinicalDataValidatorOperator
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.catalog import all_tables
from tests.ingestion.chain import ingest, new_lake, run_on, write_lines

SITES = "tables:\n  silver.organization:\n    checks:\n"
NAMED = "      - {name: known_state, kind: code, column: state, in: [NY]}\n"
WEIGHTS = {"fatal": 4.0, "error": 2.0, "warn": 1.0}
RELEASE = {"decision": "release", "reason": "check:known_state", "why": "it is", "by": "maria"}


def _site(name, state, day):
    return {
        "resourceType": "Organization", "id": name, "name": name, "active": True,
        "address": [{"state": state}],
        "meta": {"versionId": str(day), "lastUpdated": f"2024-06-{day:02}T00:00:00Z"},
    }  # fmt: skip


def _states(lake):
    return sorted(row.state for row in lake.read(silver.ORGANIZATION).collect())


@pytest.mark.soak
def test_quarantine_fix_and_replay_bring_each_row_back_once(spark, tmp_path):
    """Through landing, publish and data_quality, a day at a time."""
    landing, lake = tmp_path / "landing", new_lake(spark, tmp_path / "lake")
    folder = tmp_path / "conf" / "quality"
    folder.mkdir(parents=True)
    (folder / "own.yml").write_text(SITES + NAMED)
    validator = ClinicalDataValidatorOperator(
        (silver.ORGANIZATION,), read_checks(folder, all_tables()), WEIGHTS, "test"
    )

    def day(number):
        ingest_day = run_on(lake, landing, number)
        for task in (job.land, job.validate, job.check_consent, job.deidentify,
                     quarantine_review.withhold, job.publish):  # fmt: skip
            task.execute(ingest_day)
        validator.execute(ingest_day)
        assert only_unbalanced(lake.read(ops.LANDING_FILE)).isEmpty()
        return _states(lake)

    patient = {"resourceType": "Patient", "id": "p", "gender": "female"}
    sites = _site("a", "NY", 1), _site("b", "XX", 1), _site("c", "YY", 1)
    write_lines(landing / "o.ndjson", patient, *sites)
    assert day(0) == ["NY", "XX", "YY"]  # published, then found
    assert day(0) == ["NY", "XX", "YY"]  # the same moment again: the same tables
    assert day(1) == ["NY"]
    assert day(2) == ["NY"]
    write_lines(landing / "fix.ndjson", _site("b", "NY", 2), _site("c", "YY", 1))
    assert day(3) == ["NY", "NY"]  # corrected; the bad bytes once more are still the bad bytes
    decide = run_on(lake, landing, 4)
    quarantine_review.decide.execute(decide.__class__(**{**vars(decide), "params": RELEASE}))
    assert day(5) == ["NY", "NY", "YY"]
    assert day(6) == ["NY", "NY", "YY"]
    assert lake.read(silver.ORGANIZATION).count() == 3
    ingest(lake, landing, 7)
    assert _states(lake) == ["NY", "NY", "YY"]
