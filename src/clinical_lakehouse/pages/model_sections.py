"""The trial report's sections about the model: how good, how calibrated, how fair, how stable."""

from collections.abc import Sequence
from itertools import groupby

from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.pages.disclosure import SMALLEST_CELL
from clinical_lakehouse.pages.metric_names import NAMES, named
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.charts import Axis, Dot, Flag, Line, Rule, Value
from clinical_lakehouse.rendering.page import Block, Chart, Column, Grid, Section

_SQUARE = (charts.HALF_WIDTH, charts.HALF_WIDTH - 30)
_UNIT = (0.0, 1.0)
_GROUPS = {"sex": "Sex", "age_band": "Age", "race": "Race", "ethnicity": "Ethnicity"}
_SERIES = {
    "low": "95% limit, lower",
    "high": "95% limit, upper",
    "treat_all": "Act on all",
    "treat_none": "Act on none",
    "model": "Model",
}
_RATES = (
    "true_positive_rate",
    "false_positive_rate",
    "selection_rate",
    "positive_predictive_value",
)


def discrimination(evaluation: Answer, curves: Answer) -> Section:
    """How well the model ranks, how true its risks are, and what acting on them is worth."""
    title = "Model performance"
    lead = (
        "On held-out index dates, later than everything the model was trained on, beside a "
        "simple baseline."
    )
    blocks: list[Block] = []
    if evaluation.rows:
        blocks.append(_evaluation(evaluation))
    else:
        blocks.append(evaluation.empty("Evaluation"))
    drawn = {name: list(rows) for name, rows in groupby(curves.rows, key=lambda r: r["curve"])}
    if "roc" in drawn:
        blocks.append(_roc(curves, drawn["roc"]))
    if "calibration" in drawn:
        blocks.append(_calibration(curves, drawn["calibration"]))
    if "net_benefit" in drawn:
        blocks.append(_net_benefit(curves, drawn["net_benefit"]))
    if "score" in drawn:
        blocks.append(_risks(curves, drawn["score"]))
    if not drawn:
        blocks.append(curves.empty("Curves"))
    return Section(title, lead, tuple(blocks))


def _evaluation(answer: Answer) -> Grid:
    whole = [row for row in answer.rows if row["group_name"] == "all"]
    order = list(NAMES)
    whole.sort(key=lambda r: order.index(r["metric"]) if r["metric"] in order else len(order))
    rows = tuple(
        (
            named(row["metric"]),
            figures.number(row["value"], 3),
            figures.interval(row["low"], row["high"], 3),
            figures.number(row["baseline"], 3),
        )
        for row in whole
        if not row["metric"].startswith("people_")
    )
    columns = (
        Column("Measure"),
        Column("Model", "number"),
        Column("95% interval", "number"),
        Column("Baseline", "number"),
    )
    judged = max((row["row_count"] for row in whole), default=0)
    events = max((row["event_count"] for row in whole), default=0)
    caption = f"{figures.count(judged)} predictions judged, {figures.people(events)} with outcome."
    return Grid("Held-out evaluation", columns, rows, caption, answer.source)


def _lines(rows: Sequence[Row], style: str = "line") -> list[Line]:
    """The model's line first, then the others in grey tones and dashes."""
    found = {name: list(part) for name, part in groupby(rows, key=lambda r: r["series"])}
    order = sorted(found, key=lambda name: (name != "model", name != "baseline", name))
    tones = {"model": "1", "baseline": "2"}
    return [
        Line(
            _SERIES.get(name, name.replace("_", " ").capitalize()),
            [(row["x"], row["y"]) for row in found[name] if row["y"] is not None],
            style if name in tones else "line",
            None if name in tones else "muted",
        )
        for name in order
    ]


