"""`clinical-lakehouse quarantine` on a real small lake: list, show, release, discard."""

import pytest
from click.testing import CliRunner
from pyspark.sql import functions as F

from clinical_lakehouse import cli
from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE, QUARANTINE
from tests.ingestion.chain import AS_OF, new_lake, write_lines


def _patient(name, gender):
    return {"resourceType": "Patient", "id": name, "gender": gender}


@pytest.fixture
def ask(spark, tmp_path):
    """The command line on a lake with two refused lines: a bad code, and a rule since dropped."""
    lake = new_lake(spark, tmp_path / "lake")
    write_lines(tmp_path / "in" / "a.ndjson", _patient("a", "female"), _patient("b", "F"))
    run = Run(lake, load_settings("dev", environ={}), AS_OF, "r", {"landing": str(tmp_path / "in")})
    job.land.execute(run)
    first = lake.read(FHIR_RESOURCE).filter("line = 1")
    old = {"status": F.lit("invalid"), "reason": F.lit("old-rule"), "path": F.lit("Patient")}
    lake.merge(FHIR_RESOURCE, first.withColumns(old))
    job.validate.execute(run)

    def command(*arguments):
        done = CliRunner().invoke(cli.main, ["--root", str(lake.root), "quarantine", *arguments])
        return done.exit_code, done.output

    return lake, command


@pytest.mark.soak  # the whole story by the command line; the task's own tests run always
def test_refused_rows_are_listed_shown_released_and_discarded(ask):
    lake, command = ask
    code, said = command("list")
    assert code == 0 and "bad-code" in said and "old-rule" in said and "Patient.gender" in said
    code, said = command("list", "--reason", "bad-code")
    assert code == 0 and "bad-code" in said and "old-rule" not in said
    file_id = lake.read(QUARANTINE).first().file_id
    code, said = command("show", file_id[:6], "2")
    assert code == 0 and "a.ndjson" in said and "Patient.gender" in said

    assert command("release", "--reason", "old-rule", "--why", "ticket 7", "--by", "maria")[0] == 0
    assert command("discard", "--file", "a.ndjson", "--why", "ticket 8", "--by", "maria")[0] == 0
    (left,) = lake.read(QUARANTINE).collect()
    assert (left.reason, left.decision) == ("bad-code", "discarded")
    audit = lake.read(ops.QUARANTINE_DECISION).orderBy("why").collect()
    assert [(row.decision, row.decided_by, row.why) for row in audit] == [
        ("released", "maria", "ticket 7"),
        ("discarded", "maria", "ticket 8"),
    ]
    assert command("list", "--reason", "old-rule")[0] != 0  # nothing of it is left
