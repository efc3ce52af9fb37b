"""Conditions, loops, health rules and references do what Databricks' documentation says."""

import threading
import time

import pytest

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.events import TooLong
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.runner import run_job
from tests.local.stand_ins import AS_OF, Stand, broken, call, fine, job, make_bundle, wheel


def condition(key, left, op, right, *after, **more):
    on = [{"task_key": name} for name in after]
    content = {"left": left, "op": op, "right": right}
    return {"task_key": key, "depends_on": on, "condition_task": content, **more}


def on(task, **outcomes):
    """The task depending on conditions with these outcomes."""
    given = [{"task_key": name, "outcome": outcome} for name, outcome in outcomes.items()]
    return {**task, "depends_on": [*task["depends_on"], *given]}


def loop(key, inputs, task, *after, **more):
    content = {"inputs": inputs, "task": task, **more}
    return {
        "task_key": key,
        "depends_on": [{"task_key": n} for n in after],
        "for_each_task": content,
    }


def states(result):
    return {key: task.state.value for key, task in result.tasks.items()}


@pytest.mark.parametrize(
    ("left", "op", "right", "expected"),
    [
        # The examples of Databricks' Jobs API, ConditionTask.op.
        ("12.0", "EQUAL_TO", "12", "false"),
        ("12.0", "GREATER_THAN_OR_EQUAL", "12", "true"),
        ("10.0", "GREATER_THAN_OR_EQUAL", "12", "false"),
        ("12.0", "NOT_EQUAL", "12", "true"),
        ("9", "LESS_THAN", "10", "true"),
        ("9", "GREATER_THAN", "10", "false"),
        ("10", "LESS_THAN_OR_EQUAL", "10", "true"),
        ("true", "EQUAL_TO", "true", "true"),
    ],
)
def test_equality_compares_texts_and_the_others_numbers(tmp_path, left, op, right, expected):
    yes, no = on(wheel("yes"), check="true"), on(wheel("no"), check="false")
    bundle = make_bundle(tmp_path, main=job(condition("check", left, op, right), yes, no))
    result = Stand(yes=fine, no=fine).run(bundle)
    assert result.tasks["check"].metrics == {"outcome": expected}
    taken, left_out = ("yes", "no") if expected == "true" else ("no", "yes")
    assert states(result) == {"check": "success", taken: "success", left_out: "excluded"}
    assert result.ok


def test_a_branch_not_taken_is_excluded_to_its_end_and_branches_may_join(tmp_path):
    tasks = [
        condition("check", "{{job.parameters.rows}}", "GREATER_THAN", "0"),
        on(wheel("yes"), check="true"),
        on(wheel("no"), check="false"),
        wheel("after_no", "no"),
        wheel("join", "yes", "after_no"),
    ]
    parameters = (AS_OF, {"name": "rows", "default": "0"})
    bundle = make_bundle(tmp_path, main=job(*tasks, parameters=parameters))
    stand = Stand(yes=fine, no=fine, after_no=fine, join=fine)
    assert states(stand.run(bundle, rows="7")) == {
        "check": "success", "yes": "success", "no": "excluded", "after_no": "excluded",
        "join": "success",
    }  # fmt: skip


def test_a_condition_on_how_a_task_ended(tmp_path):
    tasks = [
        wheel("a"),
        condition("bad", "{{tasks.a.result_state}}", "EQUAL_TO", "failed", "a", run_if="ALL_DONE"),
        on(wheel("mend"), bad="true"),
    ]
    bundle = make_bundle(tmp_path, main=job(*tasks))
    assert states(Stand(a=broken, mend=fine).run(bundle))["mend"] == "success"
    assert states(Stand(a=fine, mend=fine).run(bundle))["mend"] == "excluded"


def test_an_operand_that_is_no_number_fails_the_condition(tmp_path):
    tasks = [condition("check", "many", "GREATER_THAN", "1"), on(wheel("yes"), check="true")]
    result = Stand(yes=fine).run(make_bundle(tmp_path, main=job(*tasks)))
    assert states(result) == {"check": "failed", "yes": "upstream_failed"}
    assert result.tasks["check"].message == "GREATER_THAN compares numbers, and an operand is none"


def test_a_loop_runs_its_task_for_each_element_and_gives_it_the_element(tmp_path):
    seen = []

    def look(run):
        seen.append((run.params["site"], run.params["size"]))
        return {}

    look.params = {"site": "", "size": ""}
    one = wheel("each", arguments=("--site={{input.site}}", "--size={{input.size}}"))
    inputs = "{{job.parameters.sites}}"
    parameters = (
        AS_OF,
        {"name": "sites", "default": '[{"site":"A","size":3},{"site":"B","size":[1]}]'},
    )
    main = job(loop("sites", inputs, one), wheel("last", "sites"), parameters=parameters)
    stand = Stand(each=look, last=fine)
    result = stand.run(make_bundle(tmp_path, main=main))
    assert result.ok and seen == [("A", "3"), ("B", "[1]")]
    assert result.tasks["sites"].metrics == {"rounds": 2}
    recorded = stand.recorded("ops.task_run")
    assert ("each[0]", 1, "success") in recorded and ("each[1]", 1, "success") in recorded
    runs = {row["run_id"] for name, row in stand.rows if name == "ops.task_run"}
    assert runs == {result.run_id}
    assert stand.recorded("ops.job_run") == [("main", "running"), ("main", "success")]


