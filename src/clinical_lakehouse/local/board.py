"""What is known of a run so far, and how it looks as a tree of jobs and tasks."""

import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from clinical_lakehouse.local.events import (
    Event,
    JobFinished,
    JobStarted,
    Noticed,
    Preparing,
    TaskFinished,
    TaskStarted,
    TooLong,
)

_MARKS = {
    "waiting": ("·", "dim"),
    "success": ("✓", "green"),
    "skipped": ("–", "dim"),
    "retry": ("↻", "yellow"),
}
_BAD = ("✗", "bold red")
_SHOWN_METRICS = 5
_INDENT = "   "


class _TaskView:
    """One task's line."""

    def __init__(self) -> None:
        self.state, self.seconds, self.message = "waiting", 0.0, ""
        self.began_at, self.attempt = 0.0, 0
        self.metrics: Mapping[str, Any] = {}


class _JobView:
    """One job run's heading and its tasks."""

    def __init__(self, event: JobStarted) -> None:
        self.job, self.run_id = event.job, event.run_id
        self.parent = (event.parent_run_id, event.parent_task)
        self.state, self.seconds, self.message = "running", 0.0, ""
        self.began_at = monotonic()
        self.tasks = {key: _TaskView() for key in event.tasks}


class Board:
    """Hears events in the runner's thread and is drawn from the screen's."""

    def __init__(self) -> None:
        self.began_at = self.heard_at = monotonic()
        self._jobs: dict[str, _JobView] = {}
        self._preparing = ("", 0.0)
        self._notices: list[Text] = []
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Take an event in."""
        with self._lock:
            self.heard_at = monotonic()
            self._note(event)

    def at_work(self) -> str:
        """What runs at this moment, e.g. `land (12 s), map_events (3 s)`."""
        with self._lock:
            now = monotonic()
            running = [
                f"{key} ({clock_text(now - task.began_at)})"
                for job in self._jobs.values()
                for key, task in job.tasks.items()
                if task.state == "running" and not self._called(job, key)
            ]
            again = [
                f"{key} (waits for another try)"
                for job in self._jobs.values()
                for key, task in job.tasks.items()
                if task.state == "retry"
            ]
            return ", ".join([*running, *again]) or self._preparing[0]

    def render(self, height: int | None = None) -> RenderableType:
        """The tree and what is being prepared; jobs that went well shrink to one line where
        `height` lines are not enough."""
        with self._lock:
            what, since = self._preparing
            lines = self._tree(short=False)
            if height is not None and len(lines) > height:
                lines = self._tree(short=True)
        if not what:
            return _grid(lines)
        waiting = Spinner("dots", Text(f"{what} ({clock_text(monotonic() - since)})"))
        return Group(_grid(lines), waiting) if lines else waiting

    def result(self) -> RenderableType:
        """The finished tree, and one sentence for each job that was asked for."""
        with self._lock:
            ends = [_end(job) for job in self._tops() if job.state != "running"]
            return Group(_grid(self._tree(short=False)), *self._notices, *ends)

    def _tops(self) -> list[_JobView]:
        return [job for job in self._jobs.values() if job.parent[0] not in self._jobs]

    def _tree(self, short: bool) -> list[tuple[Text, ...]]:
        return [line for job in self._tops() for line in self._lines(job, 0, short)]

    def _note(self, event: Event) -> None:
        self._preparing = (event.what, monotonic()) if isinstance(event, Preparing) else ("", 0.0)
        match event:
            case Noticed(what):
                self._notices.append(Text(what, "yellow"))
            case TooLong():
                self._notices.append(Text(str(event), "yellow"))
            case JobStarted():
                self._jobs[event.run_id] = _JobView(event)
            case TaskStarted():
                task = self._jobs[event.run_id].tasks[event.task]
                task.state, task.began_at, task.attempt = "running", monotonic(), event.attempt
            case TaskFinished():
                task = self._jobs[event.run_id].tasks[event.task]
                task.state = event.state if event.retry_in is None else "retry"
                task.seconds, task.metrics, task.message = (
                    event.seconds, event.metrics, event.message,
                )  # fmt: skip
            case JobFinished():
                job = self._jobs[event.run_id]
                job.state, job.seconds, job.message = event.state, event.seconds, event.message

    def _called(self, job: _JobView, key: str) -> "_JobView | None":
        """The latest job run that this task called."""
        found = [one for one in self._jobs.values() if one.parent == (job.run_id, key)]
        return found[-1] if found else None

    def _lines(self, job: _JobView, depth: int, short: bool) -> Iterator[tuple[Text, ...]]:
        """The lines of a job; a task that called a job is shown as that job."""
        seconds = job.seconds if job.state != "running" else monotonic() - job.began_at
        yield _line(depth, job.job, job.state, seconds, Text(""), bold=True)
        if short and job.state == "success":
            return
        for key, task in job.tasks.items():
            called = self._called(job, key)
            if called:
                yield from self._lines(called, depth + 1, short)
            else:
                now = monotonic() - task.began_at if task.state == "running" else task.seconds
                yield _line(depth + 1, key, task.state, now, _detail(task))


def clock_text(seconds: float, fixed: bool = False) -> str:
    """`0.4 s`, `12 s`, `3:05`, `1:02:03`; with `fixed` always `MM:SS`."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    if whole >= 3600:
        return f"{whole // 3600}:{minutes % 60:02}:{rest:02}"
    if fixed:
        return f"{minutes:02}:{rest:02}"
    if whole >= 60:
        return f"{minutes}:{rest:02}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def _line(
    depth: int, name: str, state: str, seconds: float, detail: Text, *, bold: bool = False
) -> tuple[Text, ...]:
    mark, style = _MARKS.get(state, _BAD)
    if state == "running":
        mark, style = "▶", "cyan"
    quiet = state in ("waiting", "skipped")
    label = Text(_INDENT * depth).append(mark, style).append(" ")
    label.append(name, "bold" if bold else "dim" if quiet else "")
    return label, Text("" if quiet else clock_text(seconds), "dim"), detail


def _grid(lines: list[tuple[Text, ...]]) -> Table:
    """Names and times keep their width; what is beside them gives way on a narrow screen."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    widest = [max((line[column].cell_len for line in lines), default=0) for column in (0, 1)]
    grid.add_column(no_wrap=True, min_width=widest[0])
    grid.add_column(no_wrap=True, min_width=widest[1], justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for line in lines:
        grid.add_row(*line)
    return grid


def _end(job: _JobView) -> Text:
    """The last word on a job."""
    took = clock_text(job.seconds)
    if job.state == "success" and not job.message:
        return Text(f"{job.job} succeeded in {took}", "green")
    verb = {"success": "succeeded, but", "timed_out": "timed out"}.get(job.state, job.state)
    reason = f": {job.message}" if job.message else ""
    return Text(f"{job.job} {verb} after {took}{reason}", "bold red")


def _detail(task: _TaskView) -> Text:
    """What a tired reader wants beside a task: its figures, or why it has none."""
    if task.state == "running":
        return Text(f"try {task.attempt}" if task.attempt > 1 else "", "yellow")
    if task.state == "retry":
        return Text(f"will be tried again: {task.message}", "yellow")
    if task.message:
        return Text(task.message, "dim" if task.state == "skipped" else "red")
    shown = [(k, v) for k, v in task.metrics.items() if v is not None][:_SHOWN_METRICS]
    return Text("  ").join(
        Text.assemble((f"{_name(name)} ", "dim"), _figure(value)) for name, value in shown
    )


def _figure(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def _name(metric: str) -> str:
    return "rows" if metric == "row_count" else metric.removesuffix("_count").replace("_", " ")
