"""Files through an anonymizer configuration: whole or absent, and failures name file and line."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from clinical_lakehouse.cli import main
from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.local.deidentification import deidentify_files

AS_OF = date(2024, 6, 30)
RULES = {
    "fhirPathRules": [
        {"path": "nodesByType('HumanName')", "method": "redact"},
        {"path": "Resource.id", "method": "cryptoHash"},
    ],
    "parameters": {"cryptoHashKey": "k"},
}


@pytest.fixture
def config(tmp_path):
    """A configuration that takes names away and hashes ids."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(RULES))
    return path


@pytest.fixture
def landing(tmp_path):
    """Two patients in NDJSON with an empty line between them, one in JSON, and another file."""
    folder = tmp_path / "landing"
    folder.mkdir()
    lines = [json.dumps(_patient(name)) for name in ("a", "b")]
    (folder / "Patient.ndjson").write_text("\n\n".join(lines))
    (folder / "one.json").write_text(json.dumps(_patient("c"), indent=1))
    (folder / "notes.txt").write_text("Quirke")
    return folder


def _patient(name):
    return {"resourceType": "Patient", "id": name, "name": [{"family": "Quirke"}]}


def test_every_resource_is_written_and_no_name_is_left(config, landing, tmp_path):
    out = tmp_path / "out"
    assert deidentify_files(config, landing, out, AS_OF) == (2, 3)
    assert sorted(path.name for path in out.iterdir()) == ["Patient.ndjson", "one.json"]
    text = "".join(path.read_text() for path in out.iterdir())
    rows = [json.loads(line) for line in text.splitlines()]
    assert "Quirke" not in text and {len(row["id"]) for row in rows} == {64}


def test_a_bad_line_is_named_and_nothing_half_written(config, landing, tmp_path):
    with (landing / "Patient.ndjson").open("a") as file:
        file.write('\n{"resourceType": "Patient", "surname": "Quirke"}')
    with pytest.raises(SourceError, match="Patient.ndjson, line 4: Patient has") as error:
        deidentify_files(config, landing, tmp_path / "out", AS_OF)
    assert "Quirke" not in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_input_is_not_written_over(config, landing):
    with pytest.raises(SourceError, match="--out"):
        deidentify_files(config, landing, landing, AS_OF)


def test_command_says_what_it_wrote_or_refuses_in_one_line(config, landing, tmp_path):
    asked = ["deidentify", "--config", str(config), "--input", str(landing), "--out"]
    done = CliRunner().invoke(main, [*asked, str(tmp_path / "out")])
    assert done.exit_code == 0 and "3 resources of 2 files" in done.output
    config.write_text('{"fhirPathRules": [{"path": "Patient", "method": "blur"}]}')
    refused = CliRunner().invoke(main, [*asked, str(tmp_path / "again")])
    assert refused.exit_code == 2 and "method blur is not known" in refused.output
    assert refused.output.count("\n") == 1 and not (tmp_path / "again").exists()
