"""Sections of a model's page: what its windows mean, who fares how, what has moved, who decided."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.charts import Axis, Flag, Line, Rule, Value
from clinical_lakehouse.rendering.page import Block, Chart, Column, Grid, Section, Tile, Tiles

_POPULATIONS = {
    "all": "All",
    "untreated": "As if nobody was acted on",
    "hold_out": "Hold-out",
    "estimated": "Estimated before outcomes",
    "estimated_weighted": "Estimated, weighted for who is there now",
    "matured": "Outcomes still coming",
}
_METRICS = {"auroc": "AUROC", "observed_expected": "Observed / expected"}
_TONES = {"drift": "bad", "stable": "good"}
_MOST_ROWS, _MOST_MIXES = 40, 8


def standing(verdicts: Answer, detectors: Answer, drift: Answer) -> Section:
    """What the last known window means, and what has moved."""
    title, lead = "How it stands", "The last window whose outcomes are known, and what has moved."
    if not verdicts.rows:
        return Section(title, lead, (verdicts.empty(title),))
    known = [row for row in verdicts.rows if row["verdict"] != "open"]
    coming = [row for row in verdicts.rows if row["verdict"] == "open"]
    tiles = []
    if known:
        last = known[0]
        until = f"window to {figures.day(last['window_end_date'])}"
        tone = _TONES.get(last["verdict"], "watch")
        said = last["verdict"].replace("_", " ").capitalize()
        tiles.append(Tile("Verdict", said, until, tone))
        share = last["treated_count"] / max(last["row_count"], 1)
        tiles.append(Tile("Acted on", figures.percent(share), "of its predictions"))
        advice = last["advice"] or "too few events"
        tiles.append(Tile("Update advised", advice.capitalize(), "by a closed test"))
    waited = sum(row["row_count"] - row["arrived_count"] for row in coming)
    tiles.append(Tile("Outcomes coming", figures.people(waited), f"in {len(coming)} open windows"))
    signals = sum(row["signal_count"] for row in detectors.rows)
    tiles.append(Tile("Changes signalled", figures.count(signals), "by four detectors"))
    moved = {row["feature_name"] for row in drift.rows if row["state"] == "drift"}
    tone = "watch" if moved else "good"
    tiles.append(Tile("Features that moved", figures.count(len(moved)), "at any site", tone))
    return Section(title, lead, (Tiles(tuple(tiles), verdicts.source),))


def performance(answer: Answer, verdicts: Answer) -> Section:
    """AUROC and observed over expected by population, and what each window means."""
    title = "Performance, and whether it is the model"
    lead = (
        "All predictions, and those nobody acted on, weighted as if nobody had been. The estimate "
        "needs no outcome; it cannot see concept drift."
    )
    blocks: list[Block] = []
    for metric, rows in groupby(answer.rows, key=lambda row: row["metric"]):
        known = [row for row in rows if row["value"] is not None]
        if metric in _METRICS and known:
            blocks.append(_over_windows(answer, metric, known))
    checked = [row for row in answer.rows if row["metric"] == "coverage"]
    if checked:
        blocks.append(_checked(answer, checked))
    blocks.append(_verdicts(verdicts) if verdicts.rows else verdicts.empty("Verdicts"))
    return Section(title, lead, tuple(blocks))


def _checked(answer: Answer, rows: Sequence[Row]) -> Grid:
    """How each estimate has kept, once outcomes came."""
    columns = (
        Column("Estimate"), Column("Windows checked", "number"), Column("Held", "number"),
        Column("Share", "number"), Column("Interval", "number"),
    )  # fmt: skip
    last = {row["population"]: row for row in sorted(rows, key=lambda r: r["window_end_date"])}
    cells = tuple(
        (
            _POPULATIONS[name],
            figures.count(row["row_count"]),
            figures.count(row["event_count"]),
            figures.percent(row["value"]),
            figures.percent_interval(row["low"], row["high"]),
        )
        for name, row in sorted(last.items())
    )
    caption = (
        "An estimate holds where the AUROC, once known, lies within its limits. Where few hold, "
        "risks have stopped being true: concept drift, which no estimate can see."
    )
    return Grid("Estimates, checked when outcomes came", columns, cells, caption, answer.source)


def _over_windows(answer: Answer, metric: str, rows: Sequence[Row]) -> Chart:
    found = {name: list(part) for name, part in groupby(rows, key=lambda r: r["population"])}
    order = [name for name in _POPULATIONS if name in found]
    main = "untreated" if "untreated" in found else "all"
    lines = [
        Line(
            _POPULATIONS[name],
            [_point(row, name == main) for row in found[name]],
            "line" if name in ("all", "untreated") else "dashed",
        )
        for name in order
    ]
    rules = [Rule(1.0, "as expected")] if metric == "observed_expected" else []
    svg = charts.lines(
        lines,
        (Axis("Window ending", "time", ticks=8), Axis(_METRICS[metric], limits=_limits(rows))),
        rules=rules,
        size=(charts.FULL_WIDTH, 240),
    )
    caption = f"Shaded: the confidence interval of {_POPULATIONS[main].lower()!r}."
    return Chart(_METRICS[metric], svg, _windows(rows), caption, answer.source)


def _point(row: Row, has_limits: bool) -> tuple[Value, ...]:
    at = (row["window_end_date"], row["value"])
    return (*at, row["low"], row["high"]) if has_limits else (*at, None, None)


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    ends = [row["value"] for row in rows]
    ends += [row["low"] for row in rows if row["low"] is not None]
    tops = [row["high"] for row in rows if row["high"] is not None and row["high"] < 5]
    return (max(0.0, min(ends) - 0.05), max([*(row["value"] for row in rows), *tops]) + 0.05)


def _windows(rows: Sequence[Row]) -> Grid:
    titles = ("Value", "Interval", "Predictions", "Outcomes")
    columns = (Column("Population"), Column("To"), *(Column(t, "number") for t in titles))
    cells = tuple(
        (
            _POPULATIONS[row["population"]],
            figures.day(row["window_end_date"]),
            figures.number(row["value"], 3),
            figures.interval(row["low"], row["high"]),
            figures.people(row["row_count"]),
            figures.people(row["event_count"]),
        )
        for row in rows
    )
    return Grid("", columns, cells)


def _verdicts(answer: Answer) -> Grid:
    titles = ("Predictions", "Acted on", "Due", "Arrived", "Overdue", "Censored")
    columns = (
        Column("Window to"), Column("Verdict", "state"), Column("Update advised"),
        *(Column(title, "number") for title in titles),
    )  # fmt: skip
    counts = ("row", "treated", "due", "arrived", "overdue", "censored")
    cells = tuple(
        (
            figures.day(row["window_end_date"]),
            row["verdict"].replace("_", " "),
            row["advice"] or figures.NOT_KNOWN,
            *(figures.people(row[f"{name}_count"]) for name in counts),
        )
        for row in answer.rows[:_MOST_ROWS]
    )
    caption = (
        "Intervention: the figures fell where people acted on scores, and not elsewhere. Unclear: "
        "off, but not beyond chance. Overdue: due by the calendar, not certainly recorded."
    )
    return Grid("What each window means", columns, cells, caption, answer.source)


def detectors(answer: Answer) -> Section:
    """Detectors of concept drift."""
    title = "Has what risks mean changed"
    lead = "Detectors fed with the squared error beyond what true risks would have."
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    columns = (
        Column("Detector"), Column("Outcomes seen", "number"), Column("Signals", "number"),
        Column("Last signal"), Column("Fed up to"),
    )  # fmt: skip
    cells = tuple(
        (
            row["detector"].replace("_", " "),
            figures.people(row["value_count"]),
            figures.count(row["signal_count"]),
            figures.day(row["signal_date"]),
            figures.day(row["last_index_date"]),
        )
        for row in answer.rows
    )
    caption = "DDM signals for one true model in four over two years, and is told to nobody."
    return Section(title, lead, (Grid("", columns, cells, caption, answer.source),))


def data_drift(answer: Answer) -> Section:
    """Features by site against references: what has moved, and the whole as counts."""
    title = "Features by site"
    if not answer.rows:
        return Section(title, "What moved against three references.", (answer.empty(title),))
    first = answer.rows[0]
    lead = (
        f"{figures.day(first['window_start_date'])} up to {figures.day(first['window_end_date'])} "
        "against training, the window before and last year; false discoveries at most 5%."
    )
    shown = [row for row in answer.rows if row["state"] == "drift"][:_MOST_ROWS]
    shown += [row for row in answer.rows if row["state"] == "case_mix"][:_MOST_MIXES]
    columns = (
        Column("Feature"), Column("Site"), Column("Against"), Column("State", "state"),
        Column("PSI", "number"), Column("Subjects", "number"), Column("What"),
    )  # fmt: skip
    cells = tuple(
        (
            row["feature_name"].replace("_", " ") + (" (input)" if row["is_model_input"] else ""),
            _site(row["site"]),
            row["reference"].replace("_", " "),
            row["state"].replace("_", " "),
            figures.number(row["psi"]),
            figures.people(row["row_count"]),
            row["explanation"],
        )
        for row in shown
    )
    total = {state: sum(row["state"] == state for row in answer.rows)
             for state in ("drift", "case_mix", "too_few", "stable")}  # fmt: skip
    caption = (
        f"{figures.count(len(answer.rows))} comparisons: {total['drift']} drift, "
        f"{total['case_mix']} another mix of cases, {total['too_few']} beyond the limit but not "
        f"beyond chance, {total['stable']} within it."
    )
    return Section(title, lead, (Grid("What has moved", columns, cells, caption, answer.source),))


def _site(site: str) -> str:
    """Keys of sites are long; their last digits tell them apart."""
    return site if len(site) <= 6 else f"…{site[-6:]}"


def deployment(promotions: Answer, canary: Answer) -> Section:
    """Which version came into use when, and the last canary."""
    title, lead = "Deployment", "Every change of the version in use; the registry's alias follows."
    blocks: list[Block] = []
    if promotions.rows:
        columns = (
            Column("No.", "number"), Column("What"), Column("From", "number"),
            Column("To", "number"), Column("By"), Column("Role"), Column("Meaning"),
            Column("Why"), Column("Asked for by", "code"), Column("When"),
        )  # fmt: skip
        cells = tuple(
            (
                str(row["promotion_number"]),
                row["action"].replace("_", " "),
                _version(row["from_version"]),
                _version(row["to_version"]),
                row["decided_by"], row["role"], row["meaning"], row["reason"],
                row["cause"][:16],
                figures.moment(row["decided_at"]),
            )
            for row in promotions.rows
        )  # fmt: skip
        blocks.append(Grid("Versions in use", columns, cells, "", promotions.source))
    else:
        blocks.append(promotions.empty("Versions in use"))
    blocks += list(_canary(canary))
    return Section(title, lead, tuple(blocks))


def _canary(answer: Answer) -> Iterator[Block]:
    """The last version's canary: the difference at every look, and how it stands."""
    rows = [r for r in answer.rows if r["model_version"] == answer.rows[0]["model_version"]]
    drawn = [row for row in reversed(rows) if row["difference"] is not None]
    table = _looks(answer, rows)
    if len(drawn) < 2:
        if rows:
            yield table
        return
    line = Line(
        "New less in use", [(r["looked_at"], r["difference"], r["low"], r["high"]) for r in drawn]
    )
    last = drawn[-1]
    flags = [Flag(last["looked_at"], last["difference"], last["state"])]
    axes = (Axis("Look", "time", ticks=8), Axis("AUROC gained"))
    svg = charts.lines(
        [line], axes, rules=[Rule(0.0, "as good")], flags=flags, size=(charts.FULL_WIDTH, 200)
    )
    caption = "Shaded: limits that hold at all looks together."
    yield Chart(f"Canary of version {rows[0]['model_version']}", svg, table, caption, answer.source)


