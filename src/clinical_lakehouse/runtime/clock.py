"""The wall clock: run ids, durations and the default as_of; a task looks at `run.as_of` alone."""

import uuid
from datetime import UTC, datetime

from clinical_lakehouse.errors import UsageError


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """A fresh run id; ids sort by the time they were made."""
    return f"{wall_clock():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def parse_as_of(text: str) -> datetime:
    """An ISO 8601 date or time as UTC; without an offset it is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("as-of must be an ISO date or time, e.g. 2024-06-30T06:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
