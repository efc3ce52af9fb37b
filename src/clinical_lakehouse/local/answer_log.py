"""What a server of models answered, on disk before the answer leaves; the job `serving_log` takes
it into gold.served_answer."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from clinical_lakehouse.runtime.clock import new_run_id, wall_clock
from clinical_lakehouse.runtime.journal import Journal, open_journal
from clinical_lakehouse.runtime.served import served_folder
from clinical_lakehouse.tables.gold_deployment import SERVED_ANSWER

_ROLLED_AFTER = timedelta(minutes=5)


class AnswerLog:
    """A journal of answers; every five minutes a new one, so that the old can be taken away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal: Journal | None = None
        self.opened_at = wall_clock()
        self.lock = Lock()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note answers; they are on disk when this returns."""
        with self.lock:
            self._current().write_all(SERVED_ANSWER.name, rows)

    def close(self) -> None:
        """Leave what is noted to the job."""
        with self.lock:
            self._leave()

    def _current(self) -> Journal:
        now = wall_clock()
        if now - self.opened_at >= _ROLLED_AFTER:
            self._leave()
        if self.journal is None:
            self.journal, self.opened_at = open_journal(served_folder(self.root), new_run_id()), now
        return self.journal

    def _leave(self) -> None:
        if self.journal:
            self.journal.close(remove=False)
        self.journal = None
