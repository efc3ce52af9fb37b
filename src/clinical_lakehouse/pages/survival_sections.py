"""The trial report's section on time: how long people stay, death competing with dropout."""

from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.charts import Axis, Line
from clinical_lakehouse.rendering.page import Block, Chart, Column, Grid, Section

_CURVES = {
    "dropout": ("Dropout", "step", None),
    "death": ("Death", "step", None),
    "dropout_kaplan_meier": ("Dropout, Kaplan-Meier", "dashed", "muted"),
}
_FIGURES = {
    "hazard_ratio": "Hazard ratio of dropout, per SD",
    "death_hazard_ratio": "Hazard ratio of death, per SD",
    "log_rank": "Log-rank chi-square",
    "harrell_c": "Harrell's C",
    "uno_c": "Uno's C",
    "brier": "Brier score",
    "brier_without_model": "Brier score without a model",
    "observed_expected": "Observed / expected",
    "kaplan_meier_excess": "What Kaplan-Meier overstates",
}


def staying(curves: Answer, found: Answer) -> Section:
    """Risk of dropout and of death by day, and what tells of it."""
    title = "Time to discontinuation"
    lead = (
        "From each person's first index date. Death competes with dropout: Kaplan-Meier, which "
        "takes the dead for people who may still drop out, says too much."
    )
    if not curves.rows:
        return Section(title, lead, (curves.empty(title),))
    blocks: list[Block] = [_drawn(curves)]
    if found.rows:
        blocks.append(_told(found))
    return Section(title, lead, tuple(blocks))


def _drawn(answer: Answer) -> Chart:
    whole = [row for row in answer.rows if row["group_value"] == "all"]
    series = [
        Line(name, _points(own, is_limited=curve == "dropout"), style, tone)
        for curve, (name, style, tone) in _CURVES.items()
        if (own := [row for row in whole if row["curve"] == curve])
    ]
    svg = charts.lines(series, (Axis("Days"), Axis("Risk by then", format="%")))
    titles = ("Days", "Risk", "95% interval", "At risk")
    columns = (Column("Curve"), Column("Group"), *(Column(t, "number") for t in titles))
    cells = tuple(
        (
            _CURVES.get(row["curve"], (str(row["curve"]),))[0],
            str(row["group_value"]),
            figures.count(row["time_days"]),
            figures.percent(row["value"]),
            figures.percent_interval(row["low"], row["high"]),
            figures.people(row["at_risk_count"]),
        )
        for row in answer.rows
    )
    caption = (
        "Shaded: the 95% interval. Dashed: dropout by Kaplan-Meier. Each curve ends where fewer "
        "than 11 people are at risk."
    )
    return Chart("Risk of leaving", svg, Grid("", columns, cells), caption, answer.source)


def _points(rows: list[Row], is_limited: bool) -> list[tuple[float, ...]]:
    if is_limited:
        return [(r["time_days"], r["value"], r["low"], r["high"]) for r in rows]
    return [(r["time_days"], r["value"]) for r in rows]


def _told(answer: Answer) -> Grid:
    columns = (
        Column("Measure"),
        Column("Of"),
        *(Column(t, "number") for t in ("Value", "95% interval", "p", "People", "Dropouts")),
    )
    order = list(_FIGURES)
    rows = sorted(answer.rows, key=lambda r: (order.index(r["metric"]), r["term"]))
    cells = tuple(
        (
            _FIGURES[row["metric"]],
            str(row["term"]).replace("_", " "),
            figures.number(row["value"], 3),
            figures.interval(row["low"], row["high"], 2),
            figures.number(row["p_value"], 3),
            figures.people(row["person_count"]),
            figures.people(row["event_count"]),
        )
        for row in rows
    )
    caption = "Cox model of who enrolled earlier (dropout, death censored), judged on the later."
    return Grid("What tells of dropout", columns, cells, caption, answer.source)
