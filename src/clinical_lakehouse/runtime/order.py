"""What the runner orders from whatever its tasks run on; imports no Spark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Order:
    """One attempt of a task, as the runner orders it; its work must end once `is_stopped()`."""

    as_of: datetime
    run_id: str
    params: Mapping[str, str]
    attempt: int = 1
    tag: str = ""
    is_stopped: Callable[[], bool] = lambda: False


def log_folder(root: Path, run_id: str) -> Path:
    """Where a run's logs lie below a local lake's root."""
    return root / "ops" / "_logs" / run_id


def made_log_folder(root: Path, run_id: str) -> Path:
    """The same, made if missing, for its owner alone."""
    folder = log_folder(root, run_id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
