"""Rules of medical codes: LOINC's check digit, the forms of ICD-10-CM and RxNorm, their years."""

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical_lakehouse.errors import SourceError

_LOINC = re.compile(r"(\d{1,7})-(\d)")
_ICD10CM = re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?")
_RXNORM = re.compile(r"[1-9]\d{0,7}")


def loinc_check_digit(number: str) -> int:
    """The Mod 10 check digit of a LOINC number without it (LOINC Users' Guide, appendix B)."""
    doubled = str(int(number[::-1][::2]) * 2)
    total = sum(map(int, doubled)) + sum(map(int, number[::-1][1::2]))
    return -total % 10


def is_loinc(code: str) -> bool:
    """Is it a LOINC code with the right check digit?"""
    found = _LOINC.fullmatch(code)
    return found is not None and loinc_check_digit(found[1]) == int(found[2])


def is_rxcui(code: str) -> bool:
    """Has it the form of an RxNorm concept id (RXCUI): up to 8 digits, no leading zero?"""
    return _RXNORM.fullmatch(code) is not None


def undotted(code: str) -> str:
    """An ICD code as the public files write it: upper case, without its dot."""
    return code.strip().upper().replace(".", "")


@dataclass(frozen=True)
class Icd10CmYear:
    """ICD-10-CM of one fiscal year (from 1 October before): codes that may be billed, with their
    titles where the file has them, and headers that may not."""

    year: int
    billable: Mapping[str, str]
    headers: frozenset[str]


def read_icd10cm(path: Path, year: int) -> Icd10CmYear:
    """A public list of codes (.txt or .txt.gz), one a line, a title after it if any.

    A code that is longer than another and begins with it makes that one a header; so lists with and
    without headers read the same. SourceError where the file holds no code.
    """
    titles = {code: rest.strip() for code, rest in _fields(path) if _ICD10CM.fullmatch(code)}
    headers = {code[:n] for code in titles for n in range(3, len(code))}
    if not titles:
        raise SourceError(f"{path.name} holds no ICD-10-CM code; give a list with a code a line")
    billable = {code: title for code, title in titles.items() if code not in headers}
    return Icd10CmYear(year, billable, frozenset(headers))


def icd10cm_status(code: str, year: int, releases: Sequence[Icd10CmYear]) -> str:
    """billable, header, expired (billable in an earlier loaded year), not_yet (in a later one),
    unknown or malformed, for a fiscal year. SourceError where that year is not loaded."""
    if not _ICD10CM.fullmatch(code.strip().upper()):
        return "malformed"
    by_year = {release.year: release for release in releases}
    if year not in by_year:
        raise SourceError(f"ICD-10-CM {year} is not loaded; give its list of codes")
    plain = undotted(code)
    if plain in by_year[year].billable:
        return "billable"
    # Expired comes first: a code that was split this year has become a header.
    if any(plain in release.billable for release in releases if release.year < year):
        return "expired"
    if plain in by_year[year].headers:
        return "header"
    later = any(plain in release.billable for release in releases if release.year > year)
    return "not_yet" if later else "unknown"


@dataclass(frozen=True)
class GemEntry:
    """One line of a General Equivalence Mapping (CMS): `scenario` and `choice` order the parts of a
    combination; `target` is empty for no map."""

    source: str
    target: str
    is_approximate: bool
    is_no_map: bool
    is_combination: bool
    scenario: int
    choice: int


@dataclass(frozen=True)
class Translation:
    """One way to say an ICD-9-CM code in ICD-10-CM: by scenario, for each choice list its codes.

    More than one choice list means that a code of each is needed together.
    """

    choices: tuple[tuple[str, ...], ...]
    is_approximate: bool


def read_gems(path: Path) -> dict[str, list[GemEntry]]:
    """Entries by source code of a GEM: CMS's text (source, target, five flags) or a CSV of it."""
    entries: dict[str, list[GemEntry]] = {}
    for entry in filter(None, map(_gem_entry, _lines(path))):
        entries.setdefault(entry.source, []).append(entry)
    if not entries:
        raise SourceError(f"{path.name} holds no mapping; give a GEM with source, target and flags")
    return entries


def translations(code: str, gems: Mapping[str, Sequence[GemEntry]]) -> list[Translation]:
    """The ways GEMs give for a code; none where it has no map or is not listed."""
    entries = [e for e in gems.get(undotted(code), ()) if not e.is_no_map]
    single = [Translation(((e.target,),), e.is_approximate) for e in entries if not e.scenario]
    combined = []
    for scenario in sorted({e.scenario for e in entries if e.scenario}):
        parts: dict[int, list[str]] = {}
        for entry in (e for e in entries if e.scenario == scenario):
            parts.setdefault(entry.choice, []).append(entry.target)
        combined.append(Translation(tuple(tuple(parts[n]) for n in sorted(parts)), True))
    return single + combined


def _gem_entry(line: str) -> GemEntry | None:
    fields = re.split(r"[,\s]+", line.replace('"', "").strip())[:3]
    if len(fields) < 3 or not re.fullmatch(r"[01]{3}\d\d", fields[2]):
        return None
    source, target, flags = fields
    is_no_map = flags[1] == "1"
    approximate, combination = flags[0] == "1", flags[2] == "1"
    order = int(flags[3]), int(flags[4])
    return GemEntry(
        source, "" if is_no_map else target, approximate, is_no_map, combination, *order
    )


def _fields(path: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(path):
        code, _, rest = line.strip().partition(" ")
        yield code, rest


def _lines(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise SourceError(f"no file {path.name!r}; give the path of a public code list")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        yield from file
