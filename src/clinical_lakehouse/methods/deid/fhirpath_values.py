"""What FHIRPath works on: collections of nodes and plain values, and dates of any precision."""

import re
from datetime import UTC, datetime, timedelta
from functools import total_ordering
from typing import Any

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.deid.fhir_tree import Node

Items = list[Any]
MOMENTS = frozenset(("date", "dateTime", "instant"))
_MOMENT = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?"
    r"(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.\d+)?)?)?)?(Z|[+-]\d{2}:\d{2})?T?"
)


@total_ordering
class Moment:
    """A date or time as written, compared by the first instant it may mean (UTC by default).

    FHIRPath leaves comparisons of unequal precision empty; Microsoft's tool compares them so.
    """

    def __init__(self, text: str, start: datetime) -> None:
        self.text, self.start = text, start

    @classmethod
    def of(cls, text: str) -> "Moment":
        """Read it; SourceError where it is no date."""
        match = _MOMENT.fullmatch(text)
        if match is None:
            raise SourceError("a date is not written as FHIR R4 wants it; correct its source")
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        zone = match[7] or "Z"
        try:
            start = datetime(year, month or 1, day or 1, hour, minute, second, tzinfo=UTC)
        except ValueError:
            raise SourceError("a date is none of the calendar; correct its source") from None
        if zone != "Z":
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
            start = start - offset if zone[0] == "+" else start + offset
        return cls(text, start)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and self.start == other.start

    def __lt__(self, other: "Moment") -> bool:
        return self.start < other.start

    def __hash__(self) -> int:
        return hash(self.start)


def plain(item: Any) -> Any:
    """A node's value as a plain one; a value stays what it is."""
    if not isinstance(item, Node):
        return item
    is_moment = item.type in MOMENTS and isinstance(item.value, str)
    return Moment.of(item.value) if is_moment else item.value


def written(item: Any) -> Any:
    """A plain value as JSON writes it."""
    return item.text if isinstance(item, Moment) else item.value if isinstance(item, Node) else item
