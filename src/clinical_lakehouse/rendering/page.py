"""What a page is made of, as frozen data: sections of blocks, each with the SQL behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Source:
    """Where a block's figures come from: the statements that were run and the values bound."""

    statements: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A table's column; kind is text, number, code or state (shown as a coloured word)."""

    title: str
    kind: str = "text"


@dataclass(frozen=True)
class Grid:
    """A table: cells are text already formatted for people."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Chart:
    """A picture (SVG markup made by `charts` or `lineage`) with its figures as a table."""

    title: str
    svg: str
    figures: Grid
    caption: str = ""
    source: Source | None = None
    is_half_width: bool = False


@dataclass(frozen=True)
class Tile:
    """One headline figure; tone is plain, good, watch or bad."""

    label: str
    value: str
    detail: str = ""
    tone: str = "plain"


@dataclass(frozen=True)
class Tiles:
    """Headline figures side by side."""

    tiles: tuple[Tile, ...]
    source: Source | None = None


@dataclass(frozen=True)
class Notice:
    """One thing to know or do; tone is plain, good, watch or bad."""

    tone: str
    title: str
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Notices:
    """Things to know or do, most urgent first."""

    notices: tuple[Notice, ...]
    source: Source | None = None


@dataclass(frozen=True)
class Empty:
    """Nothing to show yet, and what makes it."""

    title: str
    text: str


Block = Grid | Chart | Tiles | Notices | Empty


@dataclass(frozen=True)
class Section:
    """A heading, one sentence that says what is seen, and blocks."""

    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """One self-contained page; `as_of` and `run_id` are those of every figure on it."""

    title: str
    subtitle: str
    as_of: datetime
    run_id: str
    sections: tuple[Section, ...]
    badges: tuple[str, ...] = ()