def _points(rows: Sequence[Row], titles: tuple[str, str]) -> Grid:
    columns = (Column("Series"), *(Column(t, "number") for t in (*titles, "Rows")))
    cells = tuple(
        (
            _SERIES.get(row["series"], row["series"].replace("_", " ").capitalize()),
            figures.number(row["x"], 3),
            figures.number(row["y"], 3),
            figures.people(row["row_count"]),
        )
        for row in rows
    )
    return Grid("", columns, cells)


def _roc(answer: Answer, rows: Sequence[Row]) -> Chart:
    titles = ("False positive rate", "True positive rate")
    chance = Line("Chance", [(0, 0), (1, 1)], "dashed", "muted")
    axes = (Axis(titles[0], limits=_UNIT), Axis(titles[1], limits=_UNIT))
    svg = charts.lines([*_lines(rows), chance], axes, size=_SQUARE)
    caption = "Dashed: a model that guesses."
    return Chart("ROC curve", svg, _points(rows, titles), caption, answer.source, True)


def _calibration(answer: Answer, rows: Sequence[Row]) -> Chart:
    titles = ("Predicted risk", "Observed share")
    binned = [row for row in rows if row["series"] != "smooth"]
    highest = max(max(row["x"], row["y"] or 0) for row in binned)
    top = min(1.0, round(highest * 1.1 + 0.05, 1))
    limits = (0.0, top)
    axes = (Axis(titles[0], limits=limits), Axis(titles[1], limits=limits))
    perfect = Line("As predicted", [(0, 0), (top, top)], "dashed", "muted")
    smooth = [(r["x"], min(r["y"], top)) for r in rows if r["series"] == "smooth" and r["x"] <= top]
    series = [Line("Model", _with_limits(rows), "points"), perfect]
    series += [Line("Smoothed", smooth, tone="muted")] if smooth else []
    svg = charts.lines(series, axes, size=_SQUARE)
    caption = (
        "Points: bins of equal size, with 95% intervals. Line: smoothed (loess). "
        "Dashed: risks that come true as predicted."
    )
    return Chart("Calibration", svg, _points(binned, titles), caption, answer.source, True)


def _risks(answer: Answer, rows: Sequence[Row]) -> Chart:
    titles = ("Predicted risk", "Share of rows")
    names = {"event": ("With the outcome", None), "no_event": ("Without", "muted")}
    series = [
        Line(word, [(r["x"], r["y"]) for r in rows if r["series"] == name], "step", tone)
        for name, (word, tone) in names.items()
    ]
    axes = (Axis(titles[0], format="%", limits=_UNIT), Axis(titles[1], format="%"))
    svg = charts.lines(series, axes, size=(charts.FULL_WIDTH, 160))
    caption = "The further apart, the better the model tells who will have the outcome."
    return Chart("Predicted risks", svg, _points(rows, titles), caption, answer.source)


def _with_limits(rows: Sequence[Row]) -> list[tuple[Value, ...]]:
    """The model's points with the limits that stand as series of their own."""
    by_series = {
        name: {row["point"]: row["y"] for row in rows if row["series"] == name}
        for name in ("low", "high")
    }
    return [
        (row["x"], row["y"], *(by_series[name].get(row["point"]) for name in ("low", "high")))
        for row in rows
        if row["series"] == "model" and row["y"] is not None
    ]


def _net_benefit(answer: Answer, rows: Sequence[Row]) -> Chart:
    titles = ("Risk threshold", "Net benefit")
    model = [row["y"] for row in rows if row["y"] is not None and row["y"] >= 0]
    top = max(model, default=0.1) * 1.1 or 0.1
    axes = (Axis(titles[0], format="%"), Axis(titles[1], limits=(-top / 4, top)))
    svg = charts.lines(_lines(rows), axes, size=(charts.FULL_WIDTH, 220))
    caption = (
        "True positives less false positives weighted by the threshold's odds, per person "
        "judged (Vickers 2006). The model is worth using where it lies above both grey lines."
    )
    return Chart("Decision curve", svg, _points(rows, titles), caption, answer.source)


