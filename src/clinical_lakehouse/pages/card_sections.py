"""The trial report's model card: what is asked of a model, and who answered."""

from clinical_lakehouse.pages.asking import Answer
from clinical_lakehouse.rendering.page import Block, Column, Grid, Notice, Notices, Section

_DOCUMENTS = {"tripod_ai": "TRIPOD+AI", "hti1": "HTI-1 source attributes"}
_NOBODY = "a person must say"


def card(answer: Answer) -> Section:
    """Every item of the two documents, those that wait for a person counted first."""
    title = "Model card"
    lead = "TRIPOD+AI (BMJ 2024;385:e078378) and the 31 source attributes of HTI-1."
    if not answer.rows:
        return Section(title, lead, (answer.empty(title),))
    open_items = sum(row["answered_by"] == _NOBODY for row in answer.rows)
    said = "Answer them in conf/model_cards, in the file that is named like the model."
    notice = Notice("watch", f"{open_items} of {len(answer.rows)} wait for a person.", said)
    if not open_items:
        notice = Notice("good", "Everything is answered.", "")
    blocks: list[Block] = [Notices((notice,), answer.source)]
    for document, name in _DOCUMENTS.items():
        cells = tuple(
            (row["item"], row["asked"], row["answer"] or "", row["answered_by"])
            for row in answer.rows
            if row["document"] == document
        )
        columns = (Column("Item"), Column("Asked"), Column("Answer"), Column("By", "state"))
        blocks.append(Grid(name, columns, cells, "", answer.source))
    return Section(title, lead, tuple(blocks))
