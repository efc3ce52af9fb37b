"""A task started from a command line: arguments become a Run, what is unknown is refused."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical_lakehouse.errors import ContractError, UsageError
from clinical_lakehouse.runtime.arguments import parse_arguments
from clinical_lakehouse.runtime.clock import parse_as_of
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops

ROOT = Path(__file__).parents[2]


@task(writes=[ops.BOOKMARK], params={"size": "3"})
def remember(run: Run) -> Metrics:
    """Write one bookmark."""
    row = {"reader": run.param("size"), "table_name": "t", "table_version": 1}
    run.lake.append(ops.BOOKMARK, run.lake.frame(ops.BOOKMARK, [row]))
    return {"size": int(run.param("size"))}


@task(writes=[ops.BOOKMARK])
def trespass(run: Run) -> Metrics:
    """Read a table it does not declare."""
    return {"rows": run.lake.read(ops.ALERT).count()}


def test_a_task_is_named_by_module_and_function():
    assert (remember.name, remember.description) == ("test-entry-remember", "Write one bookmark.")


def test_a_task_may_touch_only_what_it_declares(run):
    with pytest.raises(ContractError, match=r"reads ops\.alert"):
        trespass.execute(run)


@pytest.mark.parametrize("style", [["--a=1", "--b-c=x=y"], ["--a", "1", "--b-c", "x=y"]])
def test_arguments_are_read_in_both_styles(style):
    assert parse_arguments(style) == {"a": "1", "b-c": "x=y"}


@pytest.mark.parametrize(("wrong", "said"), [(["a"], "--name=value"), (["--a"], "needs a value")])
def test_arguments_that_cannot_be_read_are_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        parse_arguments(wrong)


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2024-06-30T06:00:00Z", 6), ("2024-06-30T08:00:00+02:00", 6), ("2024-06-30", 0)],
)
def test_as_of_is_utc(text, hour):
    assert parse_as_of(text) == datetime(2024, 6, 30, hour, tzinfo=UTC)


def test_as_of_that_is_no_time_is_refused():
    with pytest.raises(UsageError, match="as-of must be an ISO date"):
        parse_as_of("yesterday")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-task"], "error: no task 'no-such-task'; known: "),
        (["data-quality-check", "--colour=red"], "does not know --colour; it knows --root"),
        ([], "error: name an entry point"),
    ],
)
def test_main_script_refuses_in_one_line(arguments, said):
    script = [sys.executable, str(ROOT / "jobs" / "main.py"), *arguments]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
