"""Debian's Alertmanager of the test's own, on 127.0.0.1; and the tools that come with it."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


def tool(name: str, package: str) -> str:
    """The program's path, or the test is skipped with what to install."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package})")
    return found


@dataclass(frozen=True)
class Alertmanager:
    """Where it listens, and its API."""

    url: str
    config: Path

    def get(self, path: str) -> list[dict]:
        """GET below /api/v2."""
        with urllib.request.urlopen(f"{self.url}/api/v2/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: object) -> dict | None:
        """POST JSON below the root."""
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else None

    def delete(self, path: str) -> None:
        """DELETE below /api/v2."""
        request = urllib.request.Request(f"{self.url}/api/v2/{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def reload(self, config: str) -> None:
        """Read another configuration; alerts and silences stay."""
        self.config.write_text(config, encoding="utf-8")
        self.post("-/reload", {})


@contextmanager
def running(folder: Path, config: str) -> Iterator[Alertmanager]:
    """A fresh Alertmanager without cluster, its data in the folder."""
    program = tool("prometheus-alertmanager", "prometheus-alertmanager")
    path = folder / "alertmanager.yml"
    path.write_text(config, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, f"--config.file={path}", f"--storage.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "--log.level=warn"], stderr=log, stdout=log)
    try:
        yield _when_ready(Alertmanager(f"http://127.0.0.1:{port}", path), process, folder)
    finally:
        process.terminate()
        process.wait(30)


def _when_ready(server: Alertmanager, process: subprocess.Popen, folder: Path) -> Alertmanager:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{server.url}/-/ready", timeout=5).close()
            return server
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
    raise AssertionError("Alertmanager does not get ready")
