"""Charts as static SVG with one look: colours are CSS variables, so light and dark are one file."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import altair as alt
import vl_convert

from clinical_lakehouse.rendering.marks import Axis, Bar, Cell, Dot, Flag, Line, Rule, Span, Value

FULL_WIDTH, HALF_WIDTH = 700, 310
_COLOURS = 6
# What a tone looks like: the variables are defined in `style`, for light, dark and print.
_TONES = {
    "muted": "var(--muted)",
    "good": "var(--good)",
    "watch": "var(--watch)",
    "bad": "var(--bad)",
    "ink": "var(--ink)",
}
_ENDS = ("low", "value")
_LONGEST = 280
_MONTHS_FROM_DAYS = 230
_CLIP = re.compile(r"\bclip\d+\b")
# The whole picture has one name for screen readers, and its figures stand in a table.
_UNHEARD = re.compile(
    r' (?:(?:role|class|aria-[a-z]+|pointer-events|xmlns:xlink)="[^"]*"'
    r'|(?:stroke-width|opacity)="1")'
)
_FINE = re.compile(r"(\d\.\d)\d+")  # a tenth of a pixel is more than a screen shows
_FONT = "system-ui, sans-serif"


def lines(
    series: Sequence[Line],
    axes: tuple[Axis, Axis],
    *,
    rules: Sequence[Rule] = (),
    flags: Sequence[Flag] = (),
    size: tuple[int, int] = (FULL_WIDTH, 260),
) -> str:
    """Lines, steps, bands and points over a number or a time, with limits and flagged points."""
    x, y = _x(axes[0], [point[0] for line in series for point in line.points]), _y(axes[1])
    named = [line.name for line in series if line.style != "dashed"]
    names = [line.name for line in series]
    colour = _colour("series", (names, _line_colours(series)), named, size[0])
    rows = [_point(line, point) for line in series for point in line.points]
    layers = _limits(series, rows, (x, _y(axes[1], "low")), colour) + _strokes(
        series, rows, (x, y), colour
    )
    layers += [layer for rule in rules for layer in _ruled(rule, size[0], y)]
    if flags:
        layers += _flagged(flags, x, y)
    return _svg(alt.layer(*layers), size)


def bars(parts: Sequence[Bar], axis: Axis, tones: Mapping[str, str]) -> str:
    """Horizontal bars, stacked by part in the order of `tones` (part to tone or colour number)."""
    names, order = list(dict.fromkeys(p.name for p in parts)), list(tones)
    rows = [
        {"name": p.name, "part": p.part, "value": p.value, "place": order.index(p.part)}
        for p in parts
    ]
    colour = _colour("part", (order, [_paint(tones[part]) for part in order]))
    chart = (
        alt.Chart(_data(rows))
        .mark_bar(height=14)
        .encode(
            y=alt.Y("name:N", sort=names, title=None, axis=_name_axis(names)),
            x=alt.X("value:Q", title=axis.title, axis=_axis(axis)),
            color=colour,
            order=alt.Order("place:Q"),
        )
    )
    return _svg(chart, (FULL_WIDTH - round(_extent(names)), 24 * max(len(names), 1)))


def dots(figures: Sequence[Dot], axis: Axis, columns: int = 2, limit: float | None = None) -> str:
    """Figures with their limits, a panel for each measure, rows in the order given.

    Below `limit`, where there is one, a figure is marked as bad.
    """
    panels = []
    room = FULL_WIDTH - round(_extent([f.name for f in figures]))
    width = (room - 30 * (columns - 1)) // columns
    for place, panel in enumerate(dict.fromkeys(f.panel for f in figures)):
        own = [f for f in figures if f.panel == panel]
        panels.append(_dot_panel(own, axis, (width, limit), is_labelled=place % columns == 0))
    return _svg(alt.concat(*panels, columns=columns, spacing=30), None)


def spans(pieces: Sequence[Span], axis: Axis, tones: Mapping[str, str]) -> str:
    """What ran when: one lane each, from start to end."""
    lanes = list(dict.fromkeys(piece.lane for piece in pieces))
    rows = [{"lane": p.lane, "start": p.start, "end": p.end, "part": p.part} for p in pieces]
    known = [part for part in tones if any(p.part == part for p in pieces)]
    chart = (
        alt.Chart(_data(rows))
        .mark_bar(height=10, cornerRadius=2, minBandSize=2)
        .encode(
            y=alt.Y("lane:N", sort=lanes, title=None, axis=_name_axis(lanes)),
            x=alt.X("start:Q", title=axis.title, axis=_axis(axis)),
            x2="end:Q",
            color=_colour("part", (known, [_paint(tones[part]) for part in known])),
        )
    )
    return _svg(chart, (FULL_WIDTH - round(_extent(lanes)), 19 * max(len(lanes), 1)))


def matrix(cells: Sequence[Cell], axes: tuple[str, str]) -> str:
    """A matrix of shaded cells with their figures written in them."""
    rows = [{"row": c.row, "column": c.column, "depth": c.depth, "text": c.text} for c in cells]
    chart = alt.Chart(_data(rows)).encode(
        y=alt.Y("row:N", sort=None, title=axes[0], axis=_name_axis()),
        x=alt.X("column:N", sort=None, title=axes[1], axis=_name_axis(labelAngle=0)),
    )
    shade = alt.Opacity("depth:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 0.6]), legend=None)
    boxes = chart.mark_rect(color="var(--s1)", stroke="var(--surface)").encode(opacity=shade)
    words = chart.mark_text(color="var(--ink)").encode(text="text:N")
    high, wide = (len({getattr(c, side) for c in cells}) for side in ("row", "column"))
    return _svg(boxes + words, (min(FULL_WIDTH - 120, 90 * wide), 28 * high))


def _dot_panel(
    figures: Sequence[Dot], axis: Axis, shape: tuple[int, float | None], is_labelled: bool
) -> alt.LayerChart:
    names, (width, limit) = [f.name for f in figures], shape
    bad = [limit is not None and f.value < limit for f in figures]
    rows = [
        {"name": f.name, "value": f.value, "low": f.low, "high": f.high, "is_bad": is_bad}
        for f, is_bad in zip(figures, bad, strict=True)
    ]
    labels = _name_axis(names) if is_labelled else _name_axis(labels=False)
    scale = alt.Scale(domain=list(axis.limits) if axis.limits else alt.Undefined)
    chart = alt.Chart(_data(rows)).encode(y=alt.Y("name:N", sort=names, title=None, axis=labels))
    whisker = chart.mark_rule(color="var(--s1)", opacity=0.4, strokeWidth=5, strokeCap="round")
    point = chart.mark_point(filled=True, size=52, opacity=1).encode(
        color=alt.condition("datum.is_bad", alt.value("var(--bad)"), alt.value("var(--s1)"))
    )
    x = [alt.X(f, type="quantitative", title=None, scale=scale, axis=_axis(axis)) for f in _ENDS]
    layers = [whisker.encode(x=x[0], x2="high:Q"), point.encode(x=x[1])]
    if limit is not None:
        held = alt.Chart(_data([{"value": limit}])).encode(x=x[1])
        layers.insert(0, held.mark_rule(color="var(--bad)", strokeDash=[4, 3]))
    title = alt.TitleParams(figures[0].panel, anchor="start", offset=6)
    return alt.LayerChart(layer=layers, width=width, height=20 * len(figures), title=title)


def _limits(
    series: Sequence[Line],
    rows: list[dict[str, Any]],
    axes: tuple[alt.X, alt.Y],
    colour: alt.Color,
) -> list[alt.Chart]:
    """Bands behind lines and whiskers through points, where figures have limits."""
    layers = []
    for line in series:
        own = [row for row in rows if row["series"] == line.name]
        limited = [row for row in own if row["low"] is not None and row["high"] is not None]
        if not limited:
            continue
        chart = alt.Chart(_data(limited))
        if line.style == "points":
            marked = chart.mark_rule(opacity=0.4, strokeWidth=3, clip=True)
        else:
            marked = chart.mark_area(opacity=0.16, clip=True)
        layers.append(marked.encode(x=axes[0], y=axes[1], y2="high:Q", color=colour))
    return layers


def _strokes(
    series: Sequence[Line],
    rows: list[dict[str, Any]],
    axes: tuple[alt.X, alt.Y],
    colour: alt.Color,
) -> list[alt.Chart]:
    """One layer for each line, so that the first named lies on top."""
    layers = []
    for line in reversed(series):
        chart = alt.Chart(_data([row for row in rows if row["series"] == line.name]))
        if line.style == "points":
            marked = chart.mark_point(filled=True, size=50, opacity=1, clip=True)
        else:
            marked = chart.mark_line(
                interpolate="step-after" if line.style == "step" else "linear",
                strokeDash=[5, 4] if line.style == "dashed" else [1, 0],
                strokeWidth=1.4 if line.tone == "muted" else 2,
                clip=True,
            )
        layers.append(marked.encode(x=axes[0], y=axes[1], color=colour))
    return layers


def _ruled(rule: Rule, width: int, y: alt.Y) -> list[alt.Chart]:
    chart = alt.Chart(_data([{"y": rule.value, "label": rule.label}]))
    line = chart.mark_rule(color=_TONES[rule.tone], strokeDash=[4, 3], strokeWidth=1.2)
    words = chart.mark_text(
        align="right",
        baseline="top" if rule.is_below else "bottom",
        dy=4 if rule.is_below else -3,
        color=_TONES[rule.tone],
    )
    return [line.encode(y=y), words.encode(y=y, x=alt.value(width - 2), text="label:N")]


def _flagged(flags: Sequence[Flag], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    layers = []
    for tone in dict.fromkeys(flag.tone for flag in flags):
        own = [flag for flag in flags if flag.tone == tone]
        rows = [{"x": _plain(f.x), "y": f.y, "label": f.label} for f in own]
        chart = alt.Chart(_data(rows)).encode(x=x, y=y)
        points = chart.mark_point(
            filled=True, size=70, color=_TONES[tone], stroke="var(--surface)", opacity=1
        )
        words = chart.mark_text(dy=-13, color=_TONES[tone], fontWeight=600).encode(text="label:N")
        layers += [points, words] if any(f.label for f in own) else [points]
    return layers


def _point(line: Line, point: tuple[Value, ...]) -> dict[str, Any]:
    low, high = point[2:4] if len(point) >= 4 else (None, None)
    return {"series": line.name, "x": _plain(point[0]), "y": point[1], "low": low, "high": high}


def _plain(value: Value) -> Value:
    """A date as the UTC text that Vega reads in no other zone."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{value.isoformat()}T00:00:00Z" if isinstance(value, date) else value


