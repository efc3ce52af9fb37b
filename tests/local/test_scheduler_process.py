"""Schedulers as processes: one a lake, stopped politely, killed; what it looks at; its command."""

import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from clinical_lakehouse import cli
from clinical_lakehouse.errors import LakeError, UsageError
from clinical_lakehouse.local.reading import target_pauses
from clinical_lakehouse.local.schedule_plan import make_plan
from clinical_lakehouse.local.sight import data_version, look_at, watched_folder
from clinical_lakehouse.local.trigger import Trigger
from clinical_lakehouse.methods.yaml_source import read_source
from clinical_lakehouse.runtime.locks import only_one
from tests.local.stand_ins import job, make_bundle, wheel, write_bundle

ROOT = Path(__file__).parents[2]
ARRIVAL = job(wheel("a"), trigger={"file_arrival": {"url": "in"}}, queue={"enabled": True})


@pytest.fixture
def lake(tmp_path):
    """A bundle with one job that waits for files, and its lake, in one folder."""
    write_bundle(tmp_path, main=ARRIVAL)
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.fixture
def scheduler(lake):
    """Starts schedulers on the lake; those still alive at the end are killed."""
    made = []

    def start(*arguments: str) -> subprocess.Popen:
        script = [sys.executable, "-m", "tests.local.scheduling_process", str(lake), *arguments]
        made.append(subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True, cwd=ROOT, env={**os.environ}))  # fmt: skip
        return made[-1]

    yield start
    for process in made:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(holds, seconds: float = 30.0) -> None:
    """Wait for something to hold."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def runs(lake: Path) -> list[str]:
    return (lake / "ledger").read_text().splitlines() if (lake / "ledger").exists() else []


def test_of_two_schedulers_on_one_lake_one_fires_and_the_other_says_why_not(lake, scheduler):
    first, second = scheduler(), scheduler()
    until(lambda: first.poll() is not None or second.poll() is not None)
    loser, winner = (first, second) if first.poll() is not None else (second, first)
    assert loser.returncode != 0
    said = loser.stderr.read().strip()
    assert re.fullmatch(r"error: another scheduler \(process \d+\) works on this lake; .*", said)
    assert str(winner.pid) in said or "unknown" in said
    (lake / "in" / "x").touch()
    until(lambda: runs(lake))
    time.sleep(0.3)
    assert len(runs(lake)) == 1
    winner.terminate()
    assert winner.wait(20) == 0


def test_one_that_waits_takes_over_and_knows_what_was_done(lake, scheduler):
    first = scheduler()
    until((lake / "ready").exists)
    (lake / "in" / "x").touch()
    until(lambda: runs(lake))
    (lake / "ready").unlink()
    second = scheduler("wait")
    time.sleep(0.5)
    assert not (lake / "ready").exists()
    first.terminate()
    until((lake / "ready").exists)
    (lake / "in" / "y").touch()
    until(lambda: len(runs(lake)) == 2)
    time.sleep(0.3)
    assert [line.split()[2] for line in runs(lake)] == ["1", "1"]  # new files each time
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 0


def test_stopping_cancels_what_runs_and_ends_well(lake, scheduler):
    (lake / "hold").touch()
    process = scheduler()
    (lake / "in" / "x").touch()
    until(lambda: runs(lake))
    process.terminate()
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()
    (lake / "hold").unlink()
    (lake / "ready").unlink()
    again = scheduler()
    until((lake / "ready").exists)
    time.sleep(0.5)
    again.terminate()
    again.wait(20)
    assert len(runs(lake)) == 1  # it was started once, so it is not started again


def test_killed_in_a_run_it_is_not_run_twice_and_what_waited_is_run(lake, scheduler):
    (lake / "hold").touch()
    process = scheduler()
    (lake / "in" / "x").touch()
    until(lambda: runs(lake))
    (lake / "in" / "y").touch()  # fires at the next look and waits
    time.sleep(0.5)
    process.kill()
    process.wait()
    (lake / "hold").unlink()
    again = scheduler()
    until(lambda: len(runs(lake)) == 2)
    time.sleep(0.3)
    again.terminate()
    assert again.wait(20) == 0
    assert len(runs(lake)) == 2
    assert "was cut off; it is not started again" in again.stdout.read()


def test_files_are_seen_below_folders_and_hidden_ones_are_not(tmp_path):
    trigger = Trigger("file_arrival", url="/Volumes/c/s/v/in")
    assert look_at(trigger, tmp_path, {}).files == frozenset()
    (tmp_path / "in" / "site").mkdir(parents=True)
    for name in ("a", "site/a", ".b"):
        (tmp_path / "in" / name).touch()
    first = look_at(trigger, tmp_path, {})
    assert len(first.files) == 2
    (tmp_path / "in" / "a").write_text("more")
    second = look_at(trigger, tmp_path, {})
    assert second.files == first.files
    assert second.listing != first.listing
    assert not any(name == "a" for name in first.files)  # names are hashed


@pytest.mark.parametrize(
    ("url", "folder"),
    [("/Volumes/c/s/v/in/new/", "/lake/in/new"), ("/Volumes/c/s/v", "/lake"),
     ("dbfs:/Volumes/c/s/v/in", "/lake/in"), ("in", "/lake/in"), ("/data/in", "/data/in"),
     ("file:///data/in", "/data/in")],
)  # fmt: skip
def test_a_volume_is_the_lakes_folder(url, folder):
    assert watched_folder(url, Path("/lake")) == Path(folder)


def test_a_bucket_cannot_be_watched_and_the_job_is_named(tmp_path):
    there = job(wheel("a"), trigger={"file_arrival": {"url": "s3://bucket/in"}})
    with pytest.raises(UsageError, match="job main: .* s3://... is no folder of this machine"):
        make_plan(make_bundle(tmp_path, main=there))


def _commit(table: Path, version: int, changes: bool) -> None:
    (table / "_delta_log").mkdir(parents=True, exist_ok=True)
    action = '{"add":{"path":"x","dataChange":true}}' if changes else '{"commitInfo":{}}'
    (table / "_delta_log" / f"{version:020}.json").write_text(action)


def test_a_tables_version_moves_with_its_data_alone(tmp_path):
    assert data_version(tmp_path, -1) == -1
    for version, changes in enumerate((True, True, False)):
        _commit(tmp_path, version, changes)
    (tmp_path / "_delta_log" / "_last_checkpoint").touch()
    assert data_version(tmp_path, -1) == 1  # version 2 is maintenance
    assert data_version(tmp_path, 1) == 1
    _commit(tmp_path, 3, True)
    assert data_version(tmp_path, 1) == 3
    (tmp_path / "_delta_log" / f"{5:020}.checkpoint.parquet").touch()
    assert data_version(tmp_path, 3) == 5  # its commit is cleaned away: taken as a change


@pytest.mark.parametrize(
    ("root", "pauses"),
    [("dev: {mode: development}", True),
     ("dev: {mode: development, presets: {trigger_pause_status: UNPAUSED}}", False),
     ("dev: {presets: {trigger_pause_status: PAUSED}}", True), ("dev: {}", False), ("dev:", False)],
)  # fmt: skip
def test_a_target_pauses_as_databricks_says(tmp_path, root, pauses):
    (tmp_path / "databricks.yml").write_text(f"targets:\n  {root}\n")
    assert target_pauses(read_source(tmp_path / "databricks.yml", tmp_path), "dev") is pauses


def test_a_file_that_says_unpaused_wins_over_its_target(tmp_path):
    each = {"trigger": {"periodic": {"interval": 1, "unit": "HOURS"}}}
    live = {"trigger": {**each["trigger"], "pause_status": "UNPAUSED"}}
    folder = write_bundle(tmp_path, main=job(wheel("a"), **live), other=job(wheel("a"), **each))
    text = (folder / "databricks.yml").read_text().replace("default: true", "mode: development")
    (folder / "databricks.yml").write_text(text)
    from clinical_lakehouse.local.bundle import load_bundle

    bundle = load_bundle(folder=folder)
    assert list(make_plan(bundle).jobs) == ["main"]
    assert make_plan(bundle).paused == ["other"]
    assert sorted(make_plan(bundle, include_paused=True).jobs) == ["main", "other"]


def _invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, ["scheduler", *arguments], standalone_mode=False)
    return done.exit_code, done.output


@pytest.mark.soak
def test_the_timetable_of_a_month_names_time_zone_job_and_reason():
    code, said = _invoke("--include-paused", "--simulate-from", "2024-03-01", "--simulate-until",
                         "2024-03-31", "--zone", "Europe/Berlin")  # fmt: skip
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == "UTC\tlocal (Europe/Berlin)\tjob\twhy"
    assert (
        "2024-03-03 03:00:00\tSun 2024-03-03 04:00:00 CET\tscheduled_retraining\t"
        "quartz 0 0 3 ? * SUN" in lines
    )
    without_time = [line for line in lines if line.startswith("not in the table: ")]
    assert [line.split()[4] for line in without_time] == ["alert_on_event"]
    timed = [line for line in lines[1:] if line not in without_time]
    stamps = [datetime.fromisoformat(line.split("\t")[0]) for line in timed]
    assert stamps == sorted(stamps)
    assert len(stamps) > 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "triggers of target dev are paused; pass --include-paused"),
     (["--include-paused", "--simulate-until", "soon"], "--simulate-until must be an ISO date"),
     (["--include-paused", "--simulate-from", "2024-01-01"], "needs --simulate-until"),
     (["--include-paused", "--simulate-until", "2020-01-01"], "must be later"),
     (["--include-paused", "--simulate-until", "2099-01-01", "--zone", "Mars"], "no time zone")],
)  # fmt: skip
def test_what_cannot_be_scheduled_is_said_in_one_line(arguments, said):
    done = CliRunner().invoke(cli.main, ["scheduler", *arguments])
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert len(done.output.splitlines()) == 1
    assert said in done.output


def test_a_second_scheduler_says_so_before_spark_starts(tmp_path):
    begun = time.monotonic()
    with only_one(tmp_path / "ops" / "_scheduler" / "lock", "scheduler"):
        done = CliRunner().invoke(
            cli.main, ["scheduler", "--include-paused", "--root", str(tmp_path)]
        )
    assert done.exit_code == 2
    last = done.output.splitlines()[-1]
    assert last.startswith(f"error: another scheduler (process {os.getpid()}) works on this lake")
    assert time.monotonic() - begun < 20


def test_the_lock_is_free_again_after_its_holder(tmp_path):
    refused = pytest.raises(LakeError, match="another x")
    with only_one(tmp_path / "lock", "x"), refused, only_one(tmp_path / "lock", "x"):
        pass
    with only_one(tmp_path / "lock", "x"):
        pass
