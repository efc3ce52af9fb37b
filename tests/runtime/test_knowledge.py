"""A table as known on a day: by what the runs knew, by the commit without a ledger, or refused."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from clinical_lakehouse.cli import main
from clinical_lakehouse.errors import LakeError
from clinical_lakehouse.runtime.knowledge import as_known, version_known
from clinical_lakehouse.tables import ops, silver
from tests.builders import rows

MAY, JUNE, JULY = (datetime(2024, month, 1, tzinfo=UTC) for month in (5, 6, 7))


def _written(lake, as_of, version):
    told = {"as_of": as_of, "state": "success", "versions": json.dumps({"silver.patient": version})}
    return rows(lake, ops.TASK_RUN, told)


@pytest.fixture
def grown(lake):
    """Three runs: 1 May, 1 July, and one for 1 June that came last."""
    for number, as_of in enumerate((MAY, JULY, JUNE)):
        lake.append(silver.PATIENT, rows(lake, silver.PATIENT, {"subject_key": number}))
        version = lake.version(silver.PATIENT)
        lake.append(ops.TASK_RUN, _written(lake, as_of, version))
    return lake


def test_a_table_is_what_it_was_before_the_first_run_that_knew_more(grown):
    def keys(at):
        return {row.subject_key for row in as_known(grown, silver.PATIENT, at).collect()}

    assert keys(MAY) == keys(JUNE) == {0}, "what was written for June after July holds July's"
    assert keys(JULY) == {0, 1, 2}
    with pytest.raises(LakeError, match=r"silver\.patient: the lake knew nothing of it at 2024-04"):
        as_known(grown, silver.PATIENT, MAY - timedelta(days=1))
    with pytest.raises(LakeError, match=r"silver\.site|silver\.study: the lake knew nothing"):
        as_known(grown, silver.STUDY, JULY)
    asked = "SELECT count(*) AS n FROM silver.patient"
    then = grown.query(asked, version_of=lambda table: version_known(grown, table, JUNE))
    assert then.collect()[0].n == 1
    assert grown.query(asked).collect()[0].n == 3


def test_without_a_ledger_the_time_of_the_commit_counts_and_a_vacuumed_version_is_refused(lake):
    table = silver.PATIENT
    lake.append(table, rows(lake, table, {"subject_key": 1}))
    now = datetime.now(UTC)
    assert version_known(lake, table, now + timedelta(minutes=1)) == lake.version(table)
    with pytest.raises(LakeError, match="knew nothing"):
        version_known(lake, table, datetime(2020, 1, 1, tzinfo=UTC))
    lake.append(ops.TASK_RUN, _written(lake, MAY, lake.version(table)))
    for data in lake.path(table).glob("*.parquet"):
        data.unlink()
    with pytest.raises(
        LakeError, match=r"silver\.patient as known at .* has been vacuumed; ask for"
    ):
        as_known(lake, table, MAY)


def test_a_wrong_day_is_refused_before_spark_starts():
    done = CliRunner().invoke(main, ["sql", "--as-known", "soon", "SELECT 1"])
    assert done.exit_code == 2
    assert done.output == "error: as-of must be an ISO date or time, e.g. 2024-06-30T06:00:00Z\n"