def _x(axis: Axis, values: Sequence[Value]) -> alt.X:
    if axis.kind == "time":
        ticks = alt.Axis(
            format=axis.format or _time_format(values),
            tickCount=axis.ticks,
            labelOverlap="greedy",
            labelSeparation=18,
        )
        return alt.X("x:T", title=axis.title, scale=alt.Scale(type="utc"), axis=ticks)
    limits = list(axis.limits) if axis.limits else alt.Undefined
    scale = alt.Scale(domain=limits, nice=axis.limits is None, zero=False)
    return alt.X("x:Q", title=axis.title, scale=scale, axis=_axis(axis))


def _time_format(values: Sequence[Value]) -> str:
    """Days where the span is short, so that no two ticks read alike; else months."""
    days = [v.toordinal() for v in values if isinstance(v, date)]
    return "%b %Y" if days and max(days) - min(days) > _MONTHS_FROM_DAYS else "%-d %b"


def _y(axis: Axis, field: str = "y") -> alt.Y:
    limits = list(axis.limits) if axis.limits else alt.Undefined
    scale = alt.Scale(domain=limits, nice=axis.limits is None)
    return alt.Y(f"{field}:Q", title=axis.title, scale=scale, axis=_axis(axis))


def _axis(axis: Axis) -> alt.Axis:
    return alt.Axis(format=axis.format or alt.Undefined, tickCount=axis.ticks, labelOverlap=True)


