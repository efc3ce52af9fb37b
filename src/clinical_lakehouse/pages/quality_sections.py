"""Sections of the page of data quality, each from the answers it is given."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from clinical_lakehouse.methods.quality.trends import LEAST_POINTS
from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.marks import Axis, Bar, Dot, Line, Rule
from clinical_lakehouse.rendering.page import (
    Block,
    Chart,
    Column,
    Grid,
    Notice,
    Notices,
    Section,
    Tile,
    Tiles,
)

_STATES = {"passed": "good", "failed": "bad", "not_judged": "watch", "not_applicable": "muted"}
_SITES_DRAWN, _PLACES_DRAWN, _KEYS_SHOWN = 5, 20, 10  # colours are six
_ALL = "All tables"


def at_a_glance(scores: Answer, states: Answer, failures: Answer, lowest: float) -> Section:
    """Headline figures, and how many checks of each kind pass."""
    title = "At a glance"
    lead = "What was judged, how much of it passed, and how many rows wait to be mended."
    if not scores.rows:
        return Section(title, lead, (scores.empty(title),))
    tables = [row for row in scores.rows if row["dimension"] == "table"]
    low = sum(row["score"] < lowest for row in tables)
    counts = {state: 0 for state in _STATES}
    for row in states.rows:
        counts[row["state"]] += row["check_count"]
    judged = counts["passed"] + counts["failed"] + counts["not_judged"]
    waiting = sum(row["row_count"] for row in failures.rows)
    oldest = min((row["oldest_at"] for row in failures.rows), default=None)
    mean = sum(row["score"] for row in tables) / max(len(tables), 1)
    detail = f"{low} of {len(tables)} tables below {lowest:.0%}"
    since = f"the oldest since {figures.day(oldest)}" if oldest else "none"
    tiles = (
        Tile("Score, mean of tables", figures.percent(mean), detail, "watch" if low else "good"),
        Tile("Checks passed", figures.percent(counts["passed"] / max(judged, 1)),
             f"{counts['passed']:,} of {judged:,} that judged rows"),
        Tile("Checks failed", figures.count(counts["failed"] + counts["not_judged"]),
             f"{counts['not_judged']} could not be judged", "bad" if counts["failed"] else "good"),
        Tile("Rows still failing", figures.count(waiting), since),
    )  # fmt: skip
    return Section(title, lead, (Tiles(tiles, scores.source), _by_kind(states)))


def _by_kind(states: Answer) -> Chart:
    """Checks by kind, as DQD's overview shows them by category."""
    found: dict[str, dict[str, int]] = {}
    for row in states.rows:
        own = found.setdefault(f"{row['category']}: {row['kind'].replace('_', ' ')}", {})
        own[row["state"]] = own.get(row["state"], 0) + row["check_count"]
    bars = [
        Bar(name, state.replace("_", " "), own[state])
        for name, own in found.items() for state in _STATES if state in own
    ]  # fmt: skip
    tones = {state.replace("_", " "): tone for state, tone in _STATES.items()}
    columns = (Column("Category: kind"), *(Column(s.capitalize(), "number") for s in tones),
               Column("Passed", "number"))  # fmt: skip
    rows = tuple(
        (name, *(figures.count(own.get(state, 0)) for state in _STATES), _passed(own))
        for name, own in found.items()
    )
    caption = (
        "Not applicable: no row to judge. Not judged: a column is gone. Categories are those of "
        "Kahn et al. 2016."
    )
    svg = charts.bars(bars, Axis("Checks"), tones)
    return Chart("Checks by kind", svg, Grid("", columns, rows), caption, states.source)


def _passed(own: Mapping[str, int]) -> str:
    judged = sum(count for state, count in own.items() if state != "not_applicable")
    return figures.percent(own.get("passed", 0) / judged) if judged else figures.NOT_KNOWN


def failing(answer: Answer, failures: Answer) -> Section:
    """The checks that fail, gravest first, and whose rows wait."""
    title = "What fails"
    lead = "Gravest first. Keys find the rows in ops.quality_failure; no value is shown."
    if not answer.rows:
        quiet = Notices((Notice("good", "No check fails.", ""),), answer.source)
        return Section(title, lead, (answer.empty(title) if answer.missing else quiet,))
    titles = ("Failing", "Judged", "Share", "Tolerated")
    columns = (
        Column("Table and check", "code"), Column("Severity", "state"), Column("Kind"),
        *(Column(t, "number") for t in titles), Column("Owner"),
    )  # fmt: skip
    rows = tuple(_failing_row(row) for row in answer.rows)
    more = answer.rows[0]["all_count"] - len(rows)
    caption = f"{more:,} more fail; the source finds them." if more else ""
    grid = Grid("Checks that fail", columns, rows, caption, answer.source)
    return Section(title, lead, (grid, *_keys(answer), *_waiting(failures)))