def fairness(answer: Answer) -> Section:
    """Whether groups are treated alike: rates with their limits."""
    title = "Fairness"
    lead = "The same model, threshold and held-out rows, by group. Wide bars mean few people."
    rows = [r for r in answer.rows if r["group_name"] in _GROUPS and r["metric"] in _RATES]
    if not rows:
        return Section(title, lead, (answer.empty(title),))
    order = sorted(rows, key=_group_order)
    shown = [row for row in order if _is_shown(row)]
    drawn = [
        Dot(named(metric), _group(row), row["value"], row["low"], row["high"])
        for metric in _RATES
        for row in shown
        if row["metric"] == metric
    ]
    axis = Axis("", format="%", limits=_UNIT, ticks=3)
    caption = "Points with 95% intervals. Groups with fewer than 11 outcomes are not shown."
    if not drawn:
        return Section(title, lead, (_group_table(order, answer),))
    chart = Chart(
        "Rates by group", charts.dots(drawn, axis), _group_table(order, answer), caption,
        answer.source,
    )  # fmt: skip
    return Section(title, lead, (chart, _gaps(shown, answer)))


def _is_shown(row: Row) -> bool:
    enough = min(row["person_count"], row["event_count"]) >= SMALLEST_CELL
    return enough and row["value"] is not None


def _group_order(row: Row) -> tuple[int, bool, str]:
    """By kind of group, then by value; an age below something comes before the others."""
    value = row["group_value"]
    return (list(_GROUPS).index(row["group_name"]), not value.startswith("<"), value)


def _group(row: Row) -> str:
    return f"{_GROUPS[row['group_name']]}: {row['group_value']}"


def _group_table(rows: Sequence[Row], answer: Answer) -> Grid:
    columns = (
        Column("Group"),
        Column("Measure"),
        Column("Value", "number"),
        Column("95% interval", "number"),
        Column("People", "number"),
        Column("Rows with outcome", "number"),
    )
    cells = tuple(
        (
            _group(row),
            named(row["metric"]),
            figures.percent(row["value"]) if _is_shown(row) else figures.NOT_KNOWN,
            figures.percent_interval(row["low"], row["high"])
            if _is_shown(row)
            else figures.NOT_KNOWN,
            figures.people(row["person_count"]),
            figures.people(row["event_count"]),
        )
        for row in rows
    )
    return Grid("", columns, cells, "", answer.source)


def _gaps(rows: Sequence[Row], answer: Answer) -> Grid:
    cells = []
    for metric in _RATES:
        for group in _GROUPS:
            own = [r for r in rows if r["metric"] == metric and r["group_name"] == group]
            if len(own) < 2:
                continue
            low, high = (pick(own, key=lambda r: r["value"]) for pick in (min, max))
            span = f"{low['group_value']} {figures.percent(low['value'], 0)}"
            over = f"{high['group_value']} {figures.percent(high['value'], 0)}"
            gap = figures.number(100 * (high["value"] - low["value"]), 1)
            cells.append((named(metric), _GROUPS[group], span, over, f"{gap} points"))
    columns = (
        Column("Measure"),
        Column("Between"),
        Column("Lowest"),
        Column("Highest"),
        Column("Gap", "number"),
    )
    return Grid("Largest gaps", columns, tuple(cells), "", answer.source)


def over_time(answer: Answer, drop_max: float) -> Section:
    """The model since it was trained: windows over their limit are marked."""
    title = "Performance over time"
    lead = "The model in use, as outcomes arrive. Red points lie over their limit beyond chance."
    found = {name: list(rows) for name, rows in groupby(answer.rows, key=lambda r: r["metric"])}
    known = {name: [r for r in rows if r["value"] is not None] for name, rows in found.items()}
    known = {name: rows for name, rows in known.items() if rows}
    if not known:
        return Section(title, lead, (answer.empty(title),))
    order = sorted(known, key=_prominence)
    blocks = tuple(_metric(answer, metric, known[metric], drop_max) for metric in order)
    return Section(title, lead, blocks)


