"""What charts are drawn from: axes and marks, as frozen data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

Value = float | str | date | datetime | None


@dataclass(frozen=True)
class Axis:
    """An axis: its title (with unit), kind (number, time or name), d3 format and limits."""

    title: str
    kind: str = "number"
    format: str | None = None
    limits: tuple[float, float] | None = None
    ticks: int = 5


@dataclass(frozen=True)
class Line:
    """One series: points (x, y) or (x, y, low, high); style is line, dashed, step or points."""

    name: str
    points: Sequence[tuple[Value, ...]]
    style: str = "line"
    tone: str | None = None


@dataclass(frozen=True)
class Rule:
    """A horizontal line to hold figures against."""

    value: float
    label: str
    tone: str = "muted"
    is_below: bool = False  # its label lies below the line


@dataclass(frozen=True)
class Flag:
    """A point that needs attention: where it is and why."""

    x: Value
    y: float
    label: str
    tone: str = "bad"


@dataclass(frozen=True)
class Bar:
    """A part of a horizontal bar."""

    name: str
    part: str
    value: float


@dataclass(frozen=True)
class Dot:
    """A figure with its limits, in a panel and a row of it."""

    panel: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Span:
    """Something that took from `start` to `end`, in a lane."""

    lane: str
    start: float
    end: float
    part: str


@dataclass(frozen=True)
class Cell:
    """A cell of a matrix: depth (0-1) is its shade, text what it says."""

    row: str
    column: str
    depth: float
    text: str
