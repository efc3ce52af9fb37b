"""Section of a model's page: for whom it holds, by site and group, over time."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.pages.disclosure import CAPTION, hidden
from clinical_lakehouse.pages.metric_names import named
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.charts import Axis, Line, Rule
from clinical_lakehouse.rendering.page import Block, Chart, Column, Grid, Section

_RATES = ("auroc", "selection_rate", "true_positive_rate", "false_positive_rate")
_DRAWN = ("observed_expected", "true_positive_rate")
_MOST_LINES = 8  # more cannot be told apart; the table has them all


def for_whom(answer: Answer) -> Section:
    """Observed over expected and rates of sites and groups: the last window, and over time."""
    title = "For whom"
    lead = (
        "Observed over expected of those nobody acted on, and rates as if nobody had been. "
        "Intervals hold for all groups of an attribute together."
    )
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    last = max(row["window_end_date"] for row in answer.rows)
    table = _last(answer, [row for row in answer.rows if row["window_end_date"] == last])
    return Section(title, lead, (table, *_drawn(answer)))


def _last(answer: Answer, rows: Sequence[Row]) -> Grid:
    titles = ("Observed / expected", "Interval", *map(named, _RATES), "Subjects", "Outcomes")
    columns = (Column("By"), Column("Group"), Column("State", "state"),
               *(Column(title, "number") for title in titles))  # fmt: skip
    cells = tuple(cell for _, part in groupby(rows, lambda r: r["attribute"])
                  for cell in _cells(list(part)))  # fmt: skip
    until = figures.day(rows[0]["window_end_date"])
    return Grid(f"Window to {until}", columns, cells, CAPTION, answer.source)


def _cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    small = hidden({row["group_value"]: row["row_count"] for row in rows})
    for group, part in groupby(rows, lambda row: row["group_value"]):
        by = {row["metric"]: row for row in part}
        ratio = by["observed_expected"]
        is_small = group in small
        yield (
            ratio["attribute"].replace("_", " "),
            group,
            "over limit" if ratio["is_over_limit"] else "changed" if ratio["is_changed"] else "",
            figures.number(ratio["value"]),
            figures.interval(ratio["low"], ratio["high"]),
            *(figures.number(by[name]["value"] if name in by else None) for name in _RATES),
            figures.NOT_KNOWN if is_small else figures.people(ratio["row_count"]),
            figures.NOT_KNOWN if is_small else figures.people(ratio["event_count"]),
        )


def _drawn(answer: Answer) -> Iterator[Block]:
    for attribute, rows in groupby(answer.rows, key=lambda row: row["attribute"]):
        mine = [row for row in rows if row["value"] is not None]
        if len({row["group_value"] for row in mine}) > _MOST_LINES:
            continue
        for metric in _DRAWN:
            lines = [
                Line(group, [(r["window_end_date"], r["value"], None, None) for r in part])
                for group, part in _by_group(mine, metric)
            ]
            if any(len(line.points) > 1 for line in lines):
                yield _chart(answer, (attribute, metric), lines)


def _by_group(rows: Sequence[Row], metric: str) -> Iterator[tuple[str, list[Row]]]:
    own = [row for row in rows if row["metric"] == metric]
    return ((group, list(part)) for group, part in groupby(own, lambda row: row["group_value"]))


def _chart(answer: Answer, what: tuple[str, str], lines: Sequence[Line]) -> Chart:
    attribute, metric = what
    axes = (Axis("Window ending", "time", ticks=8), Axis(named(metric)))
    rules = [Rule(1.0, "as expected")] if metric == "observed_expected" else []
    svg = charts.lines(lines, axes, rules=rules, size=(charts.FULL_WIDTH, 200))
    columns = (Column("Group"), Column("To"), Column("Value", "number"))
    cells = tuple(
        (line.name, figures.day(point[0]), figures.number(point[1]))  # type: ignore[arg-type]
        for line in lines for point in line.points
    )  # fmt: skip
    title = f"{named(metric)} by {attribute.replace('_', ' ')}"
    return Chart(title, svg, Grid("", columns, cells), "", answer.source)