@pytest.mark.parametrize(("concurrency", "expected"), [(1, 1), (2, 2)])
def test_as_many_rounds_run_at_a_time_as_the_loop_allows(tmp_path, concurrency, expected):
    running, most, lock = [0], [0], threading.Lock()

    def work(run):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return {}

    main = job(loop("sites", "[1, 2, 3, 4]", wheel("each"), concurrency=concurrency))
    bundle = make_bundle(tmp_path, main=main)
    stand = Stand(each=work)
    assert run_job(bundle, Request("main"), stand.context(parallel=4)).ok
    assert most == [expected]


def test_a_failed_round_fails_the_loop_and_the_others_still_run(tmp_path):
    tried = []

    def work(run):
        tried.append(run.params["n"])
        if run.params["n"] == "2" and tried.count("2") < 9:
            raise ValueError("no")
        return {}

    work.params = {"n": ""}
    one = wheel("each", arguments=("--n={{input}}",), max_retries=1)
    main = job(loop("loop", "[1, 2, 3]", one), wheel("after", "loop"))
    result = Stand(each=work, after=fine).run(make_bundle(tmp_path, main=main))
    assert states(result) == {"loop": "failed", "after": "upstream_failed"}
    assert tried == ["1", "2", "2", "3"]
    assert states(result.tasks["loop"].child) == {
        "each[0]": "success", "each[1]": "failed", "each[2]": "success",
    }  # fmt: skip


def test_a_loop_may_call_a_job_and_over_nothing_it_succeeds(tmp_path):
    one = call("each", "child", job_parameters={"site": "{{input}}"})
    child = job(wheel("work", arguments=("--site={{job.parameters.site}}",)),
                parameters=(AS_OF, {"name": "site", "default": ""}))  # fmt: skip
    seen = []

    def work(run):
        seen.append(run.params["site"])
        return {}

    work.params = {"site": ""}
    main = job(
        loop("loop", '["A", "B"]', one), loop("none", "[]", call("empty", "child")), parameters=()
    )
    result = Stand(work=work).run(make_bundle(tmp_path, main=main, child=child))
    assert (result.ok, seen) == (True, ["A", "B"])


def test_inputs_that_are_no_array_fail_the_loop(tmp_path):
    main = job(loop("loop", "A,B", wheel("each")))
    result = Stand(each=fine).run(make_bundle(tmp_path, main=main))
    assert result.tasks["loop"].message == "task 'loop': its inputs are no JSON array, e.g. [1, 2]"


def test_a_loops_time_limit_stops_its_rounds(tmp_path):
    main = job({**loop("loop", "[1, 2]", wheel("each")), "timeout_seconds": 1})
    stopped = threading.Event()
    stand = Stand(each=lambda run: stopped.wait(20) and {})
    began = time.monotonic()
    stand.interrupt = lambda tag: stopped.set()
    result = stand.run(make_bundle(tmp_path, main=main))
    assert states(result) == {"loop": "timed_out"} and time.monotonic() - began < 6


def test_a_health_rule_tells_of_a_long_run_once_and_lets_it_go_on(tmp_path):
    rule = {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 1}]}
    stand = Stand(a=lambda run: time.sleep(1.4))
    result = stand.run(make_bundle(tmp_path, main=job(wheel("a", health=rule), health=rule)))
    told = [
        (event.task, event.limit_seconds) for event in stand.events if isinstance(event, TooLong)
    ]
    assert result.ok and sorted(told) == [("", 1), ("a", 1)]


def test_references_tell_trigger_backfill_and_repair(tmp_path):
    from datetime import UTC, datetime

    seen = []

    def look(run):
        seen.append(run.params["told"])
        return {}

    look.params = {"told": ""}
    names = ("job.trigger.type", "job.trigger.time.iso_date", "backfill.iso_date",
             "job.repair_count", "job.trigger.file_arrival.location")  # fmt: skip
    told = "--told=" + " ".join(f"{{{{{name}}}}}" for name in names)
    bundle = make_bundle(tmp_path, main=job(wheel("a", arguments=(told,))))
    day = datetime(2024, 3, 31, 1, tzinfo=UTC)
    details = {"file_arrival.location": "/Volumes/x"}
    cause = Cause("file_arrival", day, details, datetime(2024, 2, 29, tzinfo=UTC), 2)
    run_job(bundle, Request("main", cause=cause), Stand(a=look).context())
    assert seen == ["file_arrival 2024-03-31 2024-02-29 2 /Volumes/x"]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (condition("c", "1", "IS", "1"), "op must be one of EQUAL_TO"),
        ({"task_key": "c", "condition_task": {"op": "EQUAL_TO", "left": "1"}}, "no right operand"),
        (loop("l", "[1]", loop("m", "[1]", wheel("each"))), "has for_each_task"),
        (loop("l", "[1]", {"run_job_task": {"job_id": "main"}}), "no task with a task_key"),
        (loop("l", "[1]", wheel("each"), concurrency=101), "concurrency must be 1 to 100"),
        (loop("l", "[1]", wheel("each", "l")), "what it repeats depends on nothing"),
        (on(wheel("a"), c="maybe"), "an outcome is 'true' or 'false'"),
        (wheel("a", health={"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "LESS_THAN"}]}),
         "needs op GREATER_THAN"),
    ],
)  # fmt: skip
def test_what_databricks_would_refuse_is_refused_with_file_and_line(tmp_path, task, said):
    with pytest.raises(BundleError, match=r"^jobs/main\.job\.yml:\d+: job main: ") as refusal:
        make_bundle(tmp_path, main=job(task))
    assert said in str(refusal.value)
