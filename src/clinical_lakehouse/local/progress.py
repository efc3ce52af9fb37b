"""A live view of a run: a tree that moves on a terminal, plain lines with a heartbeat elsewhere."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.live import Live

from clinical_lakehouse.local.board import Board, clock_text
from clinical_lakehouse.local.events import (
    Event,
    JobFinished,
    JobStarted,
    Listener,
    Noticed,
    Preparing,
    TaskFinished,
    TaskStarted,
    TooLong,
    as_line,
)
from clinical_lakehouse.runtime.clock import wall_clock

_HEARTBEAT_SECONDS = 15.0
_FRAMES_PER_SECOND = 4


@contextmanager
def watch(
    console: Console | None = None, heartbeat: float = _HEARTBEAT_SECONDS
) -> Iterator[Listener]:
    """Gives the listener for a run and shows what it hears until the block ends."""
    # A copy of stderr: while Spark starts, the original one is the JVM's.
    console = console or Console(file=os.fdopen(os.dup(2), "w", encoding="utf-8"))
    board = Board()
    if console.is_terminal:
        with Live(
            get_renderable=lambda: board.render(console.size.height - 2),
            console=console,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
        ):
            yield board.note
        console.print(board.result())
        return
    stop = threading.Event()
    pulse = threading.Thread(target=_pulse, args=(console, board, stop, heartbeat), daemon=True)
    pulse.start()
    try:
        yield lambda event: _say(console, board, event)
    finally:
        stop.set()


@contextmanager
def told_as_json() -> Iterator[Listener]:
    """Gives the listener for a run; each event is one JSON object on a line of stdout."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    try:
        yield lambda event: _write_line(out, as_line(event, wall_clock()))
    finally:
        out.close()


def _write_line(out: TextIO, line: str) -> None:
    out.write(f"{line}\n")


def _pulse(console: Console, board: Board, stop: threading.Event, seconds: float) -> None:
    """Say what runs whenever nothing was said for a while."""
    while not stop.wait(min(seconds, 1.0) / 2):
        if monotonic() - board.heard_at >= seconds:
            board.heard_at = monotonic()
            _line(console, board, f"still at work: {board.at_work() or 'finishing'}")


def _say(console: Console, board: Board, event: Event) -> None:
    board.note(event)
    text = sentence(event)
    if text:
        _line(console, board, text)


def sentence(event: Event) -> str:
    """The event in one plain line; nothing where another event says the same."""
    match event:
        case Preparing(what):
            return f"{what} ..."
        case Noticed(what):
            return what
        case TooLong():
            return str(event)
        case JobStarted(_, job, tasks):
            return f"{job}: started, {len(tasks)} task{'s' if len(tasks) > 1 else ''}"
        case TaskStarted(_, job, task, attempt, calls):
            if calls:
                return ""
            return f"{job}.{task}: started" + (f", try {attempt}" if attempt > 1 else "")
        case TaskFinished():
            if event.calls and event.retry_in is None:
                return ""
            took = f" in {clock_text(event.seconds)}" if event.attempt else ""
            more = event.message or " ".join(f"{k}={v}" for k, v in event.metrics.items())
            again = f"; next try in {event.retry_in:.0f} s" if event.retry_in is not None else ""
            end = f": {more}" if more else ""
            return f"{event.job}.{event.task}: {event.state}{took}{end}{again}"
        case JobFinished():
            reason = f": {event.message}" if event.message else ""
            return f"{event.job}: {event.state} in {clock_text(event.seconds)}{reason}"


def _line(console: Console, board: Board, text: str) -> None:
    at = clock_text(monotonic() - board.began_at, fixed=True)
    console.print(f"{at}  {text}", markup=False, highlight=False, soft_wrap=True)
