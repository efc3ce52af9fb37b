"""Short ways to write an OMOP CDM column: its logical type decides the SQL type."""

from clinical_lakehouse.tables.contract import Check, Column, Phi, Table, key

OWNER = "data-engineering"


def ref(name: str, comment: str, required: bool = False) -> Column:
    """A generated key, or a reference to one: BIGINT, because keys are 63-bit hashes."""
    return key(name, comment, nullable=not required)


def concept(name: str, comment: str, required: bool = False) -> Column:
    """A concept id: INT; 0 says that no concept matches."""
    return Column(name, "INT", comment, nullable=not required)


def number(name: str, comment: str, type_: str = "DOUBLE", required: bool = False) -> Column:
    """A quantity: DOUBLE where the CDM says float, INT where it says integer."""
    return Column(name, type_, comment, nullable=not required)


def text(name: str, comment: str, required: bool = False, phi: Phi = Phi.NONE) -> Column:
    """Characters, cut to the CDM's length by whoever writes them."""
    return Column(name, "STRING", comment, nullable=not required, phi=phi)


def day(name: str, comment: str, required: bool = False) -> Column:
    """A date of a person, shifted as all dates of that person are."""
    return Column(name, "DATE", comment, nullable=not required, phi=Phi.PSEUDONYM)


def moment(name: str, comment: str) -> Column:
    """A time of a person (UTC), shifted as all dates of that person are."""
    return Column(name, "TIMESTAMP", comment, phi=Phi.PSEUDONYM)


def valid() -> tuple[Column, ...]:
    """From when to when an entry of the vocabulary holds."""
    return (
        Column("valid_start_date", "DATE", "First day it holds.", False),
        Column("valid_end_date", "DATE", "Last day it holds; 2099-12-31 while it does.", False),
        Column("invalid_reason", "STRING", "D deleted, U replaced; null while it holds."),
    )


def cdm_table(
    name: str, grain: str, columns: tuple[Column, ...], checks: tuple[Check, ...] = ()
) -> Table:
    """A table of the CDM whose key is its first column."""
    return Table(
        f"omop.{name}", f"One row per {grain}.", OWNER, (columns[0].name,), columns, checks
    )


def coded(lead: str, what: str) -> tuple[Column, ...]:
    """A code as the source has it, and the concept of that code."""
    return (
        text(f"{lead}_source_value", f"{what} as the source codes it."),
        concept(f"{lead}_source_concept_id", f"{what}: concept of the source's own code."),
    )