def _failing_row(row: Row) -> tuple[str, ...]:
    share = row["failed_count"] / row["row_count"] if row["row_count"] else None
    return (
        f"{row['table_name']} {row['check_name']}",
        row["severity"],
        (row["kind"] or "").replace("_", " "),
        figures.count(row["failed_count"]),
        figures.count(row["row_count"]),
        figures.percent(share, 2),
        figures.percent(row["max_failed_ratio"], 2),
        row["owner"] or "",
    )


def _keys(answer: Answer) -> Sequence[Block]:
    known = [row for row in answer.rows if row["sample_keys"]][:_KEYS_SHOWN]
    if not known:
        return ()
    rows = tuple(
        (f"{row['table_name']} {row['check_name']}", ", ".join(row["sample_keys"][:2]))
        for row in known
    )
    caption = "The first two; clinical-lakehouse quality history CHECK --failing lists all."
    columns = (Column("Table and check", "code"), Column("Keys", "code"))
    return (Grid("Rows of the gravest", columns, rows, caption, answer.source),)


def _waiting(failures: Answer) -> Sequence[Block]:
    if not failures.rows:
        return ()
    columns = (Column("Owner"), Column("Severity", "state"), Column("Checks", "number"),
               Column("Rows", "number"), Column("Oldest since"))  # fmt: skip
    rows = tuple(
        (row["owner"], row["severity"], figures.count(row["check_count"]),
         figures.count(row["row_count"]), figures.day(row["oldest_at"]))
        for row in failures.rows
    )  # fmt: skip
    caption = "A row counts once for each check that it fails; 10,000 of a check are listed."
    return (Grid("Rows that wait, by owner", columns, rows, caption, failures.source),)


def steps(answer: Answer, runs: Answer) -> Section:
    """What left its usual range in this run."""
    title = "What is not as usual"
    lead = ("Held against the median and MAD of up to 12 weeks of earlier runs, by weekday; runs "
            "that stepped are left out.")  # fmt: skip
    if not answer.rows:
        ran = runs.rows[0]["run_count"] if runs.rows else 0
        quiet = Notices((_no_step(ran),), answer.source)
        return Section(title, lead, (answer.empty(title) if answer.missing else quiet,))
    titles = ("Now", "Usually", "Spread", "Earlier runs")
    columns = (Column("Table and check", "code"), Column("Where"),
               *(Column(title, "number") for title in titles))  # fmt: skip
    rows = tuple(
        (f"{row['table_name']} {row['check_name']}", _where(row), f"{row['value']:.4g}",
         f"{row['usual']:.4g}", f"{row['spread']:.2g}", figures.count(row["point_count"]))
        for row in answer.rows
    )  # fmt: skip
    caption = "Share of failing rows (0-1), or the measured figure. Spread is 1.4826 x MAD."
    return Section(title, lead, (Grid("Steps", columns, rows, caption, answer.source),))


def _no_step(ran: int) -> Notice:
    """What it means that no figure stepped, after so many runs."""
    if ran <= LEAST_POINTS:
        said = f"Too few runs to tell: {ran} so far."
        return Notice("plain", said, f"A step shows from run {LEAST_POINTS + 1} of a check on.")
    text = f"It takes {LEAST_POINTS} earlier runs of a check before a step can be seen."
    return Notice("good", "Nothing left its usual range.", text)


def _where(row: Row) -> str:
    return "all rows" if row["dimension"] == "table" else f"{row['dimension']} {row['slice']}"


def over_time(history: Answer, trends: Answer, lowest: float) -> Section:
    """The mean score and the sites', and the checks that fail most, over the last year."""
    title = "Over time"
    lead = "The last run of each day, up to a year back."
    if not history.rows:
        return Section(title, lead, (history.empty(title),))
    blocks: list[Block] = [_scores_over_time(history, lowest)]
    if trends.rows:
        blocks.append(_shares_over_time(trends))
    return Section(title, lead, tuple(blocks))


def _scores_over_time(history: Answer, lowest: float) -> Chart:
    series = _series(history.rows, "slice", "score")
    sites = sorted((n for n in series if n != _ALL), key=lambda n: series[n][-1][1])[:_SITES_DRAWN]
    drawn = [_ALL, *sites]
    lines = [
        Line(_label(name), series[name], "line" if len(series[name]) > 1 else "points")
        for name in drawn if name in series
    ]  # fmt: skip
    least = min(value for name in drawn if name in series for _, value in series[name])
    bottom = max(0.0, min(least, lowest) - 0.02)
    svg = charts.lines(
        lines, (Axis("", "time", ticks=8), Axis("Score", format=".0%", limits=(bottom, 1.0))),
        rules=[Rule(lowest, f"limit {lowest:.0%}", "bad", is_below=True)],
    )  # fmt: skip
    caption = f"The {len(sites)} sites with the lowest score now, beside the mean of all tables."
    return Chart("Score", svg, _ends(series, drawn, "Score"), caption, history.source)


