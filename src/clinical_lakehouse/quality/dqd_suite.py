"""Reads OHDSI's Data Quality Dashboard files: check descriptions, and checks with thresholds."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date, timedelta
from pathlib import Path

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.quality.dqd_types import CHECK_TYPES, CheckType

# DQD leaves these out (tablesToExclude of executeDqChecks): they come whole from Athena.
EXCLUDED_TABLES = frozenset(
    ("concept", "vocabulary", "concept_ancestor", "concept_relationship", "concept_class")
    + ("concept_synonym", "relationship", "domain")
)
_LEVELS = ("TABLE", "FIELD", "CONCEPT")
_DESCRIPTION_COLUMNS = (
    *("checkLevel", "checkName", "checkDescription", "kahnContext", "kahnCategory"),
    *("kahnSubcategory", "sqlFile", "evaluationFilter"),
)
_KEY_COLUMNS = {
    "TABLE": ("cdmTableName",),
    "FIELD": ("cdmTableName", "cdmFieldName", "cdmDatatype", "isRequired"),
    "CONCEPT": ("cdmTableName", "cdmFieldName", "conceptId", "conceptName", "unitConceptId"),
}
_CONDITION = re.compile(r"\s*(\w+)\s*(==|!=)\s*'([^']*)'\s*")
_DAY = re.compile(r"'(\d{4})(\d{2})(\d{2})'")
_TOMORROW = "DATEADD(dd,1,GETDATE())"
_NEXT_YEAR = "YEAR(GETDATE())+1"
# Check types whose word is the bound itself.
BOUNDED = ("plausibleValueLow", "plausibleValueHigh")


@dataclass(frozen=True)
class DqdCheck:
    """One check: a check type on a table, field (empty for a table's) or concept, its threshold in
    percent (null: any violation fails) and the words of its row in OHDSI's file."""

    check_id: str
    kind: CheckType
    table: str
    field: str
    threshold: float | None
    notes: str | None
    description: str
    context: str
    category: str
    subcategory: str
    severity: str
    words: Mapping[str, str] = dataclass_field(hash=False, repr=False)

    @property
    def way(self) -> str:
        """By which aggregate it is counted; a reference to a concept is looked up with the rest of
        what is asked of concepts."""
        to_concept = (self.name_in("fkTableName"), self.name_in("fkFieldName"))
        is_concept = to_concept == ("concept", "concept_id")
        return "concepts" if self.kind.name == "isForeignKey" and is_concept else self.kind.way

    def name_in(self, column: str) -> str:
        """A table or field that another column of the row names, in lower case."""
        return self.words.get(column, "").strip().lower()

    def numbers_in(self, column: str) -> tuple[int, ...]:
        """A list of concept ids that a column of the row holds."""
        return tuple(int(part) for part in self.words[column].split(",") if part.strip())

    def bound(self, today: date) -> float | date:
        """The least or greatest plausible value: a number, or a day."""
        found = _bound(self.words[self.kind.name], today)
        if found is None:
            raise SettingsError(f"{self.check_id} has no bound")
        return found


@dataclass(frozen=True)
class _Row:
    """A row of a file, and where it stands."""

    file: str
    line: int
    words: Mapping[str, str]

    def refusal(self, text: str) -> SettingsError:
        return SettingsError(f"{self.file}:{self.line} {text}")


def read_suite(folder: Path, version: str = "5.4") -> tuple[DqdCheck, ...]:
    """Every check of the CDM version that DQD runs by default, in the order of its files.

    The folder is inst/csv of OHDSI's package DataQualityDashboard. SettingsError names file and
    line of what is missing, not a number or not known.
    """
    kinds = _read(folder / f"OMOP_CDMv{version}_Check_Descriptions.csv", _DESCRIPTION_COLUMNS)
    rows = {
        level: _read(folder / f"OMOP_CDMv{version}_{level.title()}_Level.csv", _KEY_COLUMNS[level])
        for level in _LEVELS
    }
    checks: dict[str, DqdCheck] = {}
    for described in kinds:
        level, name = described.words["checkLevel"], described.words["checkName"]
        kind = CHECK_TYPES.get((level, name))
        if kind is None:
            raise described.refusal(f"names a check that this suite does not know: {level} {name}")
        conditions = _conditions(described)
        for row in rows[level]:
            if _is_run(row) and all(_holds(row, described, one) for one in conditions):
                made = _check(described, kind, row)
                checks.setdefault(made.check_id, made)
    return tuple(checks.values())


def _read(path: Path, needed: tuple[str, ...]) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        told = "is missing; quality.dqd_folder must name inst/csv of OHDSI's DataQualityDashboard"
        raise SettingsError(f"{path.name} {told}") from None
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path.name} cannot be read as text in UTF-8") from None
    rows = list(_lines(path.name, text))
    given = rows[0].words if rows else {}
    for column in needed:
        if column not in given:
            raise SettingsError(f"{path.name}:1 has no column {column}")
    return rows


