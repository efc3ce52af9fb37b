"""The trial report's sections about the trial and its data: enrolment, receipt, quality."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from clinical_lakehouse.pages import disclosure
from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.charts import Axis, Bar, Dot, Line
from clinical_lakehouse.rendering.page import Block, Chart, Column, Grid, Notice, Notices, Section

_SITES_DRAWN = 5
_TABLES_DRAWN = 12
_CHECKS_SHOWN = 40
ALL_SITES = "All sites"


def enrolment(answer: Answer) -> Section:
    """Enrolled subjects by site over time, and where each site stands."""
    title = "Enrolment"
    lead = (
        "Subjects enrolled, by site. Every person's dates are moved by a secret number of days, "
        "so a month's border is soft."
    )
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    return Section(title, lead, (_growth(answer), _sites(answer)))


def _growth(answer: Answer) -> Chart:
    """Cumulative enrolment: all sites, the largest ones, and the rest together."""
    months = _months(answer.rows)
    groups = _groups(answer.rows)
    running: dict[str, int] = dict.fromkeys(groups, 0)
    points: dict[str, list[tuple[date, float]]] = {ALL_SITES: [], **{g: [] for g in groups}}
    rows = []
    for month in months:
        for group, by_month in groups.items():
            running[group] += by_month.get(month, 0)
        out = disclosure.hidden(running)
        total = sum(running.values())
        if not disclosure.is_small(total):
            points[ALL_SITES].append((month, total))
        for group in groups:
            if group not in out and running[group]:
                points[group].append((month, running[group]))
        cells = [_people(running[group], group in out) for group in groups]
        rows.append((f"{month:%b %Y}", figures.people(total), *cells))
    series = [Line(n, p, "step", "ink" if n == ALL_SITES else None) for n, p in points.items()]
    columns = (Column("By end of"), *(Column(name, "number") for name in points))
    axes = (Axis("Month of enrolment", "time", ticks=9), Axis("Subjects enrolled", format=",d"))
    return Chart(
        "Subjects enrolled, cumulative",
        charts.lines([line for line in series if line.points], axes),
        Grid("", columns, tuple(rows)),
        f"A site's line begins when it can be shown. {disclosure.CAPTION}",
        answer.source,
    )


def _months(rows: Sequence[Row]) -> list[date]:
    first, last = min(row["month"] for row in rows), max(row["month"] for row in rows)
    span = (last.year - first.year) * 12 + last.month - first.month
    starts = [first.year * 12 + first.month - 1 + n for n in range(span + 1)]
    return [date(month // 12, month % 12 + 1, 1) for month in starts]


def _groups(rows: Sequence[Row]) -> dict[str, dict[date, int]]:
    """Enrolled per month of the largest sites, and of all others as one."""
    by_site: dict[str, dict[date, int]] = defaultdict(dict)
    for row in rows:
        by_site[row["site"]][row["month"]] = row["enrolled_count"]
    order = sorted(by_site, key=lambda site: (-sum(by_site[site].values()), site))
    shown = order if len(order) <= _SITES_DRAWN + 1 else order[:_SITES_DRAWN]
    groups = {site: by_site[site] for site in shown}
    rest: dict[date, int] = defaultdict(int)
    for site in order[len(shown) :]:
        for month, number in by_site[site].items():
            rest[month] += number
    return {**groups, f"{len(order) - len(shown)} other sites": rest} if rest else groups


def _people(number: int, is_hidden: bool) -> str:
    if disclosure.is_small(number):
        return figures.SUPPRESSED
    return figures.NOT_KNOWN if is_hidden else figures.count(number)


def standing(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Enrolled, withdrawn, off and active subjects of each site."""
    sites: dict[str, dict[str, int]] = {}
    for row in rows:
        site = sites.setdefault(row["site"], dict.fromkeys(("enrolled", "withdrawn", "off"), 0))
        for name in site:
            site[name] += row[f"{name}_count"]
    return {
        name: {**site, "active": site["enrolled"] - site["withdrawn"] - site["off"]}
        for name, site in sorted(sites.items(), key=lambda item: (-item[1]["enrolled"], item[0]))
    }


def _sites(answer: Answer) -> Grid:
    sites = standing(answer.rows)
    left = {name: site["withdrawn"] + site["off"] for name, site in sites.items()}
    parts = {
        "enrolled": {name: site["enrolled"] for name, site in sites.items()},
        "active": {name: site["active"] for name, site in sites.items()},
        "left": left,
    }
    out = {part: disclosure.hidden(numbers) for part, numbers in parts.items()}
    rows = []
    for name in sites:
        # Enrolled is active plus left: hiding one of them needs a second one hidden.
        gone = [part for part in parts if name in out[part]]
        hidden = {"active", "left"} if gone and gone != ["enrolled"] else set(gone)
        hidden |= {"active", "left", "enrolled"} if "enrolled" in gone else set()
        cells = [_people(parts[part][name], part in hidden) for part in parts]
        share = None if hidden else left[name] / max(parts["enrolled"][name], 1)
        rows.append((name, *cells, figures.percent(share)))
    columns = (
        Column("Site"),
        Column("Enrolled", "number"),
        Column("In the trial", "number"),
        Column("Left", "number"),
        Column("Left, share", "number"),
    )
    caption = f"Left: withdrawn or off study, deaths included. {disclosure.CAPTION}"
    return Grid("Sites", columns, tuple(rows), caption, answer.source)


