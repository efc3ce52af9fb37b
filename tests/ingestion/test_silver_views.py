"""A view in a folder becomes a silver table: keyed, dates shifted, nothing let out, no code."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.free_text import KNOWN
from clinical_lakehouse.ingestion.unread import unread_elements
from clinical_lakehouse.ingestion.view import compiled_view, flattened
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from clinical_lakehouse.tables.views import silver_views, views_of
from tests.builders import rows
from tests.ingestion.chain import SECRET, write_lines
from tests.tables.test_views import goal, tagged

AS_OF = datetime(2024, 6, 30, tzinfo=UTC)
PEOPLE = [("ann", 11, -3, [("names", "Mary", ["mary"])]), ("bob", 12, 5, None)]
MEASURE = {"name": "measure", "path": "measure.coding.first().code", "type": "code"}
TARGET = {
    "forEach": "target",
    "column": [
        {
            **{"name": "target_index", "path": "%rowIndex", "type": "integer"},
            **{"description": "From 0.", "tag": [{"name": "clinical-lakehouse/key", "value": "x"}]},
        },
        {**MEASURE, "description": "What is measured."},
        {
            **{"name": "amount", "path": "detail.ofType(Quantity).value", "type": "decimal"},
            **{"description": "As sent.", "tag": [{"name": "ansi/type", "value": "VARCHAR"}]},
        },
        {**{"name": "due_date", "path": "due.ofType(date)", "type": "date"}, "description": "Due."},
    ],
}


def _own_view(folder: Path) -> Path:
    text = tagged("drop", name="text", path="description.text", type="string")
    status = {"name": "status", "path": "lifecycleStatus", "type": "code"}
    file = folder / "goal.json"
    said = tagged("scrub", name="said", path="description.text", type="string")
    document = goal(text, status, said, where=[{"path": "lifecycleStatus != 'rejected'"}])
    document["select"].append(TARGET)
    file.write_text(json.dumps(document))
    return file


def _goal(id_, person, version=1, **more):
    return {
        "resourceType": "Goal",
        "id": id_,
        "meta": {"versionId": str(version)},
        "lifecycleStatus": "active",
        "description": {"text": "call Mary at 555-1234"},
        "subject": {"reference": f"Patient/{person}"},
        "target": [
            {"measure": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}},
            {"dueDate": "2024-03-05", "detailQuantity": {"value": "1.10", "unit": "km"}},
        ],
        **more,
    }


def _bronze(lake, *resources):
    """bronze rows of these resources, in order."""
    return rows(
        lake,
        FHIR_RESOURCE,
        *(
            {
                "line": number,
                "resource_type": resource["resourceType"],
                "resource_id": resource["id"],
                "version_id": resource.get("meta", {}).get("versionId"),
                "patient_id": resource.get("subject", {}).get("reference", "/").split("/")[1],
                "content": json.dumps(resource).replace('"1.10"', "1.10"),
                "status": "valid",
            }
            for number, resource in enumerate(resources, 1)
        ),
    )


def _people(lake):
    return lake.spark.createDataFrame(
        PEOPLE, f"patient_id STRING, subject_key BIGINT, date_shift_days INT, known {KNOWN}"
    )


def _key(lake, resource_type, id_):
    row = lake.spark.createDataFrame([(id_,)], "id STRING")
    return row.select(surrogate_key(SECRET, resource_type, row["id"])).collect()[0][0]


def test_users_view_gives_keyed_shifted_rows_of_permitted_people_with_all_digits(lake, tmp_path):
    (silver,) = views_of([_own_view(tmp_path)])
    given = _bronze(
        lake,
        _goal("g1", "ann"),
        _goal("g2", "bob", lifecycleStatus="rejected"),
        _goal("g3", "cleo"),
        _goal("g4", "bob", version=2, target=[{"dueDate": "2024-02"}]),
        _goal("g4", "bob", version=1),
    )
    key_of = partial(surrogate_key, SECRET)
    found = flattened(compiled_view(silver, AS_OF), given, _people(lake), key_of)
    g1, g4 = (_key(lake, "Goal", id_) for id_ in ("g1", "g4"))
    assert found.columns == silver.table.column_names
    assert sorted(tuple(row) for row in found.withColumn(
        "due_date", found["due_date"].cast("string")).collect()) == sorted([
        (g1, 11, "active", "call [NAMES] at 555-1234", 0, "4548-4", None, None),
        (g1, 11, "active", "call [NAMES] at 555-1234", 1, None, "1.10", "2024-03-02"),
        (g4, 12, "active", "call Mary at 555-1234", 0, None, None, "2024-02-06"),
    ])  # fmt: skip


LEAKING = [
    ({"name": "a", "path": "description.text", "type": "code"}, "yields a string"),
    ({"name": "a", "path": "start.ofType(date)", "type": "code"}, "yields a date"),
    ({"name": "a", "path": "id", "type": "code"}, "yields a id"),
    ({"name": "a", "path": "note.text.join('')", "type": "code"}, "yields a string"),
    (tagged("keep", name="a", path="statusDate", type="string"), "yields a date"),
]


@pytest.mark.parametrize(("column", "said"), LEAKING, ids=[c["path"] for c, _ in LEAKING])
def test_column_declared_harmless_is_judged_by_what_its_path_yields(spark, tmp_path, column, said):
    file = tmp_path / "goal.json"
    file.write_text(json.dumps(goal(column)))
    (silver,) = views_of([file])
    with pytest.raises(UsageError, match=f"goal.json: column a: its path {said}"):
        compiled_view(silver, AS_OF)


def test_every_view_of_silver_compiles_and_fills_its_contract(spark, lake):
    for silver in silver_views():
        view = compiled_view(silver, AS_OF)
        made = {field.name for field in view.compiled.fields}
        assert set(silver.table.column_names) == made - {"_died", "_country"}


def test_elements_no_view_reads_are_counted_and_those_only_looked_at_too(lake, tmp_path):
    views = [v for v in silver_views() if v.resource in ("Observation", "Patient")]
    seen = {"resourceType": "Observation", "id": "o1", "status": "final", "valueString": "free"}
    seen["subject"] = {"reference": "Patient/ann", "display": "Ann"}
    seen["note"] = [{"text": "a"}, {"text": "b"}]
    seen["_effectiveDateTime"] = {"extension": [{"url": "x", "valueCode": "unknown"}]}
    seen["component"] = [{"code": {"text": "t"}, "valueQuantity": {"value": 1.10}}]
    seen["contained"] = [{"resourceType": "Device", "id": "d"}]
    patient = {
        "resourceType": "Patient",
        "id": "ann",
        "name": [{"family": "X", "given": ["Y", "Z"]}],
    }
    found = unread_elements(
        _bronze(lake, seen, patient, _goal("g1", "ann"), _goal("g2", "ann")),
        [compiled_view(view, AS_OF) for view in views],
        7,
    )
    assert {tuple(row) for row in found.collect()} == {
        (7, "Observation", "valueString", 1),
        (7, "Observation", "subject.display", 1),
        (7, "Observation", "note.text", 2),
        (7, "Observation", "_effectiveDateTime.extension.url", 1),
        (7, "Observation", "_effectiveDateTime.extension.valueCode", 1),
        (7, "Observation", "component.code.text", 1),
        (7, "Observation", "contained<Device>.id", 1),
        (7, "Patient", "name.family", 1),
        (7, "Patient", "name.given", 2),
        (7, "Goal", "*", 2),
    }


def _cli(views: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "clinical_lakehouse.cli", *arguments],
        env={**os.environ, "CLINICAL_VIEWS_DIR": str(views)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_wrong_view_in_the_folder_stops_a_run_with_one_line(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({**goal(), "name": "a b"}))
    done = _cli(tmp_path, "--root", str(tmp_path / "lake"), "tables")
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: mine.json: `name` must be lower-case letters, digits and underscores\n"
    )


@pytest.mark.soak
def test_file_in_a_folder_becomes_a_published_table_without_code(tmp_path):
    views, landing, root = tmp_path / "views", tmp_path / "landing", str(tmp_path / "lake")
    views.mkdir()
    patient = {"resourceType": "Patient", "id": "ann", "birthDate": "1980-01-01"}
    target = _goal("g1", "ann")["target"]
    target[1]["detailQuantity"] = {"value": 1.1, "unit": "km"}  # a text is no decimal
    write_lines(landing / "all.ndjson", patient, _goal("g1", "ann", target=target))
    run = ("--root", root, "run", "patient_ingestion", "--landing", str(landing))
    query = ("--root", root, "sql", "--format", "csv")
    first = _cli(views, *run)
    assert first.returncode == 0, first.stderr
    _own_view(views)  # put there later: what has long been in bronze is published as well
    second = _cli(views, *run)
    assert second.returncode == 0, second.stderr
    told = _cli(views, *query, "SELECT status, target_index, measure, due_date FROM silver.goal")
    lines = told.stdout.splitlines()
    assert lines[0] == "status,target_index,measure,due_date" and len(lines) == 3
    assert "2024-03-05" not in told.stdout
    assert "silver.goal" in _cli(views, "tables").stdout
    left = "SELECT element_path FROM ops.unread_element WHERE resource_type = 'Goal'"
    assert _cli(views, *query, left).stdout.splitlines()[1:] == ["*"]