def _prominence(metric: str) -> tuple[int, str]:
    first = ("auroc", "prediction_psi", "input_distance", "observed_expected")
    return (first.index(metric) if metric in first else len(first), metric)


def _metric(answer: Answer, metric: str, rows: Sequence[Row], drop_max: float) -> Chart:
    name = _metric_name(metric)
    points = [(r["window_end_date"], r["value"], r["low"], r["high"]) for r in rows]
    flags = [Flag(r["window_end_date"], r["value"], "") for r in rows if r["is_over_limit"]]
    is_half = metric != "auroc"
    axes = (
        Axis("Window ending", "time", ticks=4 if is_half else 8),
        Axis(name, limits=_limits(metric, rows)),
    )
    svg = charts.lines(
        [Line(name, points), *_held_against(metric, rows)],
        axes,
        rules=_rules(rows, drop_max) if metric == "auroc" else (),
        flags=flags,
        size=(charts.HALF_WIDTH, 190) if is_half else (charts.FULL_WIDTH, 250),
    )
    number = f"{len(flags)} of" if flags else "None of"
    caption = f"{number} {len(rows)} windows over the limit. {_explained(metric, rows)}"
    return Chart(name, svg, _windows(rows), caption, answer.source, is_half)


def _is_drift(metric: str) -> bool:
    return metric == "input_distance" or "psi" in metric


def _held_against(metric: str, rows: Sequence[Row]) -> list[Line]:
    """The limit (drift) or reference (others) of each window, as a dashed line."""
    points = [(r["window_end_date"], r["reference"]) for r in rows if r["reference"] is not None]
    if metric == "auroc" or not points:
        return []
    return [Line("Held against", points, "dashed", "bad" if _is_drift(metric) else "muted")]


def _explained(metric: str, rows: Sequence[Row]) -> str:
    shaded = "Shaded: the confidence interval. " if any(r["low"] is not None for r in rows) else ""
    if metric == "auroc":
        return shaded.strip()
    dashed = "Dashed: the limit." if _is_drift(metric) else "Dashed: what it is held against."
    return f"{shaded}{dashed}"


def _metric_name(metric: str) -> str:
    if metric.startswith("input_psi_"):
        return f"Input drift (PSI), {metric.removeprefix('input_psi_').replace('_', ' ')}"
    drifts = {"prediction_psi": "Prediction drift (PSI)", "input_distance": "Input drift, joint"}
    return drifts.get(metric) or named(metric)


def _limits(metric: str, rows: Sequence[Row]) -> tuple[float, float] | None:
    ends = [v for r in rows for v in (r["value"], r["low"], r["high"]) if v is not None]
    if metric == "auroc":
        return (max(0.0, min(0.4, *ends)), 1.0)
    if metric == "observed_expected":
        return (0.0, min(max(*ends, 1.5), 5.0))
    return None


def _rules(rows: Sequence[Row], drop_max: float) -> list[Rule]:
    references = [r["reference"] for r in rows if r["reference"] is not None]
    if not references:
        return []
    held_out, limit = references[-1], references[-1] - drop_max
    allowed = Rule(limit, f"limit {limit:.2f}", "bad", is_below=True)
    return [Rule(held_out, f"held-out {held_out:.2f}"), allowed]


def _windows(rows: Sequence[Row]) -> Grid:
    titles = ("Value", "Interval", "Reference", "Rows", "Outcomes")
    columns = (Column("From"), Column("To"), *(Column(t, "number") for t in titles))
    cells = tuple(
        (
            figures.day(r["window_start_date"]),
            figures.day(r["window_end_date"]),
            figures.number(r["value"], 3),
            figures.interval(r["low"], r["high"]),
            figures.number(r["reference"], 3),
            figures.people(r["row_count"]),
            figures.people(r["event_count"]),
            "over limit" if r["is_over_limit"] else "",
        )
        for r in rows
    )
    return Grid("", (*columns, Column("", "state")), cells)
