"""What a table is: columns, key, owner, checks and privacy, as frozen data."""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from clinical_lakehouse.errors import ContractError


class Phi(StrEnum):
    """How a column relates to a person (45 CFR 164.514)."""

    NONE = "none"
    PSEUDONYM = "pseudonym"  # a surrogate key or a shifted date: safe inside the lake only
    QUASI = "quasi"  # identifies in combination: birth year, ZIP3, rare code
    DIRECT = "direct"  # one of the 18 identifiers, or text that may hold one


class Severity(StrEnum):
    """What a failing check does: fatal blocks, error quarantines, warn annotates."""

    FATAL = "fatal"
    ERROR = "error"
    WARN = "warn"


# What kinds of checks there are, each with its category of Kahn's harmonised terms.
CATEGORIES = {
    "schema": "conformance",
    "completeness": "completeness",
    "validity": "conformance",
    "uniqueness": "conformance",
    "reference": "conformance",
    "code": "conformance",
    "freshness": "completeness",
    "volume": "completeness",
    "reconciliation": "completeness",
    "distribution": "plausibility",
    "cross_field": "plausibility",
    "temporal": "plausibility",
    "unit": "plausibility",
}


@dataclass(frozen=True)
class Column:
    """One column: name, Spark SQL type (DDL string), meaning, privacy class and UCUM unit."""

    name: str
    type: str
    comment: str
    nullable: bool = True
    phi: Phi = Phi.NONE
    unit: str | None = None

    def ddl(self) -> str:
        """The column as Spark DDL, comment included."""
        not_null = "" if self.nullable else " NOT NULL"
        comment = self.comment.replace("'", "\\'")
        return f"`{self.name}` {self.type}{not_null} COMMENT '{comment}'"


@dataclass(frozen=True)
class Lookup:
    """What rows of another table say of a row here: one answer per key, so no row is doubled.

    `on` pairs own columns with the other's; `takes` names SQL aggregates over the other's rows that
    share the key and fit `where`. Without a row on the other side each is null.
    """

    table: str
    on: tuple[tuple[str, str], ...]
    takes: tuple[tuple[str, str], ...]
    where: str = "true"


@dataclass(frozen=True)
class Measure:
    """A SQL aggregate over the rows that fit `where`, of the judged table or of `table`."""

    expression: str
    where: str = "true"
    table: str = ""


@dataclass(frozen=True)
class Check:
    """A SQL predicate that holds for a good row, its name and its severity; null counts as passed.

    Scope "key": the predicate lists columns no two rows share. Scope "reference": `refers` names
    own column, other table and its column, whose rows fit `refers_where`. Scope "table": `measure`
    lies in [low, high], or within `high` of `against` as a ratio. Only rows that fit `where` are
    judged; up to `max_failed_ratio` (0-1, a decimal) of them may fail.
    """

    name: str
    predicate: str
    severity: Severity = Severity.ERROR
    scope: str = "row"
    refers: tuple[str, str, str] | None = None
    refers_where: str = "true"
    kind: str = "validity"
    where: str = "true"
    max_failed_ratio: str = "0"
    lookups: tuple[Lookup, ...] = ()
    measure: Measure | None = None
    against: Measure | None = None
    low: float | None = None
    high: float | None = None
    owner: str = ""
    why: str = ""
    place: str = ""

    @property
    def version(self) -> str:
        """Hash of what the check means: an edited check has another, so that its old results keep
        theirs. Its name, owner, reason and place do not count."""
        meaning = replace(self, name="", owner="", why="", place="")
        return hashlib.sha256(repr(meaning).encode()).hexdigest()[:12]

    @property
    def category(self) -> str:
        """Completeness, conformance or plausibility (Kahn et al. 2016, eGEMs 4(1):1244)."""
        return CATEGORIES[self.kind]


