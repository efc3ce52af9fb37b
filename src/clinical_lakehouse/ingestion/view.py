"""A silver table as a ViewDefinition on one resource type, and how bronze rows become its rows.

The view is compiled as the standard says; what the standard does not know, de-identification,
is one Column on top of each of its cells (`tables.views.Step`).
"""

from dataclasses import dataclass, replace
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.fields import KeyOf, is_over_89, moment, shifted
from clinical_lakehouse.ingestion.free_text import KNOWN, scrubbed
from clinical_lakehouse.ingestion.versions import ORDER, only_newest
from clinical_lakehouse.methods.fhirpath import parse
from clinical_lakehouse.methods.sql_on_fhir import types
from clinical_lakehouse.methods.sql_on_fhir.definition import (
    Expression,
    Select,
    ViewColumn,
    read_view,
)
from clinical_lakehouse.methods.sql_on_fhir.rows import Field
from clinical_lakehouse.methods.sql_on_fhir.running import (
    Compiled,
    compile_view,
    readable,
    rows_from,
)
from clinical_lakehouse.methods.zip3 import zip3
from clinical_lakehouse.tables.contract import Column as ContractColumn
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.views import FREE, SilverView, Step

_ANSI, _DEIDENTIFY = "ansi/type", "clinical-lakehouse/deidentify"
_DEATH = "deceased.ofType(dateTime)"
_COUNTRY = "address.first().country"
_KEYED = (Step.SURROGATE_KEY, Step.SUBJECT_KEY, Step.SUBJECT_SITE)


@dataclass(frozen=True)
class View:
    """A silver table's view, ready to run; ages are counted at `as_of`, or at death, and ZIP3 areas
    `zip3_withheld` are 000."""

    silver: SilverView
    compiled: Compiled
    as_of: datetime
    zip3_withheld: tuple[str, ...] = ()

    @property
    def table(self) -> Table:
        """The table it makes."""
        return self.silver.table

    @property
    def resource_type(self) -> str:
        """The type of the resources it reads."""
        return self.silver.resource


def compiled_view(silver: SilverView, as_of: datetime, zip3_withheld: tuple[str, ...] = ()) -> View:
    """The view compiled; UsageError if a path is wrong or yields more than its column may hold."""
    read = read_view(silver.file)
    selects = [_as_received(select, silver) for select in read.selects]
    if {Step.BIRTH_YEAR, Step.OVER_89} & set(silver.steps.values()):
        selects.append(_beside("_died", _DEATH))
    if Step.ZIP3 in silver.steps.values():
        selects.append(_beside("_country", _COUNTRY))
    decimals = "STRING" if _keeps_digits(silver) else "DOUBLE"
    compiled = compile_view(replace(read, selects=tuple(selects)), decimals)
    for field in compiled.fields:
        _refuse_identifying(silver, field)
    return View(silver, compiled, as_of, zip3_withheld)


def _keeps_digits(silver: SilverView) -> bool:
    """Is a decimal wanted as text, 1.10 as 1.10? Otherwise the faster DOUBLE is read."""
    types_of = {column.name: column.type for column in silver.table.columns}
    return any(types_of.get(name) == "STRING" for name in silver.decimals)


def _beside(name: str, path: str) -> Select:
    """A column that a step needs and the table has not."""
    column = ViewColumn(name, Expression(path, parse(path)), False, None, "", {})
    return Select((column,), (), (), None, False, ())


def _as_received(select: Select, silver: SilverView) -> Select:
    """The select without dropped columns, its types left to the contract."""
    columns = (c for c in select.columns if silver.steps[c.name] is not Step.DROP)
    return replace(
        select,
        columns=tuple(
            replace(c, tags={n: v for n, v in c.tags.items() if n != _ANSI}) for c in columns
        ),
        selects=tuple(_as_received(nested, silver) for nested in select.selects),
        union=tuple(_as_received(branch, silver) for branch in select.union),
    )