def _lines(name: str, text: str) -> Iterator[_Row]:
    reader = csv.DictReader(text.splitlines(keepends=True))
    line = 2
    for words in reader:
        if None in words or None in words.values():
            raise SettingsError(f"{name}:{line} has not as many fields as the first line")
        yield _Row(name, line, words)
        line = reader.line_num + 1


def _is_run(row: _Row) -> bool:
    """`offset` is a reserved word in many databases, and DQD leaves it out."""
    is_excluded = row.words["cdmTableName"].lower() in EXCLUDED_TABLES
    return not is_excluded and row.words.get("cdmFieldName", "").lower() != "offset"


def _conditions(described: _Row) -> list[tuple[str, str, str]]:
    """The evaluationFilter: `column=='Yes' & other!=''`."""
    found = []
    for part in described.words["evaluationFilter"].split("&"):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise described.refusal("has an evaluationFilter that is not column=='word' & ...")
        found.append((match[1], match[2], match[3]))
    return found


def _holds(row: _Row, described: _Row, condition: tuple[str, str, str]) -> bool:
    column, sign, word = condition
    if column not in row.words:
        raise described.refusal(f"filters by {column}, which {row.file} does not have")
    return (row.words[column] == word) == (sign == "==")


def _check(described: _Row, kind: CheckType, row: _Row) -> DqdCheck:
    words, name = row.words, kind.name
    if name in BOUNDED and _bound(words[name], date(2000, 1, 1)) is None:
        raise row.refusal(f"{name} must be a number, a day in quotes, or one of DQD's two clocks")
    for column in ("conceptId", "plausibleUnitConceptIds") if kind.level == "CONCEPT" else ():
        if not all(p.strip().lstrip("-").isdigit() for p in words[column].split(",") if p.strip()):
            raise row.refusal(f"{column} must be a list of concept ids")
    return DqdCheck(
        check_id=_check_id(kind, words),
        kind=kind,
        table=words["cdmTableName"].lower(),
        field=words.get("cdmFieldName", "").lower(),
        threshold=_threshold(row, f"{name}Threshold"),
        notes=words.get(f"{name}Notes") or None,
        description=_filled(described.words["checkDescription"], words),
        context=described.words["kahnContext"],
        category=described.words["kahnCategory"],
        subcategory=described.words["kahnSubcategory"],
        severity=described.words.get("severity", ""),
        words=words,
    )


def _threshold(row: _Row, column: str) -> float | None:
    text = row.words.get(column, "").strip()
    if text in ("", "NA"):
        return None
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 100:
        raise row.refusal(f"{column} must be a percentage from 0 to 100")
    return found


def _check_id(kind: CheckType, words: Mapping[str, str]) -> str:
    parts = (kind.level, kind.name, words["cdmTableName"], words.get("cdmFieldName", ""))
    concept = (words.get("conceptId", ""), words.get("unitConceptId", ""))
    named = (part.replace(" ", "") for part in (*parts, *concept))
    return "_".join(part for part in named if part).lower()


def _filled(template: str, words: Mapping[str, str]) -> str:
    """DQD's sentence with the row's words, which it writes in capitals; longest names first, for
    @plausibleGender begins @plausibleGenderUseDescendants."""
    for column in sorted(words, key=len, reverse=True):
        template = template.replace(f"@{column}", words[column].upper())
    return " ".join(template.split())


def _bound(text: str, today: date) -> float | date | None:
    if text == _TOMORROW:
        return today + timedelta(days=1)
    if text == _NEXT_YEAR:
        return float(today.year + 1)
    day = _DAY.fullmatch(text)
    try:
        return date(int(day[1]), int(day[2]), int(day[3])) if day else float(text)
    except ValueError:
        return None
