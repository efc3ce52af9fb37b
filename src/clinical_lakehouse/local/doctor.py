"""What `doctor` looks at: the machine, the packages, the settings, the lake, services if any."""

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlparse

from clinical_lakehouse.errors import LakehouseError
from clinical_lakehouse.runtime import prerequisites
from clinical_lakehouse.runtime.format import check_format
from clinical_lakehouse.runtime.session import delta_jars
from clinical_lakehouse.runtime.settings import Connection, load_settings

_PACKAGES = ("pyspark", "delta-spark", "mlflow", "hyperopt", "fhir.resources")
_TIMEOUT_SECONDS = 1.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `state` is ok, missing (must be mended) or absent (optional)."""

    what: str
    state: str
    detail: str


def examine(root: Path, env: str) -> list[Finding]:
    """Everything in order, the must-haves first."""
    return [
        *_machine(),
        *(_package(name) for name in _PACKAGES),
        _jars(),
        _checked("settings", lambda: f"conf/{load_settings(env).env}.yml, valid"),
        _checked("lake", lambda: _lake(root)),
        *_services(env),
    ]


def _machine() -> list[Finding]:
    faults = prerequisites.missing(str(Path.cwd()))
    found = [Finding("machine", "missing", fault) for fault in faults]
    cores, free = os.cpu_count() or 1, shutil.disk_usage(Path.cwd()).free / 1e9
    java = prerequisites.java_version()
    detail = f"Java {java}, {cores} cores, {_memory_gb():.0f} GB memory, {free:.0f} GB disk free"
    return found or [Finding("machine", "ok", detail)]


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", f"run: pip install 'clinical-lakehouse[local]' ({name})")


def _jars() -> Finding:
    if delta_jars():
        return Finding("Delta jars", "ok", f"{len(delta_jars())} here; a start needs no network")
    return Finding("Delta jars", "absent", "fetched at the first start, which needs the network")


def _lake(root: Path) -> str:
    if not root.exists():
        return f"{root} will be made by the first run"
    check_format(root)
    if not os.access(root, os.W_OK):
        raise LakehouseError(f"{root} cannot be written; choose another --root")
    return str(root)


def _checked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except LakehouseError as error:
        return Finding(what, "missing", str(error))


def _services(env: str) -> list[Finding]:
    """Optional systems: is somebody listening where the settings point?"""
    try:
        connections = load_settings(env).connections
    except LakehouseError:
        return []
    return [_service(name, place) for name, place in sorted(connections.items())]


def _service(name: str, place: Connection) -> Finding:
    parsed = urlparse(place.url or "")
    host = parsed.hostname or place.host
    port = parsed.port or _DEFAULT_PORTS.get(parsed.scheme) or place.port
    if not host or not port:
        return Finding(name, "absent", "optional, not configured")
    try:
        socket.create_connection((host, port), _TIMEOUT_SECONDS).close()
    except OSError:
        return Finding(name, "absent", f"optional, nobody answers at {host}:{port}")
    return Finding(name, "ok", f"{host}:{port} answers")
