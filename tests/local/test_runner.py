"""The runner does with a job's file what Databricks does, and refuses what it cannot run."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.errors import BundleError, LakeError, SourceError, UsageError
from clinical_lakehouse.local.events import JobFinished, JobStarted, TaskFinished, TaskStarted
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.graph import State
from tests.local.stand_ins import AS_OF, Stand, broken, call, fine, job, make_bundle, wheel


def states(result):
    return {key: task.state.value for key, task in result.tasks.items()}


def test_tasks_run_after_what_they_depend_on(tmp_path):
    done = []
    stand = Stand(**{k: lambda run, k=k: done.append(k) for k in "abcd"})
    tasks = [wheel("d", "b", "c"), wheel("c", "a"), wheel("b", "a"), wheel("a")]
    result = stand.run(make_bundle(tmp_path, main=job(*tasks)))
    assert result.ok
    assert (done[0], sorted(done[1:3]), done[3]) == ("a", ["b", "c"], "d")


def test_two_ready_tasks_overlap_and_a_third_waits(tmp_path):
    together, most, running = threading.Barrier(2, timeout=5), [], []

    def work(run):
        running.append(1)
        most.append(len(running))
        if len(most) <= 2:
            together.wait()
        running.pop()
        return {}

    stand = Stand(a=work, b=work, c=work)
    result = stand.run(make_bundle(tmp_path, main=job(wheel("a"), wheel("b"), wheel("c"))))
    assert result.ok
    assert max(most) == 2


def test_a_task_gets_clock_run_id_and_its_own_parameters(tmp_path):
    seen = []

    def look(run):
        seen.append((run.as_of, run.run_id, dict(run.params)))
        return {}

    look.params = {"landing": "default", "size": "3"}
    given = (AS_OF, {"name": "landing", "default": ""}, {"name": "size", "default": "5"})
    own = ("--landing={{job.parameters.landing}}", "--size={{job.parameters.size}}")
    main = job(wheel("a", arguments=own), parameters=given)
    result = Stand(a=look).run(make_bundle(tmp_path, main=main), as_of="2024-06-30T06:00:00Z")
    clock = datetime(2024, 6, 30, 6, tzinfo=UTC)
    assert seen == [(clock, result.run_id, {"landing": "default", "size": "5"})]


def test_as_of_is_the_start_of_the_run_unless_given(tmp_path):
    seen = []
    before = datetime.now(UTC).replace(microsecond=0)
    stand = Stand(a=lambda run: seen.append(run.as_of))
    stand.run(make_bundle(tmp_path, main=job(wheel("a"))))
    assert before <= seen[0] <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("run_if", "a", "b", "expected"),
    [
        ("ALL_SUCCESS", fine, fine, "success"),
        ("ALL_SUCCESS", fine, broken, "upstream_failed"),
        ("ALL_DONE", broken, broken, "success"),
        ("NONE_FAILED", fine, fine, "success"),
        ("NONE_FAILED", fine, broken, "upstream_failed"),
        ("AT_LEAST_ONE_SUCCESS", fine, broken, "success"),
        ("AT_LEAST_ONE_SUCCESS", broken, broken, "upstream_failed"),
        ("ALL_FAILED", broken, broken, "success"),
        ("ALL_FAILED", fine, broken, "excluded"),
        ("AT_LEAST_ONE_FAILED", fine, broken, "success"),
        ("AT_LEAST_ONE_FAILED", fine, fine, "excluded"),
    ],
)
def test_run_if_decides_by_how_dependencies_ended(tmp_path, run_if, a, b, expected):
    last = wheel("last", "a", "b", run_if=run_if)
    bundle = make_bundle(tmp_path, main=job(wheel("a"), wheel("b"), last))
    result = Stand(a=a, b=b, last=fine).run(bundle)
    assert states(result)["last"] == expected


def test_failure_skips_what_comes_after_and_names_the_cause(tmp_path):
    bundle = make_bundle(tmp_path, main=job(wheel("a"), wheel("b", "a"), wheel("c", "b")))
    stand = Stand(a=broken, b=fine, c=fine)
    result = stand.run(bundle)
    assert states(result) == {"a": "failed", "b": "upstream_failed", "c": "upstream_failed"}
    assert result.tasks["b"].message == "not run: a did not succeed"
    assert (result.state, result.ok, exit_code(result)) == (State.FAILED, False, 1)
    ended = [("a", 1, "running"), ("a", 1, "failed"), ("b", 0, "skipped"), ("c", 0, "skipped")]
    assert stand.recorded("ops.task_run") == ended


def test_a_handled_failure_is_success_for_databricks_but_not_ok(tmp_path):
    bundle = make_bundle(tmp_path, main=job(wheel("a"), wheel("b", "a", run_if="ALL_DONE")))
    result = Stand(a=broken, b=fine).run(bundle)
    assert (result.state, result.ok, exit_code(result)) == (State.SUCCESS, False, 1)


def test_what_is_excluded_or_disabled_is_well(tmp_path):
    rescue = wheel("rescue", "a", run_if="AT_LEAST_ONE_FAILED")
    off = wheel("off", disabled=True)
    bundle = make_bundle(tmp_path, main=job(wheel("a"), rescue, off, wheel("after", "off")))
    stand = Stand(a=fine, rescue=fine, off=broken, after=fine)
    result = stand.run(bundle)
    assert result.ok
    assert states(result)["off"] == states(result)["rescue"] == "excluded"


def test_failure_message_is_one_line_without_data(tmp_path):
    result = Stand(a=broken).run(make_bundle(tmp_path, main=job(wheel("a"))))
    message = result.tasks["a"].message
    assert re.fullmatch(r"ValueError in \w+/\w+\.py:\d+ \(\w+\)", message)
    refusal = SourceError("cannot read the landing folder\nsecond line")

    def refuse(run):
        raise refusal

    result = Stand(a=refuse).run(make_bundle(tmp_path, main=job(wheel("a"))))
    assert result.message == "a: cannot read the landing folder"


def failing_times(count, error):
    left = [error] * count

    def work(run):
        if left:
            raise left.pop()
        return {"rows": 1}

    return work


def test_a_failed_try_is_repeated_after_its_interval(tmp_path):
    retried = wheel("a", max_retries=2, min_retry_interval_millis=200)
    stand = Stand(a=failing_times(2, ValueError("x")))
    began = time.monotonic()
    result = stand.run(make_bundle(tmp_path, main=job(retried)))
    assert (result.ok, result.tasks["a"].attempts) == (True, 3)
    assert 0.4 <= time.monotonic() - began < 2
    tries = [e.retry_in is not None for e in stand.events if isinstance(e, TaskFinished)]
    assert tries == [True, True, False]
    ends = [row for row in stand.recorded("ops.task_run") if row[2] != "running"]
    assert ends == [("a", 1, "failed"), ("a", 2, "failed"), ("a", 3, "success")]


@pytest.mark.parametrize(
    ("error", "tries"), [(UsageError("no"), 1), (LakeError("locked"), 2), (ValueError("x"), 2)]
)
def test_a_refusal_is_not_tried_again(tmp_path, error, tries):
    bundle = make_bundle(tmp_path, main=job(wheel("a", max_retries=1)))
    assert Stand(a=failing_times(9, error)).run(bundle).tasks["a"].attempts == tries


def test_a_task_over_its_time_is_stopped_and_what_follows_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("clinical_lakehouse.local.runner._PATIENCE_SECONDS", 0.1)
    release = threading.Event()
    bundle = make_bundle(tmp_path, main=job(wheel("a", timeout_seconds=1), wheel("b", "a")))
    stand = Stand(a=lambda run: release.wait(20), b=fine)
    began = time.monotonic()
    result = stand.run(bundle)
    release.set()
    assert time.monotonic() - began < 3
    assert states(result) == {"a": "timed_out", "b": "upstream_failed"}
    assert set(stand.interrupted) == {None}
    assert all(is_stopped() for is_stopped in stand.stopped.values())
    assert result.tasks["a"].message == "took longer than 1 s"


def test_only_the_late_task_is_cancelled_and_its_late_end_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr("clinical_lakehouse.local.runner._PATIENCE_SECONDS", 0.1)
    main = job(wheel("late", timeout_seconds=1), wheel("slow"))
    stand = Stand(late=lambda run: time.sleep(1.4), slow=lambda run: time.sleep(1.9))
    result = stand.run(make_bundle(tmp_path, main=main))
    assert states(result) == {"late": "timed_out", "slow": "success"}
    assert set(stand.interrupted) == {f"{result.run_id}.late.1"}
    ends = [row for row in stand.recorded("ops.task_run") if row[2] != "running"]
    assert ends == [("late", 1, "timed_out"), ("slow", 1, "success")]


def test_the_retry_interval_counts_from_the_start_of_the_failed_try(tmp_path):
    def slow(run):
        time.sleep(0.3)
        raise ValueError

    stand = Stand(a=slow)
    retried = wheel("a", max_retries=1, min_retry_interval_millis=400)
    stand.run(make_bundle(tmp_path, main=job(retried)))
    waits = [event.retry_in for event in stand.events if isinstance(event, TaskFinished)]
    assert 0 <= waits[0] <= 0.1


def test_a_job_over_its_time_stops_everything(tmp_path, monkeypatch):
    monkeypatch.setattr("clinical_lakehouse.local.runner._PATIENCE_SECONDS", 0.1)
    release = threading.Event()
    main = job(wheel("a"), wheel("b", "a"), timeout_seconds=1)
    stand = Stand(a=lambda run: release.wait(20), b=fine)
    result = stand.run(make_bundle(tmp_path, main=main))
    release.set()
    assert (result.state, states(result)) == (
        State.TIMED_OUT,
        {"a": "timed_out", "b": "cancelled"},
    )


def test_run_job_task_passes_parameters_and_follows_the_childs_end(tmp_path):
    seen = []

    def look(run):
        seen.append((run.as_of.year, run.params["place"], run.run_id))
        return {}

    look.params = {"place": ""}
    place = {"name": "place", "default": "home"}
    given = {"as_of": "{{job.parameters.as_of}}", "place": "from {{job.name}}"}
    child = job(
        wheel("look", arguments=("--place={{job.parameters.place}}",)), parameters=(AS_OF, place)
    )
    main = job(
        call("first", "child", job_parameters=given), call("second", "child", "first"),
        parameters=(AS_OF,),
    )  # fmt: skip
    stand = Stand(look=look)
    result = stand.run(make_bundle(tmp_path, main=main, child=child), as_of="2020-01-01")
    assert result.ok
    assert [entry[:2] for entry in seen][0] == (2020, "from main")
    assert seen[1][1] == "home"
    children = [row for name, row in stand.rows if name == "ops.job_run" and row["job"] == "child"]
    assert {row["parent_run_id"] for row in children} == {result.run_id}
    assert {row["cause"] for row in children} == {"run_job_task"}
    assert len({entry[2] for entry in seen} | {result.run_id}) == 3


def test_a_failed_child_fails_the_task_that_called_it(tmp_path):
    main = job(call("first", "child"), call("second", "child", "first"), parameters=())
    stand = Stand(a=broken)
    result = stand.run(make_bundle(tmp_path, main=main, child=job(wheel("a"))))
    assert states(result) == {"first": "failed", "second": "upstream_failed"}
    assert states(result.tasks["first"].child) == {"a": "failed"}
    assert not result.ok


def test_children_of_parallel_calls_share_the_two_places(tmp_path):
    most, running, lock = [], [], threading.Lock()

    def work(run):
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.05)
        with lock:
            running.pop()
        return {}

    main = job(*(call(f"c{n}", "child") for n in range(3)), parameters=())
    child = job(wheel("a"), wheel("b"))
    assert Stand(a=work, b=work).run(make_bundle(tmp_path, main=main, child=child)).ok
    assert (len(most), max(most)) == (6, 2)


def test_one_task_alone_runs_without_its_dependencies(tmp_path):
    bundle = make_bundle(tmp_path, main=job(wheel("a"), wheel("b", "a")))
    result = Stand(a=broken, b=fine).run(bundle, task="b")
    assert (result.ok, list(result.tasks)) == (True, ["b"])


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"name": "nothing"}, "no job 'nothing'; known: main"),
        ({"colour": "red"}, "job main has no parameter 'colour'; it has: as_of"),
        ({"task": "z"}, "job main has no task 'z'; known: a"),
        ({"as_of": "soon"}, "as-of must be an ISO date"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_runs(tmp_path, request_, said):
    stand = Stand(a=fine)
    with pytest.raises(UsageError, match=said):
        stand.run(make_bundle(tmp_path, main=job(wheel("a"))), **request_)
    assert stand.events == stand.rows == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--colour=red",), r"a does not know --colour; it knows --root"), ((), None)],
)
def test_entry_points_and_their_arguments_must_exist(tmp_path, arguments, said):
    bundle = make_bundle(tmp_path, main=job(wheel("a", arguments=arguments)))
    stand = Stand(a=fine) if said else Stand()
    message = rf"jobs/main\.job\.yml:\d+: job main, task a: {said or 'entry point .a. does not'}"
    with pytest.raises(BundleError, match=message):
        stand.run(bundle)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_what_runs_and_says_cancelled(tmp_path, monkeypatch, number):
    monkeypatch.setattr("clinical_lakehouse.local.runner._PATIENCE_SECONDS", 0.1)
    release, handler = threading.Event(), signal.getsignal(number)

    def work(run):
        os.kill(os.getpid(), number)
        release.wait(20)

    child = job(wheel("a"), wheel("b", "a"))
    stand = Stand(a=work, b=fine)
    result = stand.run(
        make_bundle(tmp_path, main=job(call("c", "child"), parameters=()), child=child)
    )
    release.set()
    assert (result.state, exit_code(result)) == (State.CANCELLED, 130)
    assert states(result.tasks["c"].child) == {"a": "cancelled", "b": "cancelled"}
    ended = {row for row in stand.recorded("ops.task_run") if row[2] != "running"}
    assert ended == {("a", 1, "cancelled"), ("b", 0, "cancelled"), ("c", 1, "cancelled")}
    assert {("main", "cancelled"), ("child", "cancelled")} <= set(stand.recorded("ops.job_run"))
    assert signal.getsignal(number) is handler


def test_events_tell_the_whole_story_in_order(tmp_path):
    stand = Stand(a=fine)
    result = stand.run(make_bundle(tmp_path, main=job(wheel("a"))))
    assert [type(event) for event in stand.events] == [
        JobStarted,
        TaskStarted,
        TaskFinished,
        JobFinished,
    ]
    finished = stand.events[2]
    assert (finished.state, finished.metrics) == ("success", {"rows": 3})
    assert result.run_id == stand.events[0].run_id


def test_ledger_rows_hold_metrics_versions_and_parameters(tmp_path):
    stand = Stand(a=fine)
    stand.run(make_bundle(tmp_path, main=job(wheel("a"))), as_of="2024-01-02")
    rows = {(name, row["state"]): row for name, row in stand.rows}
    task = rows[("ops.task_run", "success")]
    assert json.loads(task["metrics"]) == {"rows": 3}
    assert json.loads(task["versions"]) == {"gold.made": 7, "read": {"silver.read": 3}}
    assert task["duration_seconds"] >= 0
    opened = rows[("ops.job_run", "running")]
    assert json.loads(opened["parameters"]) == {"as_of": "2024-01-02"}
    assert opened["as_of"] == datetime(2024, 1, 2, tzinfo=UTC)


@pytest.mark.soak
def test_a_task_that_hangs_for_ever_does_not_keep_the_process(tmp_path):
    script = tmp_path / "hang.py"
    script.write_text(
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from tests.local.stand_ins import Stand, job, make_bundle, wheel\n"
        "bundle = make_bundle(Path(sys.argv[1]), main=job(wheel('a', timeout_seconds=1)))\n"
        "result = Stand(a=lambda run: threading.Event().wait()).run(bundle)\n"
        "sys.exit(0 if result.tasks['a'].state == 'timed_out' else 1)\n"
    )
    path = os.pathsep.join(sys.path)
    command = [sys.executable, str(script), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONPATH": path})


def test_runner_and_bundle_load_without_pyspark():
    code = (
        "import sys; sys.modules['pyspark'] = None\n"
        "import clinical_lakehouse.local.runner, clinical_lakehouse.local.bundle"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
