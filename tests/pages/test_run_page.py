"""A run's page says how it ended, which task failed and why, and how to mend it."""

from datetime import UTC, datetime

from clinical_lakehouse.pages.run_page import write_run_page
from clinical_lakehouse.tables import ops
from tests.builders import rows

AT = datetime(2024, 6, 30, 6, tzinfo=UTC)


def fill(lake):
    """A run that calls another, in which one task failed at its second try."""
    job = {"as_of": AT, "cause": "manual", "parameters": '{"as_of": "2024-06-30", "landing": "in"}'}
    top, below = (
        {**job, "run_id": "r1", "job": "pipeline"},
        {**job, "run_id": "r2", "job": "ingest"},
    )
    below["parent_run_id"] = "r1"
    when = [AT.replace(minute=n) for n in range(6)]
    failed = {"state": "failed", "duration_seconds": 240.0}
    lake.append(ops.JOB_RUN, rows(lake, ops.JOB_RUN,
        {**top, "state": "running", "recorded_at": when[0]},
        {**top, **failed, "recorded_at": when[4], "message": "ingest: land: no room"},
        {**below, "state": "running", "recorded_at": when[0]},
        {**below, **failed, "recorded_at": when[4]}))  # fmt: skip
    land = {"run_id": "r2", "job": "ingest", "task": "land", "entry_point": "ingest-land"}
    last = {"run_id": "r2", "job": "ingest", "task": "judge", "attempt": 0, "state": "skipped"}
    lake.append(ops.TASK_RUN, rows(lake, ops.TASK_RUN,
        {**land, "attempt": 1, "state": "running", "recorded_at": when[0]},
        {**land, "attempt": 1, "state": "failed", "recorded_at": when[1],
         "duration_seconds": 60.0, "message": "locked"},
        {**land, "attempt": 2, "state": "running", "recorded_at": when[1]},
        {**land, "attempt": 2, "state": "failed", "recorded_at": when[4],
         "duration_seconds": 180.0, "message": "no room", "versions": '{"bronze.duplicate": 3}'},
        {**last, "recorded_at": when[4], "message": "not run"}))  # fmt: skip


def test_the_page_names_the_failed_task_its_reason_and_the_repair(lake, tmp_path):
    fill(lake)
    folder = lake.root / "ops" / "_logs" / "r1"
    folder.mkdir(parents=True)
    (folder / "r1.land.2.log").write_text("LakeError\n<b>frame</b>\n")
    page = write_run_page(lake, "r1", tmp_path / "run.html").read_text(encoding="utf-8")
    for said in (
        "Run of pipeline", "0 of 3 well", "2 job runs in all", "ingest.land failed", "no room",
        "clinical-lakehouse repair r1", "bronze.duplicate", "2024-06-30",
        "&lt;b&gt;frame&lt;/b&gt;",
    ):  # fmt: skip
        assert said in page, said
    assert "<svg" in page and len(page.encode()) < 500_000
    again = write_run_page(lake, "r1", tmp_path / "again.html").read_text(encoding="utf-8")
    assert again == page


def test_a_run_nobody_knows_gets_a_page_that_says_so(lake, tmp_path):
    page = write_run_page(lake, "gone", tmp_path / "run.html").read_text(encoding="utf-8")
    assert "The ledger knows no run gone." in page
