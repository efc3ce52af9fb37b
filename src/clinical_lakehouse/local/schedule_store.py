"""The scheduler's memory on disk: a firing and what its trigger knows change in one transaction.

Kill the scheduler anywhere: a firing is `waiting` from the moment its trigger is past it, and
`started` under a run id before its run begins. Whether a started run began is what the run ledger
knows, so at the next start it is either done with or waits again.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import LakeError
from clinical_lakehouse.local.due import Memory

_KEPT = 5000  # firings that are over, for whoever asks what happened
_SCHEMA = """
CREATE TABLE IF NOT EXISTS memory (job TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS firing (
  id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, due_at TEXT NOT NULL, why TEXT NOT NULL,
  state TEXT NOT NULL, run_id TEXT NOT NULL DEFAULT '', UNIQUE (job, due_at));
"""


@dataclass(frozen=True)
class Firing:
    """One firing of a job's trigger; `state` waiting, started, ended, lost or skipped."""

    id: int
    job: str
    due_at: datetime
    why: str
    state: str = "waiting"
    run_id: str = ""


class ScheduleStore:
    """Memories and firings; every method is one transaction, on disk when it returns."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or make the file; without one nothing is kept."""
        if path:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._plain_errors():
            # Autocommit, so that a transaction is what we say it is; one lock upstream.
            self._db = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            over = "DELETE FROM firing WHERE state NOT IN ('waiting', 'started') AND id <= "
            self._db.execute(over + "(SELECT max(id) FROM firing) - ?", (_KEPT,))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def memories(self) -> dict[str, Memory]:
        """What each job's trigger remembers."""
        with self._plain_errors():
            rows = self._db.execute("SELECT job, content FROM memory").fetchall()
        return {job: _memory(json.loads(content)) for job, content in rows}

    def firings(self, *states: str) -> list[Firing]:
        """The firings in one of these states (none named: all), in the order they were due."""
        with self._plain_errors():
            rows = self._db.execute(
                "SELECT id, job, due_at, why, state, run_id FROM firing ORDER BY due_at, id"
            ).fetchall()
        found = [Firing(r[0], r[1], datetime.fromisoformat(r[2]), *r[3:]) for r in rows]
        return [firing for firing in found if not states or firing.state in states]

    def remember(self, job: str, memory: Memory) -> None:
        """Keep what a trigger knows."""
        with self._transaction():
            self._keep(job, memory)

    def fire(self, job: str, memory: Memory, due: datetime, why: str, state: str) -> Firing:
        """Keep a firing, and in the same step the memory that is past it."""
        with self._transaction():
            self._keep(job, memory)
            added = self._db.execute(
                "INSERT INTO firing (job, due_at, why, state) VALUES (?, ?, ?, ?)",
                (job, due.isoformat(), why, state),
            )
        return Firing(int(added.lastrowid or 0), job, due, why, state)

    def forget(self, job: str) -> None:
        """Drop what a trigger knows: it begins anew."""
        with self._transaction():
            self._db.execute("DELETE FROM memory WHERE job = ?", (job,))

    def set_state(self, firing: int, state: str, run_id: str = "") -> None:
        """Move a firing on; its run id stays where none is given."""
        with self._transaction():
            self._db.execute(
                "UPDATE firing SET state = ?, run_id = coalesce(nullif(?, ''), run_id)"
                " WHERE id = ?",
                (state, run_id, firing),
            )

    def _keep(self, job: str, memory: Memory) -> None:
        self._db.execute("REPLACE INTO memory VALUES (?, ?)", (job, json.dumps(_plain(memory))))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._plain_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LakeError(
                f"the scheduler's memory cannot be used ({error}); if it is damaged, move the "
                "folder ops/_scheduler away and start again"
            ) from None


def _plain(memory: Memory) -> dict[str, Any]:
    times = {
        name: value.isoformat() if value else None
        for name in ("since", "fired", "changed", "ended")
        for value in [getattr(memory, name)]
    }
    return {**vars(memory), **times, "known": sorted(memory.known)}


def _memory(content: dict[str, Any]) -> Memory:
    times = {
        name: datetime.fromisoformat(content[name]) if content[name] else None
        for name in ("since", "fired", "changed", "ended")
    }
    return Memory(**{**content, **times, "known": frozenset(content["known"])})
