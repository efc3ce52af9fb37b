"""What leaves the lake says years, not days, unless an agreement covers it.

45 CFR 164.514(b)(2)(i)(C) allows the year of a date; dates may go into a limited data set under a
data use agreement, 164.514(e).
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.tables.contract import Phi, Table

_DATES = ("DATE", "TIMESTAMP")


def for_release(rows: DataFrame, table: Table, agreement: str | None) -> DataFrame:
    """Rows of `table` with each date of a person as the first day of its year; types stay.

    As they are where `agreement`, the id of the destination's data use agreement, is named.
    """
    if may_keep_dates(agreement):
        return rows
    dated = {c.name: c.type for c in table.columns if c.type in _DATES and c.phi is not Phi.NONE}
    return rows.withColumns({name: _year(name).cast(type_) for name, type_ in dated.items()})


def may_keep_dates(agreement: str | None) -> bool:
    """Is a data use agreement named, so that whole dates may leave?"""
    return bool(agreement and agreement.strip())


def _year(name: str) -> Column:
    return F.date_trunc("year", F.col(name))
