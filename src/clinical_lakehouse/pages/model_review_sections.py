"""The trial report's sections that review a model: the gate's criteria, and what it is beside."""

from clinical_lakehouse.pages.asking import Answer, Row
from clinical_lakehouse.pages.metric_names import named
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.charts import Axis, Dot
from clinical_lakehouse.rendering.page import Block, Chart, Column, Grid, Notice, Notices, Section

_TOP = 3.0  # intervals beyond are cut
_MOST = 15  # rows of a table of findings
_OTHERS = {
    "baseline": "Baseline (age, adherence)",
    "champion": "Champion in use",
    "simpler": "Simpler model (while training)",
    "more_complex": "More complex model (while training)",
    "treat_all": "Acting on everybody",
    "treat_none": "Acting on nobody",
}


def gate(criteria: Answer, comparison: Answer, decisions: Answer) -> Section:
    """Is the model good enough to be used: each criterion, and what it is held against."""
    title = "Is the model good enough?"
    lead = "What it must reach before it is used, and how it compares on the same held-out rows."
    blocks: list[Block] = [
        Notices((_decision(row),), decisions.source) for row in decisions.rows[:1]
    ]
    blocks += [_criteria(criteria) if criteria.rows else criteria.empty("Gate")]
    if comparison.rows:
        blocks.append(_compared(comparison))
    return Section(title, lead, tuple(blocks))


def _decision(row: Row) -> Notice:
    """What the last training said of the data there are."""
    tone = "watch" if row["outcome"] == "not enough yet" else "plain"
    day = figures.day(row["decided_at"].date())
    return Notice(
        tone,
        f"Training, {day}: {row['outcome']}.",
        str(row["sentence"]).removeprefix("Not enough yet: "),
    )


def _criteria(answer: Answer) -> Grid:
    columns = (
        Column("Criterion"),
        Column("Found", "number"),
        Column("Allowed", "number"),
        Column("Verdict", "state"),
        Column("In words"),
    )
    cells = tuple(
        (
            _criterion(row),
            _found(row),
            _allowed(row),
            row["verdict"],
            row["sentence"].split(": ", 1)[-1],
        )
        for row in answer.rows
    )
    return Grid("Gate", columns, cells, "", answer.source)


def _criterion(row: Row) -> str:
    name = str(row["criterion"]).replace("_", " ").capitalize().replace("Auroc", "AUROC")
    return name if row["group_name"] == "all" else f"{name}, {row['group_name'].replace('_', ' ')}"


def _found(row: Row) -> str:
    if row["criterion"] == "enough_people":
        return figures.people(int(row["value"]))
    return figures.number(row["value"], 3)


def _allowed(row: Row) -> str:
    low, high = (None if row[n] is None else f"{row[n]:g}" for n in ("at_least", "at_most"))
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else figures.NOT_KNOWN


def _compared(answer: Answer) -> Grid:
    columns = (
        Column("Compared with"),
        Column("Measure"),
        *(Column(t, "number") for t in ("Model", "Other", "Difference", "95% interval", "p")),
        Column("By"),
    )
    cells = tuple(
        (
            _OTHERS.get(row["compared_with"], str(row["compared_with"])),
            named(row["metric"]),
            figures.number(row["value"], 3),
            figures.number(row["other_value"], 3),
            figures.number(row["difference"], 3),
            figures.interval(row["low"], row["high"], 3),
            figures.number(row["p_value"], 3),
            str(row["method"]),
        )
        for row in answer.rows
    )
    people = max(row["person_count"] for row in answer.rows)
    caption = f"Rows of one person are correlated; {figures.people(people)} people were judged."
    return Grid("Compared on the same rows", columns, cells, caption, answer.source)


def groups(findings: Answer, mitigation: Answer) -> Section:
    """Is anybody harmed, and what would making it fairer cost?"""
    title = "Is any group worse off?"
    lead = (
        "Rates differ where risks do; harm is what risks do not explain. Limits hold for all "
        "groups of an attribute together; groups below 11 people are left out."
    )
    if not findings.rows:
        return Section(title, lead, (findings.empty(title),))
    harm = [row for row in findings.rows if row["verdict"] == "harm"]
    judged = len({(row["attribute"], row["group_value"]) for row in findings.rows})
    said = f"{judged} groups were judged, pairs of attributes among them."
    notice = (
        Notice("bad", f"{len(harm)} figures show harm.", said)
        if harm
        else Notice("good", "No harm was found.", said)
    )
    blocks: list[Block] = [Notices((notice,), findings.source)]
    told = [row for row in findings.rows if row["verdict"] != "alike" and _is_shown(row)]
    if told:
        blocks.append(_told(told, findings))
    if mitigation.rows:
        blocks.append(_mitigated(mitigation))
    return Section(title, lead, tuple(blocks))


