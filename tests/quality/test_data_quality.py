"""Contracts judge tables: each kind of check finds its planted row and nothing else."""

import pytest

from clinical_lakehouse.quality.data_quality import check
from clinical_lakehouse.tables import ops, silver
from tests.builders import rows


def _results(run):
    found = run.lake.read(ops.QUALITY_RESULT).collect()
    return {(r.table_name, r.check_name): r for r in found}


def test_each_kind_of_check_finds_its_planted_row(run):
    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, {"subject_key": 1}))
    planted = [
        {"encounter_key": 1, "subject_key": 1},
        {"encounter_key": 1, "subject_key": 1},  # a repeated key
        {"encounter_key": 3, "subject_key": 99},  # nobody
    ]
    run.lake.append(silver.ENCOUNTER, rows(run.lake, silver.ENCOUNTER, *planted))
    metrics = check.execute(run)
    results = _results(run)
    assert results["silver.encounter", "encounter_key_unique"].failed_count == 1
    assert results["silver.encounter", "subject_key_in_patient"].failed_count == 1
    assert results["silver.encounter", "subject_key_not_null"].failed_count == 0
    assert results["silver.encounter", "started_at_not_after_ended_at"].failed_count == 0
    assert metrics["failing_checks"] == 2
    assert results["silver.encounter", "encounter_key_unique"].row_count == 3


@pytest.mark.soak
def test_score_below_the_limit_tells_of_one_event_however_often_it_runs(run):
    nobody = [{"encounter_key": n, "subject_key": 99} for n in range(4)]
    run.lake.append(silver.ENCOUNTER, rows(run.lake, silver.ENCOUNTER, *nobody))
    assert check.execute(run)["alerts"] == 1
    check.execute(run)
    (event,) = run.lake.read(ops.ALERT_EVENT).collect()
    assert (event.kind, event.labels) == ("quality_score", '{"table": "silver.encounter"}')


def test_clean_table_raises_nothing(run):
    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, {"subject_key": 1}))
    metrics = check.execute(run)
    assert (metrics["failing_checks"], metrics["alerts"], metrics["lowest_score"]) == (0, 0, 1.0)