@dataclass(frozen=True)
class Table:
    """One table's contract. Grain stands in `comment` ("One row per ..."). A `time_key` makes it a
    feature table of Unity Catalog: the key column that says as of when a row stands."""

    name: str
    comment: str
    owner: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    checks: tuple[Check, ...] = ()
    cluster_by: tuple[str, ...] = ()
    retention_days: int | None = None
    change_feed: bool = False
    time_key: str | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if self.name.count(".") != 1:
            raise ContractError(f"table name {self.name!r} must be schema.table")
        if len(set(names)) != len(names):
            raise ContractError(f"{self.name}: a column is declared twice")
        unknown = [c for c in (*self.key, *self.cluster_by) if c not in names]
        if unknown:
            raise ContractError(f"{self.name}: key or clustering names unknown column {unknown}")
        if self.time_key is not None and self.time_key not in self.key:
            raise ContractError(f"{self.name}: time_key must be a column of the key")

    @property
    def schema_name(self) -> str:
        """The layer: bronze, vault, silver, omop, gold or ops."""
        return self.name.split(".")[0]

    @property
    def short_name(self) -> str:
        """The name without its schema."""
        return self.name.split(".")[1]

    @property
    def column_names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def person_column(self) -> str | None:
        """The column that says which person a row is about; None where rows are about nobody."""
        return next((n for n in ("subject_key", "person_id") if n in self.column_names), None)

    def ddl(self) -> str:
        """The columns as a Spark schema string, nullability and comments included."""
        return ", ".join(column.ddl() for column in self.columns)

    def all_checks(self) -> tuple[Check, ...]:
        """The declared checks and those the columns and the key imply (not null, unique key)."""
        required = tuple(not_null(c.name) for c in self.columns if not c.nullable)
        keyed = (unique(*self.key),) if self.key else ()
        return required + keyed + self.checks

    def statistics_columns(self) -> list[str]:
        """Columns whose minima and maxima may stand in the Delta log: no direct identifiers,
        because file statistics outlive a deleted row."""
        simple = (c for c in self.columns if c.phi is not Phi.DIRECT and _has_statistics(c.type))
        return [c.name for c in simple][:32]

    def properties(self) -> dict[str, str]:
        """The table properties that Delta gets at creation."""
        properties = {
            "delta.enableDeletionVectors": "true",
            "delta.dataSkippingStatsColumns": ",".join(self.statistics_columns()),
        }
        if self.change_feed:
            properties["delta.enableChangeDataFeed"] = "true"
        return properties


def _has_statistics(type_: str) -> bool:
    return not type_.upper().startswith(("ARRAY", "MAP", "STRUCT", "BINARY", "VARIANT", "BOOLEAN"))


def key(name: str, comment: str, nullable: bool = False) -> Column:
    """A surrogate key column: BIGINT, a pseudonym."""
    return Column(name, "BIGINT", comment, nullable=nullable, phi=Phi.PSEUDONYM)


def not_null(column: str) -> Check:
    """The column has a value in every row."""
    return Check(f"{column}_not_null", f"`{column}` IS NOT NULL", kind="completeness")


def unique(*columns: str) -> Check:
    """No two rows share these columns."""
    keys = ", ".join(f"`{c}`" for c in columns)
    return Check(f"{'_'.join(columns)}_unique", keys, scope="key", kind="uniqueness")


def between(
    column: str, low: float, high: float, severity: Severity = Severity.ERROR, when: str = "true"
) -> Check:
    """The column lies in [low, high], in the column's own unit, where `when` holds."""
    predicate = f"NOT ({when}) OR `{column}` BETWEEN {low} AND {high}"
    return Check(f"{column}_between_{low}_and_{high}".replace(".", "_"), predicate, severity)


def is_one_of(column: str, *values: str, severity: Severity = Severity.ERROR) -> Check:
    """The column holds one of these words."""
    listed = ", ".join(f"'{value}'" for value in values)
    return Check(f"{column}_is_one_of", f"`{column}` IN ({listed})", severity)


def ordered(earlier: str, later: str, severity: Severity = Severity.WARN) -> Check:
    """`earlier` is not after `later`, where both are known."""
    predicate = f"`{earlier}` <= `{later}`"
    return Check(f"{earlier}_not_after_{later}", predicate, severity, kind="temporal")


def refers_to(column: str, other: Table, severity: Severity = Severity.WARN) -> Check:
    """Every value of the column is a key of the other table (its first key column)."""
    refers, name = (column, other.name, other.key[0]), f"{column}_in_{other.short_name}"
    return Check(name, "true", severity, "reference", refers, kind="reference")
