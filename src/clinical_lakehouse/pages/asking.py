"""Asks the lake several questions at once; a table that is not made yet is an answer too."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.rendering.page import Empty, Source
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.readonly import tables_read
from clinical_lakehouse.tables.catalog import all_tables

Row = Mapping[str, Any]
_THREADS = 2  # a second thread halves the time of small queries, more do not help


@dataclass(frozen=True)
class Question:
    """A statement with a bounded answer, and the job that makes what it reads."""

    made_by: str
    statement: str


@dataclass(frozen=True)
class Answer:
    """The rows of a question, what was asked, and the tables it wants that are not made yet."""

    question: Question
    rows: tuple[Row, ...]
    values: Mapping[str, str]
    missing: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        """The statement and its bound values, for people."""
        used = {k: v for k, v in self.values.items() if f":{k}" in self.question.statement}
        return Source((self.question.statement,), used)

    def empty(self, title: str) -> Empty:
        """What to say where there are no rows: what is missing and the job that makes it."""
        lacking = f"{', '.join(self.missing)} is not made yet. " if self.missing else ""
        return Empty(
            f"{title}: no data yet",
            f"{lacking}The job {self.question.made_by} makes it: "
            f"clinical-lakehouse run {self.question.made_by}",
        )


def ask(
    lake: Lakehouse, questions: Mapping[str, Question], values: Mapping[str, Any]
) -> dict[str, Answer]:
    """The answers by the questions' names, two at a time."""
    contracts = all_tables()
    wanted = {n: sorted(tables_read(q.statement) & set(contracts)) for n, q in questions.items()}
    known = sorted({table for tables in wanted.values() for table in tables})
    made = {table: lake.exists(contracts[table]) for table in known}
    lake.register([contracts[table] for table in known if made[table]])
    shown = {name: str(value) for name, value in values.items()}

    def answer(name: str) -> Answer:
        missing = tuple(t for t in wanted[name] if not made[t])
        if missing:
            return Answer(questions[name], (), shown, missing)
        used = {k: v for k, v in values.items() if f":{k}" in questions[name].statement}
        found = lake.query(questions[name].statement, used).collect()
        return Answer(questions[name], tuple(row.asDict() for row in found), shown)

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(questions, pool.map(answer, questions), strict=True))
