"""A crash-safe note of state changes, one JSON line each, until they are in the ledger's tables.

A living process holds an OS lock on its journal; a journal nobody locks belongs to a dead one.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.locks import lock_now


@dataclass(frozen=True)
class Journal:
    """An open, locked journal file."""

    path: Path
    handle: int

    def write(self, table: str, row: Mapping[str, Any]) -> None:
        """Add one row of a table; on disk when this returns."""
        self.write_all(table, [row])

    def write_all(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of a table, together on disk when this returns."""
        _write(self.handle, *({"table": table, "row": row} for row in rows))

    def entries(self) -> list[tuple[str, dict[str, Any]]]:
        """Table and row of every line, oldest first; a line cut off by a crash is left out."""
        return _entries(self.path)

    def close(self, *, remove: bool) -> None:
        """Let go of the file; `remove` when its rows are safe elsewhere."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self.handle)


def open_journal(folder: Path, run_id: str) -> Journal:
    """A new journal for a run of this process."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run_id}.ndjson"
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _write(handle, {"pid": os.getpid(), "started_at": wall_clock()})
    return Journal(path, handle)


def dead_journals(folder: Path) -> Iterator[Journal]:
    """Journals of processes that are gone, locked for the caller, who closes them."""
    for path in sorted(folder.glob("*.ndjson")):
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:  # another process has just dealt with it
            continue
        if not lock_now(handle) or not path.exists():  # its process lives, or all is done
            os.close(handle)
            continue
        yield Journal(path, handle)


def living_writer(folder: Path, run_id: str) -> int | None:
    """The process that keeps a run's journal, None if none lives."""
    path = folder / f"{run_id}.ndjson"
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if lock_now(handle):
            return None
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        return int(json.loads(first)["pid"])
    finally:
        os.close(handle)


def living_entries(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """What living processes have noted so far."""
    living = [p for p in sorted(folder.glob("*.ndjson")) if living_writer(folder, p.stem)]
    return [entry for path in living for entry in _entries(path)]


def as_json(values: Mapping[str, Any]) -> str | None:
    """Metrics, parameters or versions as the ledger keeps them; None for none."""
    return json.dumps(dict(values), sort_keys=True, default=str) if values else None


def versions_json(written: Mapping[str, int], read: Mapping[str, int]) -> str | None:
    """Delta versions as the ledger keeps them: those written by table, those read under `read`."""
    return as_json({**written, "read": dict(read)} if read else written)


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if "table" in entry:
                found.append((entry["table"], entry["row"]))
    return found


def _write(handle: int, *entries: Mapping[str, Any]) -> None:
    lines = "".join(json.dumps(entry, default=_text) + "\n" for entry in entries)
    os.write(handle, lines.encode())
    os.fsync(handle)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
