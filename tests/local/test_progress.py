"""The live view: a tree on a terminal, plain lines elsewhere, never silent for long."""

import io
import json
import re
import time
from dataclasses import replace

from rich.console import Console

from clinical_lakehouse.local.board import Board, clock_text
from clinical_lakehouse.local.events import (
    JobFinished,
    JobStarted,
    Noticed,
    Preparing,
    TaskFinished,
)
from clinical_lakehouse.local.events import TaskStarted as Started
from clinical_lakehouse.local.progress import told_as_json, watch
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.runner import run_job
from tests.local.stand_ins import Stand, broken, call, fine, job, make_bundle, wheel


def play(tmp_path, console: Console, heartbeat: float = 15.0, **functions) -> str:
    """Run a job that calls another, with the view on a console; what stands there afterwards."""
    child = job(wheel("a"), wheel("b", "a"), wheel("c", "b"))
    bundle = make_bundle(tmp_path, main=job(call("kid", "child"), parameters=()), child=child)
    stand = Stand(**{"a": fine, "b": broken, "c": fine, **functions})
    with watch(console, heartbeat) as listen:
        listen(Preparing("starting Spark"))
        listen(Noticed("something odd"))
        run_job(bundle, Request("main"), replace(stand.context(), listen=listen))
    return console.file.getvalue()


def test_without_a_terminal_each_event_is_one_plain_line(tmp_path):
    said = play(tmp_path, Console(file=io.StringIO(), width=40))
    lines = [line.split("  ", 1)[1] for line in said.splitlines()]
    place = r" in \S+py:\d+ \(\w+\)"
    wanted = [
        r"starting Spark \.\.\.",
        r"something odd",
        r"main: started, 1 task",
        r"child: started, 3 tasks",
        r"child\.a: started",
        r"child\.a: success in [\d.]+ s: rows=3",
        r"child\.b: started",
        rf"child\.b: failed in [\d.]+ s: ValueError{place}",
        r"child\.c: skipped: not run: b did not succeed",
        rf"child: failed in [\d.]+ s: b: ValueError{place}",
        rf"main: failed in [\d.]+ s: kid: b: ValueError{place}",
    ]
    assert len(lines) == len(wanted)
    assert all(re.fullmatch(w, line) for w, line in zip(wanted, lines, strict=True)), lines
    assert "\x1b" not in said


def test_long_work_says_that_it_is_alive(tmp_path):
    def slow(run):
        time.sleep(0.8)
        return {}

    said = play(tmp_path, Console(file=io.StringIO()), heartbeat=0.2, a=slow, b=fine)
    assert re.search(r"still at work: a \(0\.\d s\)", said)


def test_on_a_terminal_the_finished_tree_stays_with_a_last_word(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    said = play(tmp_path, console)
    tree = said[said.rindex("✗ main") :]
    assert re.search(r"   ✗ child +[\d.]+ s\s*\n      ✓ a +[\d.]+ s +rows 3\s*\n      ✗ b", tree)
    assert re.search(r"– c +not run: b did not succeed", tree)
    assert "something odd" in tree
    assert re.search(r"main failed after [\d.]+ s: kid: b: ValueError", tree)
    assert "starting Spark" not in tree


def drawn(board: Board, width: int, height: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(board.render(height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def board_of_two_jobs() -> Board:
    board = Board()
    board.note(JobStarted("r", "main", ("first", "second")))
    for task, end in (("first", True), ("second", False)):
        board.note(Started("r", "main", task, 1, f"{task}_job"))
        board.note(JobStarted(task, f"{task}_job", ("x",), "r", task))
        board.note(Started(task, f"{task}_job", "x", 1))
        if end:
            done = {"received_count": 12345, "share": 0.25, "none": None}
            board.note(TaskFinished(task, f"{task}_job", "x", 1, "success", 1.0, done))
            board.note(JobFinished(task, f"{task}_job", "success", 1.0))
    return board


def test_a_small_screen_keeps_names_and_shrinks_what_is_done():
    board = board_of_two_jobs()
    whole = drawn(board, 80)
    assert whole[2] == "      ✓ x        1.0 s  received 12,345  share 0.25"
    assert len(whole) == 5
    assert [line.split()[1] for line in drawn(board, 24, height=4)] == [
        "main",
        "first_job",
        "second_job",
        "x",
    ]
    assert all(len(line) <= 24 for line in drawn(board, 24))


def test_what_runs_and_what_will_be_tried_again_is_at_work():
    board = board_of_two_jobs()
    assert re.fullmatch(r"x \(0\.0 s\)", board.at_work())
    again = TaskFinished("second", "second_job", "x", 1, "failed", 1.0, {}, "why", retry_in=9.0)
    board.note(again)
    assert board.at_work() == "x (waits for another try)"
    assert "will be tried again: why" in drawn(board, 80)[4]


def test_durations_are_short_to_read():
    assert [clock_text(s) for s in (0.04, 9.96, 12.7, 59.9, 60, 185, 3723)] == [
        "0.0 s", "10.0 s", "12 s", "59 s", "1:00", "3:05", "1:02:03",
    ]  # fmt: skip
    assert clock_text(65, fixed=True) == "01:05"


def test_a_machine_hears_each_event_as_one_line_of_json(tmp_path, capfd):
    bundle = make_bundle(tmp_path, main=job(wheel("a"), wheel("b", "a")))
    stand = Stand(a=fine, b=broken)
    with told_as_json() as listen:
        run_job(bundle, Request("main"), replace(stand.context(), listen=listen))
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    told = [(line["event"], line.get("task"), line.get("state")) for line in lines]
    assert told == [
        ("JobStarted", None, None),
        ("TaskStarted", "a", None),
        ("TaskFinished", "a", "success"),
        ("TaskStarted", "b", None),
        ("TaskFinished", "b", "failed"),
        ("JobFinished", None, "failed"),
    ]
    assert lines[2]["metrics"] == {"rows": 3}
    assert "Canary" not in str(lines)
