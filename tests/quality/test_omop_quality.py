"""The omop_quality job: results kept once a moment, the viewer's file, an alert on fatal checks."""

import json

import pytest

from clinical_lakehouse.quality.omop_quality import check
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.omop_clinical import CDM_SOURCE, VISIT_OCCURRENCE
from clinical_lakehouse.tables.omop_places import CARE_SITE
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.ops_omop_quality import DQD_RESULT
from tests.builders import rows
from tests.quality.made_up_dqd import write_files


def _with(run, **params) -> Run:
    return Run(run.lake, run.settings, run.as_of, run.run_id, params)


def test_without_ohdsis_files_it_says_what_to_set(run):
    metrics = check.execute(run)
    assert metrics == {
        "checks": 0,
        "skipped": "set omop_quality.dqd_folder to inst/csv of OHDSI's DataQualityDashboard",
    }
    assert not run.lake.exists(DQD_RESULT)


@pytest.mark.soak
def test_results_file_and_alert_are_the_same_however_often_it_runs(run, tmp_path):
    folder = write_files(tmp_path)
    lake = run.lake
    lake.append(CDM_SOURCE, rows(lake, CDM_SOURCE, {"cdm_source_name": "Trial"}))
    # The visit's site is nobody's: a fatal check of DQD.
    lake.append(VISIT_OCCURRENCE, rows(lake, VISIT_OCCURRENCE, {"care_site_id": 9}))
    lake.ensure(CARE_SITE)
    told = check.execute(_with(run, dqd_folder=str(folder)))
    first = (lake.root / "reports" / "dqd-results.json").read_bytes()
    check.execute(_with(run, dqd_folder=str(folder)))
    assert (lake.root / "reports" / "dqd-results.json").read_bytes() == first
    found = {row.check_id: row for row in lake.read(DQD_RESULT).collect()}
    assert (
        len(found)
        == told["checks"]
        == sum(told.get(status, 0) for status in ("passed", "failed", "not_applicable", "error"))
    )
    lost = found["field_isforeignkey_visit_occurrence_care_site_id"]
    assert (lost.status, lost.violated_count, lost.violated_ratio) == ("failed", 1, 1.0)
    absent = found["field_isprimarykey_location_location_id"]
    assert (absent.status, absent.reason) == ("not_applicable", "Table LOCATION does not exist.")
    (event,) = lake.read(ALERT_EVENT).collect()
    assert json.loads(event.labels) == {"table": "omop.visit_occurrence"}
    assert json.loads(first)["Metadata"][0]["cdmSourceName"] == "Trial"