def _looks(answer: Answer, rows: Sequence[Row]) -> Grid:
    columns = (
        Column("Look"), Column("State", "state"), Column("Serves", "number"),
        Column("Subjects", "number"), Column("Outcomes", "number"),
        Column("AUROC gained", "number"), Column("At all looks", "number"), Column("Why"),
    )  # fmt: skip
    cells = tuple(
        (
            figures.moment(row["looked_at"]),
            row["state"],
            figures.percent(row["share_ratio"], 0),
            figures.people(row["subject_count"]),
            figures.people(row["outcome_count"]),
            figures.number(row["difference"], 3),
            figures.interval(row["low"], row["high"], 3),
            row["reason"],
        )
        for row in rows
    )
    return Grid("Canary", columns, cells, "", answer.source)


def decisions(gates: Answer, approvals: Answer, triggers: Answer) -> Section:
    """Gates, signatures, and what asked for each training."""
    title, lead = "Decisions", "Gates passed or failed, who signed, and what asked for a new model."
    blocks: list[Block] = []
    for name, answer, columns in (
        ("Gates", gates, ("model_version", "is_passed", "reason", "decided_at")),
        ("Signatures", approvals,
         ("model_version", "decided_by", "role", "meaning", "reason", "decided_at")),
        ("Trainings asked for", triggers, ("decided_at", "is_due", "trigger", "alert", "reason")),
    ):  # fmt: skip
        blocks.append(_plain(name, answer, columns) if answer.rows else answer.empty(name))
    return Section(title, lead, tuple(blocks))


def _plain(title: str, answer: Answer, names: Sequence[str]) -> Grid:
    columns = tuple(Column(name.replace("_", " ").capitalize()) for name in names)
    cells = tuple(tuple(_cell(row[name], name) for name in names) for row in answer.rows)
    return Grid(title, columns, cells, "", answer.source)


def _cell(value: object, name: str) -> str:
    if name == "decided_at":
        return figures.moment(value)  # type: ignore[arg-type]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)[:16] if name == "alert" else str(value)


def _version(value: int | None) -> str:
    return figures.NOT_KNOWN if value is None else str(value)
