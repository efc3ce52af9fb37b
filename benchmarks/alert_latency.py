"""From event to mail: how long, with the scheduler running, and whether a flood loses anything.

`python benchmarks/alert_latency.py 100 10000`: the real scheduler runs the bundle's alerting on a
lake of its own; another process writes 100 events, some seconds apart, and an SMTP server here
notes when each one's mail arrives. Then 10,000 events are written within a minute to another lake,
and alerting and notifications run until nothing waits.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from aiosmtpd.controller import Controller
from measuring import peak_memory, timed

from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.alerting.notifications import deliver
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.ops import ALERT, ALERT_EVENT
from clinical_lakehouse.tables.ops_notifications import MESSAGE

_SITE = re.compile(rb"site[=: ]+\"?(E\d+)")
_MEAN_PAUSE_SECONDS = 5.0


class Arrivals:
    """An SMTP handler that notes when an event's first mail came."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.mails = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take every mail."""
        self.mails += 1
        for name in _SITE.findall(envelope.content):
            self.at.setdefault(name.decode(), time.time())
        return "250 OK"


def main(paced: int, flood: int) -> None:
    """Both measurements, each with a lake of its own."""
    for measure, count in ((_paced, paced), (_flood, flood)):
        with tempfile.TemporaryDirectory() as folder, _mail() as arrivals:
            _conf(Path(folder), arrivals[1])
            measure(Path(folder), arrivals[0], count)


def _paced(folder: Path, arrivals: Arrivals, count: int) -> None:
    root = folder / "lake"
    with peak_memory() as peak, _scheduler(root, folder):
        _warm_up(root, arrivals)
        written = _write_events(root, count, random.Random(7))
        end = time.time() + 30
        while len(arrivals.at) < count and time.time() < end:
            time.sleep(0.2)
    late = sorted(arrivals.at[name] - at for name, at in written.items() if name in arrivals.at)
    if not late:
        _print("no event was told of")
        return
    cuts = statistics.quantiles(late, n=100)
    _print(
        f"{count} events about {_MEAN_PAUSE_SECONDS:.0f} s apart: {count - len(late)} lost; "
        f"p50 {cuts[49]:.1f} s, p95 {cuts[94]:.1f} s, p99 {cuts[98]:.1f} s, "
        f"peak memory of both processes {peak[0] / 1e9:.1f} GB"
    )


def _warm_up(root: Path, arrivals: Arrivals) -> None:
    """One event of its own has been told: every table of alerting is made."""
    now = _run(root)
    emit(now, "benchmark", [_finding(now, 10**6)])
    end = time.time() + 60
    while f"E{10**6}" not in arrivals.at and time.time() < end:
        time.sleep(0.2)


def _write_events(root: Path, count: int, draw: random.Random) -> dict[str, float]:
    """Each event's name and when its commit was done."""
    run = _run(root)
    written = {}
    for number in range(count):
        time.sleep(draw.expovariate(1 / _MEAN_PAUSE_SECONDS))
        now = replace(run, as_of=wall_clock(), run_id=f"e{number}")
        emit(now, "benchmark", [_finding(now, number)])
        written[f"E{number}"] = time.time()
    return written


def _flood(folder: Path, arrivals: Arrivals, count: int) -> None:
    """Ten writers' worth of events in a minute; then rounds until nothing waits."""
    run, rounds, batch = _run(folder / "lake"), 0, max(1, count // 50)
    with timed() as writing:
        for first in range(0, count, batch):
            now = replace(run, as_of=wall_clock(), run_id=f"f{first}")
            numbers = range(first, min(first + batch, count))
            emit(now, "benchmark", [_finding(now, number) for number in numbers])
    with timed() as telling, peak_memory() as peak:
        while True:
            rounds += 1
            now = replace(run, as_of=wall_clock(), run_id=f"r{rounds}")
            evaluate.execute(now)
            said = deliver.execute(now)
            if not said["messages_new"] and rounds > 1:
                break
    events, known = run.lake.read(ALERT_EVENT).count(), run.lake.read(ALERT).count()
    notices = run.lake.read(MESSAGE).filter("kind = 'event'")
    told = notices.select("alert_id").distinct().count()
    _print(
        f"{count} events written in {writing[0]:.0f} s, dealt with in {telling[0]:.0f} s and "
        f"{rounds} rounds: {events} events, {known} alerts, {told} of them with messages, "
        f"{arrivals.mails} mails; peak memory {peak[0] / 1e9:.1f} GB"
    )


def _run(root: Path) -> Run:
    lake = open_lake({"root": str(root)})
    return Run(lake, load_settings("dev"), wall_clock(), "benchmark")


def _finding(run: Run, number: int) -> Finding:
    labels = {"site": f"E{number}"}
    return Finding("export_partial", "warning", labels, 1.0, 0.0, "a part is missing", run.as_of)


@contextmanager
def _mail() -> Iterator[tuple[Arrivals, int]]:
    handler = Arrivals()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield handler, port
    finally:
        controller.stop()


def _conf(folder: Path, port: int) -> None:
    """The suite's conf, with mail to here and no cap per recipient, which would fold mails."""
    shutil.copytree(conf_dir(), folder / "conf")
    path = folder / "conf" / "alerting" / "channels.yml"
    channels = yaml.safe_load(path.read_text())
    channels["channels"]["email"] |= {"port": port, "per_recipient": 1_000_000}
    path.write_text(json.dumps(channels))
    os.environ["CLINICAL_CONF_DIR"] = str(folder / "conf")


@contextmanager
def _scheduler(root: Path, folder: Path) -> Iterator[None]:
    """The scheduler in a process of its own, once it has begun."""
    command = [sys.executable, "-m", "clinical_lakehouse.cli", "--root", str(root)]
    log = (folder / "scheduler.log").open("w")
    given = [*command, "scheduler", "--include-paused"]
    process = subprocess.Popen(given, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(folder / "scheduler.log", "success", timedelta(minutes=3))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.copy(folder / "scheduler.log", Path(tempfile.gettempdir()) / "scheduler.log")


def _wait_for(path: Path, word: str, most: timedelta) -> None:
    """Until a first run has gone well: tables are made, the JVM is warm."""
    end = time.time() + most.total_seconds()
    while word not in path.read_text() and time.time() < end:
        time.sleep(0.5)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sizes = [int(size) for size in sys.argv[1:]]
    main(*(sizes or [100, 10_000]))
