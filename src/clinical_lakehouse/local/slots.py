"""How many runs of a job there may be at once, over all processes that share a lake."""

import os
from dataclasses import dataclass
from pathlib import Path

from clinical_lakehouse.local.job import Job
from clinical_lakehouse.runtime.locks import lock_now


@dataclass(frozen=True)
class Slot:
    """A run's place among the runs of its job; a dead process's is given back by the system."""

    handle: int | None = None

    def give_back(self) -> None:
        """Let another run have it."""
        if self.handle is not None:
            os.close(self.handle)


@dataclass(frozen=True)
class Slots:
    """One lock file per job and place; without a folder, runs are not counted."""

    folder: Path | None = None

    def take(self, job: Job) -> Slot | None:
        """A free place for a run of the job; None where all are taken."""
        if self.folder is None:
            return Slot()
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(job.most_runs):
            path = self.folder / f"{job.key}.{number}"
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            if lock_now(handle):
                return Slot(handle)
            os.close(handle)
        return None


def refusal(job: Job) -> str:
    """What a run is told that finds no place and may not wait for one."""
    return (
        f"job {job.key} is already running, and its file allows {job.most_runs} at once; "
        "wait for its end, or set queue: enabled"
    )
