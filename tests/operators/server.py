"""A PostgreSQL server of the test's own, on 127.0.0.1."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Postgres:
    """Where it listens, and its psql."""

    port: int
    psql: str

    def run(self, statements: str) -> str:
        """Execute statements; what psql prints, without headings."""
        command = [self.psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "lakehouse", "-d"]
        command += ["postgres", "-At", "-v", "ON_ERROR_STOP=1", "-c", statements]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, or where Debian puts it."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def running(folder: Path) -> Iterator[Postgres]:
    """A fresh server whose superuser is `lakehouse`; PostgreSQL refuses to run as root."""
    tools = binaries()
    assert tools is not None
    lead, data = [], folder / "data"
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        lead = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    init = [tools / "initdb", "-A", "trust", "-U", "lakehouse", "-D", data, "-E", "UTF8"]
    subprocess.run([*lead, *init, "--locale=C.UTF-8"], **quiet)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*lead, tools / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
    subprocess.run([*control, "-o", options, "start"], **quiet)
    try:
        yield Postgres(port, str(tools / "psql"))
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
