"""Listening at an address: where it is taken, one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager

from clinical_lakehouse.errors import UsageError


@contextmanager
def listening_at(place: tuple[str, int]) -> Iterator[None]:
    """Around what binds `place` (host and port); UsageError where that cannot be."""
    try:
        yield
    except OSError as error:
        where = f"{place[0]}:{place[1]}"
        raise UsageError(f"cannot listen at {where}: {error.strerror}; choose --port") from None