def _shares_over_time(trends: Answer) -> Chart:
    rows = [{**row, "name": f"{row['table_name']} {row['check_name']}"} for row in trends.rows]
    series = _series(rows, "name", "failed_ratio")
    style = "line" if max(len(points) for points in series.values()) > 1 else "points"
    lines = [Line(name, points, style) for name, points in series.items()]
    axes = (Axis("", "time", ticks=8), Axis("Rows failing", format="%"))
    caption = "The checks that fail most now, in their present version."
    grid = _ends(series, list(series), "Failing")
    return Chart("Share of rows that fail", charts.lines(lines, axes), grid, caption, trends.source)


def _series(rows: Sequence[Row], name: str, value: str) -> dict[str, list[tuple[datetime, float]]]:
    return {
        key: [(row["day"], row[value]) for row in part]
        for key, part in groupby(rows, key=lambda row: row[name])
    }


def _label(name: str) -> str:
    return name if name == _ALL else f"Site {name}"


def _ends(series: Mapping[str, Sequence[tuple[datetime, float]]], names: Sequence[str], what: str
          ) -> Grid:  # fmt: skip
    """First and last figure of each, its least and its greatest."""
    titles = ("Days", "First", "Least", "Greatest", f"{what} now")
    rows = tuple(
        (name, figures.count(len(series[name])), *(
            figures.percent(value, 2)
            for value in (series[name][0][1], min(v for _, v in series[name]),
                          max(v for _, v in series[name]), series[name][-1][1])
        ))
        for name in names if name in series
    )  # fmt: skip
    return Grid("", (Column("Of"), *(Column(title, "number") for title in titles)), rows)


def side_by_side(scores: Answer, lowest: float) -> Section:
    """Tables, and sites, studies and sources, each beside the others."""
    title = "Side by side"
    lead = "Scores of this run: shares of rows that pass, weighted by severity (scores.yml)."
    if not scores.rows:
        return Section(title, lead, (scores.empty(title),))
    blocks = []
    for dimension, heading in (("site", "Sites"), ("study", "Studies"), ("source", "Sources"),
                               ("table", "Tables")):  # fmt: skip
        own = [row for row in scores.rows if row["dimension"] == dimension]
        if own:
            blocks.append(_ranked(scores, own, heading, lowest))
    return Section(title, lead, tuple(blocks))


def _ranked(scores: Answer, rows: Sequence[Row], heading: str, lowest: float) -> Chart:
    drawn = [Dot("", row["slice"], row["score"]) for row in rows[:_PLACES_DRAWN]]
    start = min(0.9, int(min(dot.value for dot in drawn) * 20) / 20)
    columns = (Column(heading[:-1] if heading != "Studies" else "Study", "code"),
               *(Column(t, "number") for t in ("Checks", "Failing", "Score")))  # fmt: skip
    cells = tuple(
        (row["slice"], figures.count(row["check_count"]), figures.count(row["failed_check_count"]),
         figures.percent(row["score"], 2))
        for row in rows[:200]
    )  # fmt: skip
    more = f"The {len(drawn)} lowest of {len(rows)}. " if len(rows) > len(drawn) else ""
    svg = charts.dots(drawn, Axis("", format="%", limits=(start, 1)), 1, lowest)
    caption = f"{more}Red line: the limit of {lowest:.0%}."
    return Chart(heading, svg, Grid("", columns, cells), caption, scores.source)


def whole_tables(answer: Answer) -> Section:
    """Schema, volume, freshness, distributions and reconciliations."""
    title = "Whole tables"
    lead = "Figures of tables as a whole, with their limits."
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    columns = (
        Column("Table and check", "code"), Column("Kind"), Column("State", "state"),
        *(Column(t, "number") for t in ("Measured", "Against", "Least", "Most")), Column("Detail"),
    )  # fmt: skip
    rows = tuple(
        (f"{row['table_name']} {row['check_name']}", row["kind"], row["state"].replace("_", " "),
         *(_figure(row[name]) for name in ("measured", "against", "low", "high")),
         row["detail"] or "")
        for row in answer.rows
    )  # fmt: skip
    caption = "Tables whose columns are as in their contract are not listed."
    return Section(title, lead, (Grid("Measured figures", columns, rows, caption, answer.source),))


def _figure(value: float | None) -> str:
    return figures.NOT_KNOWN if value is None else f"{value:,.6g}"
