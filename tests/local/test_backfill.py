"""A backfill runs a job once per moment, goes on where it stopped, refuses what is no window."""

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from clinical_lakehouse.cli import main
from clinical_lakehouse.errors import LakeError, UsageError
from clinical_lakehouse.local.backfill import make_plan, moments_between
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.history import backfilled
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops
from tests.local.stand_ins import AS_OF, call, job, make_bundle, wheel
from tests.local.test_workspace import open_here

FEBRUARY = [datetime(2024, 2, day, tzinfo=UTC) for day in (27, 28, 29)]
BROKEN_AT: set[datetime] = set()
SEEN: list[str] = []


@task(reads=[ops.ALERT], writes=[ops.BOOKMARK], params={"day": ""}, windowed=True)
def window(run):
    """Write the window of its day."""
    if run.as_of in BROKEN_AT:
        raise LakeError("no room")
    SEEN.append(f"{run.as_of:%d} {run.param('day')}")
    return {}


@task(writes=[ops.ALERT])
def whole(run):
    """Write a table whole."""
    return {}


@pytest.fixture
def bundle(tmp_path):
    BROKEN_AT.clear()
    SEEN.clear()
    day = ("--day={{backfill.iso_date}}",)
    main_job = job(wheel("window", arguments=day), parameters=(AS_OF,))
    given = {"as_of": "{{job.parameters.as_of}}"}
    mixed = job(call("below", "main", job_parameters=given), wheel("whole"), parameters=(AS_OF,))
    timeless = job(wheel("window", arguments=day), parameters=())
    timeless["tasks"][0]["python_wheel_task"]["parameters"] = ["--root=/nowhere"]
    return make_bundle(tmp_path, main=main_job, mixed=mixed, timeless=timeless)


TASKS = {"window": window, "whole": whole}


@pytest.mark.soak
def test_a_backfill_goes_on_where_it_stopped(lake, bundle, monkeypatch):
    place = open_here(lake, bundle, monkeypatch, TASKS)
    BROKEN_AT.add(FEBRUARY[1])
    plan = make_plan(bundle, "main", FEBRUARY, TASKS)
    assert (plan.reads, plan.writes) == (("ops.alert",), ("ops.bookmark",))
    assert [place.run(request).ok for request in plan.requests] == [True, False, True]
    assert SEEN == ["27 2024-02-27", "29 2024-02-29"]

    BROKEN_AT.clear()
    again = make_plan(bundle, "main", FEBRUARY, TASKS, backfilled(lake, "main"))
    assert again.done == {FEBRUARY[0], FEBRUARY[2]}
    assert [place.run(request).ok for request in again.requests] == [True]
    assert SEEN[2:] == ["28 2024-02-28"]
    assert backfilled(lake, "main") == set(FEBRUARY)
    assert backfilled(lake, "mixed") == frozenset()


def test_what_is_no_window_is_refused_by_name(bundle):
    with pytest.raises(UsageError, match="mixed cannot be backfilled: whole is not declared win"):
        make_plan(bundle, "mixed", FEBRUARY, TASKS)
    with pytest.raises(UsageError, match="timeless has no parameter as_of"):
        make_plan(bundle, "timeless", FEBRUARY, TASKS)


def test_data_drift_detection_is_a_job_of_windows():
    bundle = load_bundle(environ={})
    plan = make_plan(bundle, "data_drift_detection", FEBRUARY, tasks())
    assert plan.writes == ("gold.data_drift", "ops.alert_event")
    assert [request.parameters["as_of"][:10] for request in plan.requests] == [
        "2024-02-27", "2024-02-28", "2024-02-29",
    ]  # fmt: skip


def test_moments_include_both_ends_and_wrong_ones_are_refused():
    start, end = datetime(2024, 2, 27, tzinfo=UTC), datetime(2024, 3, 12, 23, tzinfo=UTC)
    assert moments_between(start, end, "1w") == [
        datetime(2024, 2, 27, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC),
        datetime(2024, 3, 12, tzinfo=UTC),
    ]  # fmt: skip
    assert len(moments_between(start, end, "6h")) == 60
    for every, said in (("1m", "6h, 1d, 1w"), ("0d", "6h, 1d, 1w")):
        with pytest.raises(UsageError, match=said):
            moments_between(start, end, every)
    with pytest.raises(UsageError, match="must not be earlier"):
        moments_between(end, start, "1d")
    with pytest.raises(UsageError, match="at most 5,000"):
        moments_between(datetime(1990, 1, 1, tzinfo=UTC), end, "1h")


def test_the_command_refuses_in_one_line_before_spark_starts():
    given = ["backfill", "patient_ingestion", "--from", "2024-01-01", "--to", "2024-01-03"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 2
    assert done.output.startswith("error: job patient_ingestion cannot be backfilled: patient-inge")
    assert done.output.count("\n") == 1


@pytest.mark.parametrize(("given", "said"), [
    (["plan"], "say what to restate: --subject, --site, --file, --from or --to"),
    (["plan", "--subject", "anna"], "--subject must be a surrogate key"),
    (["restate", "--from", "soon", "--why", "x"], "--from must be an ISO date or time"),
    (["restate", "--from", "2024-02-02", "--to", "2024-02-01", "--why", "x"], "--to must not be"),
])  # fmt: skip
def test_a_part_that_is_none_is_refused_in_one_line(given, said):
    done = CliRunner().invoke(main, ["backfill", *given])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert done.output.startswith(f"error: {said}")


def test_backfill_of_a_job_is_told_from_its_commands():
    done = CliRunner().invoke(
        main, ["backfill", "no_such_job", "--from", "2024-01-01", "--to", "2"]
    )
    assert "as-of must be" in done.output or "no job" in done.output