def receipt(received: Answer, reasons: Answer) -> Section:
    """Every resource received, and what became of it."""
    title = "Data received"
    lead = "Every resource that arrived is loaded, a duplicate, or quarantined with a reason."
    blocks = (_received(received) if received.rows else received.empty(title),)
    if not reasons.rows:
        return Section(title, lead, (*blocks, reasons.empty("Quarantine")))
    return Section(title, lead, (*blocks, _reasons(reasons)))


def _received(answer: Answer) -> Chart:
    tones = {"Loaded": "1", "Duplicate": "muted", "Quarantined": "bad"}
    parts, rows = [], []
    for row in answer.rows:
        name = row["resource_type"]
        parts += [Bar(name, part, row[f"{part.lower()}_count"]) for part in tones]
        counts = [row[f"{part}_count"] for part in ("received", "loaded", "duplicate")]
        refused = row["quarantined_count"]
        share = figures.percent(refused / row["received_count"]) if row["received_count"] else ""
        numbers = (row["file_count"], *counts, refused)
        rows.append((name, *(figures.count(n) for n in numbers), share))
    titles = ("Files", "Received", "Loaded", "Duplicate", "Quarantined", "Quarantined, share")
    return Chart(
        "Resources received, by type",
        charts.bars(parts, Axis("Resources", format=",d"), tones),
        Grid("", (Column("Type"), *(Column(t, "number") for t in titles)), tuple(rows)),
        "Received = loaded + duplicate + quarantined, for every file and type.",
        answer.source,
    )


def _reasons(answer: Answer) -> Grid:
    columns = (
        Column("Reason", "code"),
        Column("Rows", "number"),
        Column("Files", "number"),
        Column("Types"),
    )
    rows = tuple(
        (
            row["reason"],
            figures.count(row["quarantined_count"]),
            figures.count(row["file_count"]),
            _some(row["resource_types"]),
        )
        for row in answer.rows[:60]
    )
    caption = "Rows are counted, never shown: what they hold stays in bronze."
    return Grid("Why rows were quarantined", columns, rows, caption, answer.source)


def _some(names: Sequence[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def scores(rows: Sequence[Row]) -> dict[str, float]:
    """Quality score of each table, 0-1, as ops.quality_score has it."""
    return {row["table_name"]: row["score"] for row in rows}


def quality(answer: Answer, lowest: float) -> Section:
    """Each table's score, and the checks that fail."""
    title = "Data quality"
    lead = "Every table is judged by its contract: keys, required values, ranges, references."
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    failing = sorted(
        (row for row in answer.rows if row["failed_count"] > 0),
        key=lambda row: (row["passed_ratio"], row["table_name"], row["check_name"]),
    )
    blocks = (_scores(answer, lowest), _failing(answer, failing))
    return Section(title, lead, blocks)


def _scores(answer: Answer, lowest: float) -> Chart:
    by_table = scores(answer.rows)
    checks: Mapping[str, list[Row]] = {
        table: [row for row in answer.rows if row["table_name"] == table] for table in by_table
    }
    order = sorted(by_table, key=lambda table: (by_table[table], table))
    drawn = [Dot("", table, by_table[table]) for table in order[:_TABLES_DRAWN]]
    lowest_drawn = min(dot.value for dot in drawn)
    start = min(0.9, int(lowest_drawn * 20) / 20)
    rows = tuple(
        (
            table,
            figures.count(max(row["row_count"] for row in checks[table])),
            figures.count(len(checks[table])),
            figures.count(sum(row["failed_count"] > 0 for row in checks[table])),
            figures.percent(by_table[table], 2),
        )
        for table in order
    )
    titles = ("Rows judged", "Checks", "Checks failing", "Score")
    columns = (Column("Table", "code"), *(Column(t, "number") for t in titles))
    more = f"The {len(drawn)} lowest of {len(order)} tables. " if len(order) > len(drawn) else ""
    return Chart(
        "Quality score, by table",
        charts.dots(drawn, Axis("", format="%", limits=(start, 1)), 1, lowest),
        Grid("", columns, rows),
        f"{more}Red line: the limit of {lowest:.0%}. The score is the mean share of rows "
        "that pass, over the table's checks, weighted by severity.",
        answer.source,
    )


def _failing(answer: Answer, failing: Sequence[Row]) -> Block:
    if not failing:
        return Notices((Notice("good", "No check fails.", "", ""),), answer.source)
    columns = (
        Column("Table", "code"),
        Column("Check", "code"),
        Column("Severity", "state"),
        Column("Rows failing", "number"),
        Column("Passed", "number"),
    )
    rows = tuple(
        (
            row["table_name"],
            row["check_name"],
            row["severity"],
            figures.count(row["failed_count"]),
            figures.percent(row["passed_ratio"], 2),
        )
        for row in failing[:_CHECKS_SHOWN]
    )
    more = len(failing) - len(rows)
    caption = f"{more} more fail; the source finds them." if more else ""
    return Grid("Checks that fail", columns, rows, caption, answer.source)
