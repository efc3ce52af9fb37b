"""`clinical-lakehouse lineage`: declared, as text, JSON and picture; and run by run, by version."""

import json
from xml.dom import minidom

from click.testing import CliRunner

from clinical_lakehouse import cli
from clinical_lakehouse.runtime.journal import versions_json
from clinical_lakehouse.tables import ops
from tests.builders import rows


def _said(*arguments):
    result = CliRunner().invoke(cli.main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_lineage_is_told_as_json_and_drawn(tmp_path):
    found = json.loads(_said("lineage", "gold.prediction", "--format", "json"))
    made_from = {step["table"]: step["task"] for step in found["made_from"]}
    assert made_from["bronze.fhir_resource"].startswith("patient-ingestion")
    assert "written" not in found
    out = tmp_path / "lineage.svg"
    _said("lineage", "gold.prediction", "--format", "svg", "--out", str(out))
    drawn = minidom.parse(str(out))
    texts = [node.firstChild.nodeValue for node in drawn.getElementsByTagName("text")]
    assert {"bronze", "gold", "patient-ingestion-publish", "model-deployment-score"} <= set(texts)
    assert "--surface" in drawn.getElementsByTagName("style")[0].firstChild.nodeValue


def test_which_run_wrote_which_version_from_which(run):
    done = {"state": "success", "job": "data_standardization", "task": "map_persons"}
    known = [
        {**done, "run_id": "r1",
         "versions": versions_json({"omop.person": 1}, {"silver.patient": 4})},
        {**done, "run_id": "r2",
         "versions": versions_json({"omop.person": 2}, {"silver.patient": 5})},
        {**done, "run_id": "r3",
         "versions": versions_json({"omop.death": 2}, {"omop.person": 2})},
        {**done, "run_id": "r4", "versions": None},
    ]  # fmt: skip
    run.lake.append(ops.TASK_RUN, rows(run.lake, ops.TASK_RUN, *known))
    at = ("--root", str(run.lake.root), "lineage", "omop.person", "--runs")
    found = json.loads(_said(*at, "--format", "json"))["written"]
    assert {(one["run_id"], one["version"], one["from"]["silver.patient"]) for one in found} == {
        ("r1", 1, 4), ("r2", 2, 5)
    }  # fmt: skip
    assert "version 2 by data_standardization.map_persons of run r2" in _said(*at)
    nobody = CliRunner().invoke(cli.main, [*at[:2], "lineage", "omop.note", "--runs"])
    assert nobody.exit_code == 2 and nobody.output.startswith("error: no recorded run wrote")