def _name_axis(names: Sequence[str] = (), **options: Any) -> alt.Axis:
    """An axis of names with room for the longest, in whatever font the reader's browser has."""
    wide = _extent(names)
    return alt.Axis(
        grid=False, ticks=False, domain=False, labelLimit=_LONGEST, minExtent=wide, **options
    )


def _extent(names: Sequence[str]) -> float:
    return min(_LONGEST, 7.2 * max((len(name) for name in names), default=0))


def _line_colours(series: Sequence[Line]) -> list[str]:
    numbers = iter(range(1, len(series) + 1))
    return [_TONES[s.tone] if s.tone else _paint(str(next(numbers))) for s in series]


def _paint(tone: str) -> str:
    """A tone by name, or the palette's colour of a number from 1."""
    return _TONES.get(tone) or f"var(--s{(int(tone) - 1) % _COLOURS + 1})"


def _colour(
    field: str,
    paints: tuple[Sequence[str], Sequence[str]],
    named: Sequence[str] | None = None,
    width: int = FULL_WIDTH,
) -> alt.Color:
    """The colour of each name; the legend leaves out dashed lines, which captions explain."""
    names, colours = paints
    shown = list(names if named is None else named)
    wide = 30 + 7 * max((len(name) for name in shown), default=0)
    legend = alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        columns=max(1, min(6, width // wide)),
        values=shown,
    )
    return alt.Color(
        field=field,
        type="nominal",
        sort=list(names),
        scale=alt.Scale(domain=list(names), range=list(colours)),
        legend=legend if len(shown) > 1 else None,
    )


def _data(rows: list[dict[str, Any]]) -> alt.Data:
    return alt.Data(values=rows)


def _svg(chart: alt.TopLevelMixin, size: tuple[int, int] | None) -> str:
    if size is not None:
        chart = chart.properties(width=size[0], height=size[1])
    drawn = vl_convert.vegalite_to_svg(chart.configure(**_look()).to_dict())
    heard = _UNHEARD.sub("", drawn[drawn.index("<svg") :])
    within = re.compile(r'(?<= )(?:d|transform|[xy][12]?|width|height)="[^"]*"')
    return _with_own_names(within.sub(lambda found: _FINE.sub(r"\1", found.group()), heard))


def _with_own_names(svg: str) -> str:
    """Clip paths named by what is drawn: Vega counts them through the life of the process."""
    order = list(dict.fromkeys(_CLIP.findall(svg)))
    plain = _CLIP.sub(lambda found: f"clip-{order.index(found.group())}", svg)
    digest = hashlib.sha256(plain.encode()).hexdigest()[:10]
    return plain.replace("clip-", f"clip-{digest}-").replace(f"clip-{digest}-path", "clip-path")


def _look() -> dict[str, Any]:
    words = {"labelColor": "var(--soft)", "titleColor": "var(--soft)", "labelFontSize": 12}
    return {
        "background": "transparent",
        "font": _FONT,
        "aria": False,
        "view": {"stroke": None},
        "padding": {"left": 10, "right": 10, "top": 4, "bottom": 4},
        "axis": {
            **words,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "gridColor": "var(--grid)",
            "domainColor": "var(--muted)",
            "tickColor": "var(--muted)",
        },
        "legend": {**words, "symbolStrokeWidth": 3, "labelLimit": 300, "columnPadding": 34},
        "title": {"color": "var(--ink)", "fontSize": 12.5, "fontWeight": 600},
        "text": {"fontSize": 12},
    }