def _refuse_identifying(silver: SilverView, field: Field) -> None:
    """A column declared as harmless whose path yields text or a person's date is refused."""
    step = silver.steps.get(field.name)
    if step is not Step.KEEP:
        return
    is_allowed = _DEIDENTIFY in silver.tags[field.name]
    wrong = set() if is_allowed else field.found & FREE
    if silver.is_personal:
        wrong = wrong | (field.found & types.TEMPORALS - {"time"})
    if wrong:
        raise UsageError(
            f"{silver.file.name}: column {field.name}: its path yields a {min(wrong)}, not the "
            f"declared {field.fhir_type}; correct `type` or tag it {_DEIDENTIFY}"
        )


def flattened(view: View, rows: DataFrame, people: DataFrame, key_of: KeyOf) -> DataFrame:
    """The view's rows: newest versions, not retracted, of permitted people, de-identified.

    `rows` are valid bronze rows of the view's type; `people` holds patient_id, subject_key,
    date_shift_days and `known` of everybody who may be used, and for participations their site_id.
    """
    content = readable(view.compiled, F.col("content"))
    parsed = rows.select(
        *("resource_type", "resource_id", "patient_id", *ORDER),
        *([content.alias("content")] if view.compiled.reads_text else []),
        F.from_json(content, view.compiled.schema).alias("resource"),
    )
    current = only_newest(parsed)
    if view.compiled.condition is not None:
        current = current.filter(view.compiled.condition)
    if view.silver.is_personal:
        current = current.join(people, "patient_id")
    known = [name for name in people.columns if name in current.columns and name != "patient_id"]
    made = rows_from(view.compiled, current, *(F.col(n).alias(f"_{n}") for n in known))
    who = F.col("_known") if view.silver.is_personal else F.lit(None).cast(KNOWN)
    cells = made.select(*(_cell(view, c, key_of) for c in view.table.columns), who.alias("known"))
    texts = [name for name, step in view.silver.steps.items() if step is Step.SCRUB]
    return scrubbed(cells, texts, ", ".join(f"`{c.name}` {c.type}" for c in view.table.columns))


def _cell(view: View, column: ContractColumn, key_of: KeyOf) -> Column:
    """A column of the contract: the view's cell, de-identified, in the contract's type."""
    step, received = view.silver.steps[column.name], F.col(column.name)
    is_date = column.type in ("DATE", "TIMESTAMP")
    match step:
        case Step.SURROGATE_KEY:
            made = key_of(view.silver.key_types[column.name], received)
        case Step.SUBJECT_KEY:
            made = F.col("_subject_key")
        case Step.SUBJECT_SITE:
            made = key_of("Organization", F.col("_site_id"))
        case Step.SHIFT_DATE:
            made = shifted(received, F.col("_date_shift_days"))
        case Step.OVER_89:
            made = _is_over_89(view, received)
        case Step.BIRTH_YEAR:
            year = F.year(shifted(received, F.col("_date_shift_days")))
            made = F.when(~_is_over_89(view, received), year)
        case Step.ZIP3:
            made = zip3(received, F.col("_country"), view.zip3_withheld)
        case _:
            made = moment(received) if is_date else received
    return made.cast(column.type).alias(column.name)


def _is_over_89(view: View, born: Column) -> Column:
    return is_over_89(born, F.col("_died"), F.lit(view.as_of).cast("timestamp"))


def stored_keys(view: View, stored: DataFrame, keys: DataFrame) -> DataFrame:
    """Keys of the rows that `stored`, the view's table, holds of the resources with these `keys`
    (one column, named as the table's first key column)."""
    return stored.select(*view.table.key).join(keys, view.table.key[0], "left_semi")


def with_lost(view: View, current: DataFrame, before: DataFrame) -> DataFrame:
    """`current` and the keys `before` that it lacks: retracted, denied or shortened (`is_lost`)."""
    marked = current.withColumn("is_lost", F.lit(False))
    both = before.join(marked, list(view.table.key), "full")
    return both.withColumn("is_lost", F.coalesce(F.col("is_lost"), F.lit(True)))
