"""The way of the data as a picture: a row for each task, a lane for each layer of tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from clinical_lakehouse.rendering.style import TONES

LAYERS = ("bronze", "vault", "silver", "omop", "gold", "ops")
_LABEL, _LANE, _ROW, _HEAD, _RADIUS = 262, 84, 25, 40, 8.5
_SIDE = 15  # how far reads lie left, and writes right, of the middle of a lane


@dataclass(frozen=True)
class Step:
    """A task with the tables (`schema.table`) it reads and writes."""

    task: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def picture(steps: Sequence[Step]) -> str:
    """Rings number the tables a task reads in a layer, discs those it writes."""
    lanes = [n for n in LAYERS if any(_of(n, (*s.reads, *s.writes)) for s in steps)]
    width, height = _LABEL + _LANE * len(lanes), _HEAD + _ROW * len(steps) + 4
    parts = [_lane(name, place, height) for place, name in enumerate(lanes)]
    parts += [_step(step, place, lanes) for place, step in enumerate(steps)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-size="12" '
        f'font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )


def alone(steps: Sequence[Step]) -> str:
    """The picture with its own colours, light and dark, for a file of its own."""
    drawn = picture(steps)
    start = drawn.index(">") + 1
    return f"{drawn[:start]}<style>{TONES}</style>{drawn[start:]}"


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Steps along the way of the data: by the layer they fill, then by the layers they read."""

    def place(step: Step) -> tuple[int, list[int], str]:
        written = [_depth(t) for t in step.writes if not t.startswith("ops.")]
        read = sorted(_depth(t) for t in step.reads if not t.startswith("ops."))
        return (max(written, default=len(LAYERS)), read, step.task)

    return sorted(steps, key=place)


def _depth(table: str) -> int:
    layer = table.split(".")[0]
    return LAYERS.index(layer) if layer in LAYERS else len(LAYERS)


def _of(layer: str, tables: Sequence[str]) -> list[str]:
    return sorted(table for table in tables if table.split(".")[0] == layer)


def _middle(place: int) -> float:
    return _LABEL + _LANE * (place + 0.5)


def _lane(name: str, place: int, height: int) -> str:
    x = _middle(place)
    return (
        f'<rect x="{x - _LANE / 2 + 3}" y="0" width="{_LANE - 6}" height="{height}" rx="6" '
        f'fill="var(--raised)"/><text x="{x}" y="20" text-anchor="middle" fill="var(--soft)" '
        f'font-weight="600">{escape(name)}</text>'
    )


def _step(step: Step, row: int, lanes: Sequence[str]) -> str:
    """A task's name, the line from what it reads to what it writes, and its rings and discs."""
    y = _HEAD + _ROW * row + _ROW / 2
    rings = [(_middle(n) - _SIDE, _of(lane, step.reads)) for n, lane in enumerate(lanes)]
    discs = [(_middle(n) + _SIDE, _of(lane, step.writes)) for n, lane in enumerate(lanes)]
    marks = [(x, tables, False) for x, tables in rings if tables]
    marks += [(x, tables, True) for x, tables in discs if tables]
    ends = [x for x, _, _ in marks]
    line = (
        f'<path d="M{min(ends)},{y}H{max(ends)}" stroke="var(--s1)" stroke-opacity="0.45" '
        'stroke-width="1.5"/>'
        if marks
        else ""
    )
    name = (
        f'<text x="{_LABEL - 14}" y="{y + 4}" text-anchor="end" fill="var(--ink)">'
        f"{escape(step.task)}</text>"
    )
    return name + line + "".join(_mark(x, y, tables, written) for x, tables, written in marks)


def _mark(x: float, y: float, tables: Sequence[str], is_written: bool) -> str:
    fill, ink = ("var(--s1)", "var(--surface)") if is_written else ("var(--surface)", "var(--ink)")
    verb = "writes" if is_written else "reads"
    return (
        f"<g><title>{verb} {escape(', '.join(tables))}</title>"
        f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="{fill}" stroke="var(--s1)" '
        f'stroke-width="1.5"/><text x="{x}" y="{y + 3.5}" text-anchor="middle" font-size="10" '
        f'fill="{ink}">{len(tables)}</text></g>'
    )
