"""Tasks in interpreters of their own, plain or under spark-submit, as the runner's engine."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import LakeError, LakehouseError, PrerequisiteError
from clinical_lakehouse.runtime.engine import Performable
from clinical_lakehouse.runtime.failures import one_line
from clinical_lakehouse.runtime.locks import exclusive
from clinical_lakehouse.runtime.order import Order, made_log_folder
from clinical_lakehouse.runtime.settings import conf_dir
from clinical_lakehouse.runtime.task import Done

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class ProcessEngine:
    """Each attempt of a task is a process: `script` is jobs/main.py, `place` what every task is
    told of root and environment, `master` a Spark master to submit to ("" for no spark-submit).

    What a process prints goes to `<root>/ops/_logs/<run>/<tag>.log`, for the owner alone.
    """

    script: Path
    place: Mapping[str, str]
    root: Path
    master: str = ""
    living: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, repr=False)

    def perform(self, task: Performable, order: Order) -> Done:
        """Start the task's process and wait for its end; the error is the one it ended with."""
        result = made_log_folder(self.root, order.run_id) / f"{order.tag}.json"
        result.unlink(missing_ok=True)
        command = [*self._command(), task.name, *self._arguments(order, result)]
        with exclusive(result):  # the task's process ends when this one, dying, lets go of it
            code = self._run(command, result.with_suffix(".log"), order)
        result.with_name(f"{result.name}.lock").unlink(missing_ok=True)
        return _read(result, code)

    def _run(self, command: Sequence[str], log: Path, order: Order) -> int:
        """The exit code of a command, whose output goes to `log`; ended once the order is void."""
        with open(os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "CLINICAL_CONF_DIR": str(conf_dir())},
            )  # fmt: skip
        self.living[order.tag] = process
        try:
            while _still_runs(process):
                if order.is_stopped():
                    _end(process)
        finally:
            _end(process)
            del self.living[order.tag]
        return process.returncode

    def interrupt(self, tag: str | None) -> None:
        """End the process so tagged, without a tag every one."""
        for name, process in list(self.living.items()):
            if tag in (None, name):
                _end(process)

    def _command(self) -> list[str]:
        if not self.master:
            return [sys.executable, str(self.script)]
        submit = shutil.which("spark-submit") or _packaged_submit()
        return [submit, "--master", self.master, str(self.script)]

    def _arguments(self, order: Order, result: Path) -> list[str]:
        common = {
            **self.place,
            "as-of": order.as_of.isoformat(),
            "run-id": order.run_id,
            "attempt": str(order.attempt),
            "result": str(result),
        }
        own = {name.replace("_", "-"): value for name, value in order.params.items()}
        return [f"--{name}={value}" for name, value in {**own, **common}.items()]


def write_result(path: Path, end: Done | BaseException) -> None:
    """What a task did or failed with, for the process that started this one; whole or not at all,
    and without an error's own text."""
    content: dict[str, Any]
    if isinstance(end, Done):
        content = {"metrics": dict(end.metrics), "written": dict(end.written),
                   "read": dict(end.read)}  # fmt: skip
    else:
        content = {"error": type(end).__name__, "message": one_line(end)}
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content, default=str), encoding="utf-8")
    draft.replace(path)


def end_with_runner(result: Path) -> None:
    """Let this process end when the one that started it has died: its work would be recorded by
    nobody, and the next run would do it a second time."""

    def watch() -> None:
        handle = os.open(f"{result}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)  # the runner holds it as long as it lives
        os._exit(1)

    threading.Thread(target=watch, name="runner", daemon=True).start()


def _packaged_submit() -> str:
    import pyspark

    found = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    if not found.is_file():
        raise PrerequisiteError("spark-submit is not on PATH; install Spark 4 or pyspark")
    return str(found)


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process and its children to end, then make them; nothing if they have."""
    for number, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _read(path: Path, code: int) -> Done:
    """The result a process left; the error it names, with the text that is free of data."""
    if not path.exists():
        raise LakeError(f"its process ended with code {code} and left no result; see its log")
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    if "error" not in content:
        return Done(content["metrics"], content["written"], content["read"])
    kinds = {kind.__name__: kind for kind in LakehouseError.__subclasses__()}
    raise kinds.get(content["error"], LakeError)(content["message"])
