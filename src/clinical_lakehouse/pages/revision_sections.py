"""Section of a model's page: windows long past of which other figures are known now."""

from clinical_lakehouse.pages.asking import Answer
from clinical_lakehouse.pages.metric_names import named
from clinical_lakehouse.rendering import figures
from clinical_lakehouse.rendering.page import Block, Column, Grid, Notice, Notices, Section


def revisions(answer: Answer) -> Section:
    """What was first said of a window, and what is said now."""
    title = "As known then, and now"
    lead = (
        "Late outcomes, corrections and withdrawn consent open old windows again. What was said on "
        "any day stands in gold.performance_revision."
    )
    return Section(title, lead, (_table(answer),))


def _table(answer: Answer) -> Block:
    if answer.missing:
        return answer.empty("Windows said anew")
    if not answer.rows:
        said = "Every window's figures are as they were first known."
        return Notices((Notice("good", "Nothing said anew", said),), answer.source)
    columns = (
        Column("Window to"), Column("Figure"), Column("Population"), Column("First", "number"),
        Column("Known"), Column("Now", "number"), Column("Since"), Column("Times said", "number"),
    )  # fmt: skip
    cells = tuple(
        (
            figures.day(row["window_end_date"]),
            named(row["metric"]),
            row["population"].replace("_", " "),
            figures.number(row["first_value"], 3),
            figures.moment(row["first_known_at"]),
            figures.number(row["value"], 3),
            figures.moment(row["known_at"]),
            figures.count(row["said_count"]),
        )
        for row in answer.rows
    )
    return Grid("Windows said anew", columns, cells, "", answer.source)
