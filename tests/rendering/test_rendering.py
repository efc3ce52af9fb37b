"""Rendering: data in, bytes out; the same data gives the same bytes, and text stays text."""

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from clinical_lakehouse.rendering import charts, figures, lineage
from clinical_lakehouse.rendering.charts import Axis, Bar, Cell, Dot, Flag, Line, Rule, Span
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.lineage import Step
from clinical_lakehouse.rendering.page import (
    Chart,
    Column,
    Empty,
    Grid,
    Notice,
    Notices,
    Page,
    Section,
    Source,
    Tile,
    Tiles,
)

EVIL = "<script>alert('x')</script>"
UNIT = Axis("Share", limits=(0, 1), format="%")


def _lines() -> str:
    days = [(date(2024, 1, d), d / 31, d / 40, d / 25) for d in range(1, 30, 3)]
    return charts.lines(
        [Line("Model", days), Line(EVIL, [(d[0], 0.2) for d in days], "step")],
        (Axis("Day", "time"), UNIT),
        rules=[Rule(0.5, EVIL, "bad")],
        flags=[Flag(date(2024, 1, 4), 0.13, "high")],
    )


DRAWN = {
    "lines": _lines,
    "points": lambda: charts.lines([Line("a", [(0, 0.1, 0, 0.3), (1, 0.9)], "points")],
                                   (UNIT, UNIT)),
    "bars": lambda: charts.bars([Bar(EVIL, "Good", 3), Bar(EVIL, "Bad", 1)], Axis("Rows"),
                                {"Good": "1", "Bad": "bad"}),
    "dots": lambda: charts.dots([Dot(EVIL, "a", 0.5, 0.4, 0.6), Dot("q", "b", 0.2)], UNIT),
    "spans": lambda: charts.spans([Span(EVIL, 0, 3, "Ran")], Axis("Seconds"), {"Ran": "1"}),
    "matrix": lambda: charts.matrix([Cell(EVIL, "x", 0.5, "5")], ("Row", "Column")),
    "lineage": lambda: lineage.picture([Step(EVIL, ("bronze.a",), ("silver.b", "ops.c"))]),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWN)
def test_chart_is_the_same_twice_and_holds_no_markup_from_data(kind):
    first = DRAWN[kind]()
    assert first == DRAWN[kind]()
    assert first.startswith("<svg") and first.endswith("</svg>")
    assert "<script" not in first
    assert "&lt;script&gt;" in first or kind == "points"


@pytest.mark.parametrize("kind", DRAWN)
def test_chart_takes_its_colours_from_the_page(kind):
    colours = re.findall(r'(?:fill|stroke)="(#[0-9a-fA-F]+|rgb[^"]+)"', DRAWN[kind]())
    assert colours == []
    assert "var(--" in DRAWN[kind]()


def test_charts_on_one_page_do_not_share_clip_paths():
    other = charts.lines([Line("b", [(0, 0.2), (1, 0.4)])], (UNIT, UNIT))
    names = [set(re.findall(r'id="(clip[^"]+)"', svg)) for svg in (DRAWN["points"](), other)]
    assert all(names) and not names[0] & names[1]
    assert all(f"url(#{name})" in other for name in names[1])


def test_chart_does_not_depend_on_the_zone_of_the_machine(tmp_path):
    code = (
        "import sys; from datetime import date;"
        "from clinical_lakehouse.rendering.charts import *;"
        "points = [(date(2024, m, 1), m) for m in range(1, 13)];"
        "sys.stdout.write(lines([Line('a', points)], (Axis('t', 'time'), Axis('n'))))"
    )
    source = str(Path(charts.__file__).parents[2])
    drawn = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                       env={"PYTHONPATH": source, "TZ": zone, "HOME": str(tmp_path)}).stdout
        for zone in ("UTC", "America/Los_Angeles")
    ]  # fmt: skip
    assert drawn[0] == drawn[1]
    assert "Jan 2024" in drawn[0]


def _page() -> Page:
    grid = Grid("", (Column("Name"), Column("State", "state")), ((EVIL, "failed"),))
    source = Source(("SELECT a < b FROM t",), {"model": EVIL})
    blocks = (
        Chart(EVIL, DRAWN["bars"](), grid, EVIL, source),
        grid,
        Tiles((Tile(EVIL, EVIL, EVIL, "good"),), source),
        Notices((Notice("bad", EVIL, EVIL, EVIL),)),
        Empty(EVIL, EVIL),
    )
    at = datetime(2024, 6, 30, 12, tzinfo=UTC)
    return Page(EVIL, EVIL, at, EVIL, (Section(EVIL, EVIL, blocks),), (EVIL,))


def test_every_text_on_a_page_is_escaped():
    html = render(_page()).decode()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 20


def test_same_page_is_the_same_bytes():
    assert render(_page()) == render(_page())


def test_statement_stands_beside_what_it_made():
    html = render(_page()).decode()
    assert "<pre>SELECT a &lt; b FROM t</pre>" in html
    assert "As of 30 Jun 2024 12:00 UTC" in html
    assert '<span class="state bad">failed</span>' in html


def test_lineage_follows_the_way_of_the_data():
    steps = [
        Step("score", ("gold.a",), ("gold.b",)),
        Step("watch", ("gold.b",), ("ops.alert",)),
        Step("publish", ("bronze.a",), ("silver.a", "ops.bookmark")),
        Step("land", ("ops.file",), ("bronze.a",)),
    ]
    assert [s.task for s in lineage.in_order(steps)] == ["land", "publish", "score", "watch"]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (figures.count(1234567), "1,234,567"),
        (figures.count(None), "–"),
        (figures.percent(0.99996), ">99.9%"),
        (figures.percent(1.0), "100%"),
        (figures.percent(0.0001), "<0.1%"),
        (figures.percent(0.123), "12.3%"),
        (figures.number(-0.5, 1), "−0.5"),
        (figures.interval(0.1, None), "–"),
        (figures.duration(3.04), "3.0 s"),
        (figures.duration(59.7), "1 min 00 s"),
        (figures.duration(185), "3 min 05 s"),
        (figures.duration(7800), "2 h 10 min"),
        (figures.people(10), "<11"),
        (figures.people(11), "11"),
        (figures.people(0), "0"),
        (figures.day(date(2024, 3, 5)), "5 Mar 2024"),
    ],
)
def test_figures_read_as_people_write_them(shown, wanted):
    assert shown == wanted