def _is_shown(row: Row) -> bool:
    return row["value"] is not None and min(row["person_count"], row["event_count"]) >= 11


def _told(rows: list[Row], answer: Answer) -> Grid:
    columns = (
        Column("Group"),
        Column("Measure"),
        *(Column(t, "number") for t in ("Found", "95%, all groups", "By its risks", "People")),
        Column("Verdict", "state"),
    )
    cells = tuple(
        (
            f"{row['attribute'].replace('_', ' ').capitalize()}: {row['group_value']}",
            named(row["metric"]),
            figures.number(row["value"], 3),
            figures.interval(row["low"], row["high"], 3),
            figures.number(row["expected"], 3),
            figures.people(row["person_count"]),
            str(row["verdict"]),
        )
        for row in rows[:_MOST]
    )
    more = f" {len(rows) - _MOST} more are in the table." if len(rows) > _MOST else ""
    caption = f"Where a group is not like everybody.{more}"
    return Grid("Groups that differ", columns, cells, caption, answer.source)


def _mitigated(answer: Answer) -> Grid:
    titles = ("Gap before", "Gap after", "Net benefit, worst group", "best group")
    columns = (
        Column("Mitigation"),
        Column("For"),
        *(Column(t, "number") for t in titles),
        Column("Verdict", "state"),
    )
    cells = tuple(
        (
            str(row["mitigation"]).capitalize(),
            str(row["attribute"]).replace("_", " "),
            figures.percent(row["gap_before"]),
            figures.percent(row["gap_after"]),
            figures.number(row["worst_change"], 3),
            figures.number(row["best_change"], 3),
            str(row["verdict"]),
        )
        for row in answer.rows
    )
    caption = (
        "Gap: between the groups' true positive rates. Net benefit: change by the mitigation. One "
        "that lowers it for every group is refused; none is applied."
    )
    return Grid("What mitigation would cost", columns, cells, caption, answer.source)


def sites(answer: Answer) -> Section:
    """What to expect at a site the model has never seen, and which site is odd."""
    title = "At a site it has never seen"
    lead = "Each site by the same recipe fitted without it; all together by random effects."
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    pooled = [row for row in answer.rows if row["organization_key"] is None]
    odd = sorted({row["site"] for row in answer.rows if row["is_named"]})
    blocks: list[Block] = []
    if odd:
        said = "Far from what the other sites say, beyond chance. Look at its records first."
        blocks.append(Notices((Notice("bad", f"Odd: {', '.join(odd)}.", said),), answer.source))
    columns = (
        Column("Measure"),
        *(Column(t, "number") for t in ("All sites", "95% interval", "At a new site", "I2")),
    )
    cells = tuple(
        (
            named(row["measure"]),
            figures.number(row["value"], 3),
            figures.interval(row["low"], row["high"], 3),
            figures.interval(row["new_site_low"], row["new_site_high"], 3),
            figures.percent(row["heterogeneity_ratio"], 0),
        )
        for row in pooled
    )
    caption = "At a new site: 95% prediction interval. I2: share of the variation between sites."
    blocks.append(Grid("All sites together", columns, cells, caption, answer.source))
    shown = [r for r in answer.rows if r["organization_key"] is not None and r["event_count"] >= 11]
    if shown:
        blocks.append(_per_site(shown, answer))
    return Section(title, lead, tuple(blocks))


def _per_site(rows: list[Row], answer: Answer) -> Chart:
    dots = [
        Dot(named(row["measure"]), row["site"], row["value"], row["low"], min(row["high"], _TOP))
        for row in rows[: 3 * _MOST]
        if row["value"] <= _TOP
    ]
    columns = (
        Column("Site"),
        Column("Measure"),
        *(Column(t, "number") for t in ("Value", "95% interval", "People")),
        Column("", "state"),
    )
    cells = tuple(
        (
            str(row["site"]),
            named(row["measure"]),
            figures.number(row["value"], 3),
            figures.interval(row["low"], row["high"], 3),
            figures.people(row["person_count"]),
            "odd" if row["is_named"] else "",
        )
        for row in rows
    )
    svg = charts.dots(dots, Axis("", limits=(min(0.0, *(d.low or 0.0 for d in dots)), _TOP)))
    caption = "Points with 95% intervals. Sites with fewer than 11 outcomes are not shown."
    return Chart("By site", svg, Grid("", columns, cells), caption, answer.source)
