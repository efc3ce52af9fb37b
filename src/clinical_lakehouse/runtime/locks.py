"""OS locks: one per local table, for Delta on a local file system does not protect two writers, and
one for whoever may be there only once."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clinical_lakehouse.errors import LakeError


def lock_now(handle: int) -> bool:
    """Lock an open file without waiting; False where another open handle has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold `<path>.lock` until the block ends; other threads and processes wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _holder(handle: int, patience: float = 2.0) -> str:
    """Whose number stands here; it is written a moment after the lock is taken, so wait."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        number = os.pread(handle, 20, 0).decode("ascii", "replace")
        if number.isdecimal() and _lives(int(number)):
            return number
        time.sleep(0.02)
    return "unknown"


def _lives(process: int) -> bool:
    """Whether a process has this number; another user's counts too."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def only_one(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold `path` as the only `what` until the block ends or the process dies.

    LakeError names the process that has it, unless `wait`.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if wait:
            fcntl.flock(handle, fcntl.LOCK_EX)
        elif not lock_now(handle):
            raise LakeError(
                f"another {what} (process {_holder(handle)}) works on this lake; "
                "stop it first, or pass --wait to take over when it ends"
            )
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)
