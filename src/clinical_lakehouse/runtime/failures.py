"""Says in one line what failed and where, without the error's own text, which may hold data."""

import errno
import traceback
from pathlib import Path

from clinical_lakehouse.errors import LakehouseError

_PACKAGE = Path(__file__).resolve().parents[1]


def one_line(error: BaseException) -> str:
    """The failure in one line: our own errors as they are, others by type, condition and place."""
    if isinstance(error, LakehouseError):
        return next(iter(str(error).splitlines()), type(error).__name__)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; free space, then run again"
    condition = getattr(error, "getCondition", lambda: None)()
    said = f"{type(error).__name__} {condition}" if condition else type(error).__name__
    return f"{said}{_place(error)}"


def frames(error: BaseException) -> list[str]:
    """The lines of code that an error came through, without its text, which may hold data."""
    found = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in found]


def _place(error: BaseException) -> str:
    """The innermost line of this package that the error came through."""
    found, frame = "", error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        path = Path(code.co_filename)
        if _PACKAGE in path.parents:
            found = f" in {path.parent.name}/{path.name}:{frame.tb_lineno} ({code.co_name})"
        frame = frame.tb_next
    return found
