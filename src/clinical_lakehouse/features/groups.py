"""Feature groups as data: conf/features/*.yml, one group a file, refused with file and line."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clinical_lakehouse.methods.lab_analytes import analyte_of
from clinical_lakehouse.methods.units import conversion, is_ucum
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

EVER = 1_000_000  # days: a window that nothing is older than
_WINDOW = re.compile(r"([1-9]\d{0,3})d|ever")
_NAME = re.compile(r"[a-z][a-z0-9_]*")

# Source -> does it carry numbers, and does it last (has an end)?
SOURCES: Mapping[str, tuple[bool, bool]] = {
    "lab": (True, False),
    "vital": (True, False),
    "score": (True, False),
    "dose": (True, False),
    "drug": (False, True),
    "condition": (False, True),
    "adverse_event": (False, False),
    "serious_event": (False, False),
    "visit": (False, False),
    "participation": (False, True),
}
NUMERIC = ("latest", "first", "mean", "min", "max", "slope", "sd", "trend_change")
_LASTING = ("exposure_days", "is_active")
_ANY = ("count", "days_since", "missing_ratio")
# Aggregation -> UCUM unit of what it gives; {unit} is the unit of the values.
AGGREGATIONS: Mapping[str, str] = {
    **dict.fromkeys(("latest", "first", "mean", "min", "max", "sd"), "{unit}"),
    **dict.fromkeys(("slope", "trend_change"), "{unit}/d"),
    **dict.fromkeys(("count", "is_active", "adherence", "missing_ratio"), "1"),
    **dict.fromkeys(("days_since", "days_abnormal", "exposure_days"), "d"),
}
_BOUNDED = ("missing_ratio", "trend_change")
_SERIES = (
    *("source", "codes", "classes", "unit", "plausible", "normal", "windows"),
    *("aggregations", "meaning"),
)


@dataclass(frozen=True)
class Series:
    """What is looked at: records of a source with one of these codes (none: all of them)."""

    name: str
    source: str
    meaning: str
    windows: tuple[int, ...]
    aggregations: tuple[str, ...]
    codes: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    unit: str | None = None
    plausible: tuple[float, float] | None = None
    normal: tuple[float, float] | None = None


@dataclass(frozen=True)
class Feature:
    """One number: an aggregation of a series over a window of days."""

    name: str
    series: str
    aggregation: str
    window_days: int
    unit: str


@dataclass(frozen=True)
class Group:
    """Features of one entity that are computed, versioned and served together.

    `knowledge` says what the lake must have known: `then` on the index date itself, `now` at the
    run. `revision` is raised by hand when code, not conf, changes what a value means.
    """

    name: str
    owner: str
    meaning: str
    every_days: int
    knowledge: str
    revision: int
    series: tuple[Series, ...]
    entity: str = "subject"

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """Every feature in its order: by series, window, then aggregation by name."""
        return tuple(f for one in self.series for f in _features(one))


def load_groups(conf: Path) -> dict[str, Group]:
    """Every group of conf/features by name; SettingsError says what to change, file and line."""
    found: dict[str, Group] = {}
    for path in sorted((conf / "features").glob("*.yml")):
        fields = read_fields(path, conf.parent)
        group = _group(fields)
        if group.name in found:
            raise fields.refusal(f"declares the group {group.name!r} a second time", "group")
        found[group.name] = group
    return found


def read_group(path: Path, root: Path) -> Group:
    """The group of one file below `root`."""
    return _group(read_fields(path, root))


def _group(top: Fields) -> Group:
    top.allow("group", "owner", "meaning", "entity", "every_days", "knowledge", "revision",
              "features")  # fmt: skip
    name = _named(top, top.text("group"), "group")
    every = int(top.number("every_days", 7, 1))
    entity = top.choice("entity", ("subject",), "subject")
    knowledge = top.choice("knowledge", ("then", "now"), "then")
    revision = int(top.number("revision", 1, 1))
    series = tuple(_series(key, fields) for key, fields in top.named("features"))
    if not series:
        raise top.refusal("needs at least one entry under features", "features")
    owner, meaning = top.text("owner"), top.text("meaning")
    return Group(name, owner, meaning, every, knowledge, revision, series, entity)


def _series(name: str, fields: Fields) -> Series:
    fields.allow(*_SERIES)
    source = fields.choice("source", tuple(SOURCES))
    allowed = _allowed(source, fields.value("normal", None) is not None)
    aggregations = fields.known("aggregations", tuple(AGGREGATIONS), "aggregation")
    for at, one in enumerate(aggregations):
        if one not in allowed:
            text = f"{one} cannot be taken of {source}; it can: {', '.join(sorted(allowed))}"
            raise fields.refusal(text, "aggregations", at)
    codes = fields.words("codes", ())
    made = Series(
        name=_named(fields, name),
        source=source,
        meaning=fields.text("meaning"),
        windows=_windows(fields, aggregations),
        aggregations=aggregations,
        codes=codes,
        classes=_classes(fields),
        unit=_unit(fields, source, codes),
        plausible=_range(fields, "plausible"),
        normal=_range(fields, "normal"),
    )
    for kind in ("windows", "aggregations"):
        if len(set(getattr(made, kind))) != len(getattr(made, kind)):
            raise fields.refusal(f"{kind} names one twice", kind)
    return made


def _allowed(source: str, has_normal: bool) -> set[str]:
    numeric, lasting = SOURCES[source]
    allowed = {*_ANY, *(NUMERIC if numeric else ()), *(_LASTING if lasting else ())}
    return (
        allowed
        | ({"adherence"} if source == "visit" else set())
        | ({"days_abnormal"} if numeric and has_normal else set())
    )


def _windows(fields: Fields, aggregations: tuple[str, ...]) -> tuple[int, ...]:
    found = []
    for at, text in enumerate(fields.words("windows")):
        match = _WINDOW.fullmatch(text)
        if not match:
            raise fields.refusal(f"has no window {text!r}; write 30d or ever", "windows", at)
        days = int(match[1]) if match[1] else EVER
        bounded = [one for one in aggregations if one in _BOUNDED]
        if bounded and (days == EVER or days % 2):
            text = f"{bounded[0]} needs windows of an even number of days"
            raise fields.refusal(text, "windows", at)
        found.append(days)
    if not found:
        raise fields.refusal("windows must name at least one window", "windows")
    return tuple(found)


def _classes(fields: Fields) -> tuple[int, ...]:
    """Concept ids of classes (ATC, RxNorm ingredient, SNOMED): their descendants are meant too."""
    found = fields.value("classes", [])
    if not isinstance(found, list) or not all(type(one) is int and one > 0 for one in found):
        raise fields.refusal("classes must be a list of OMOP concept ids", "classes")
    return tuple(found)


def _unit(fields: Fields, source: str, codes: tuple[str, ...]) -> str | None:
    unit = fields.text("unit", None)
    if not SOURCES[source][0]:
        if unit is not None:
            raise fields.refusal(f"{source} has no values, so no unit", "unit")
        return None
    if unit is None:
        raise fields.refusal("needs the field 'unit': a UCUM unit, e.g. mg/dL")
    if not is_ucum(unit):
        raise fields.refusal("unit is not a UCUM unit, e.g. mg/dL", "unit")
    for code in codes:
        analyte = analyte_of(code)
        if analyte and analyte.unit and conversion(analyte.unit, unit, analyte).factor is None:
            raise fields.refusal(f"unit cannot be reached from {analyte.unit} of {code}", "unit")
    return unit


def _range(fields: Fields, name: str) -> tuple[float, float] | None:
    found = fields.value(name, None)
    if found is None:
        return None
    numbers = isinstance(found, list) and all(type(one) in (int, float) for one in found)
    if not numbers or len(found) != 2 or found[0] >= found[1]:
        raise fields.refusal(f"{name} must be [low, high]", name)
    return float(found[0]), float(found[1])


def _named(fields: Fields, name: str, *where: str) -> str:
    if not _NAME.fullmatch(name):
        raise fields.refusal("names are lower case letters, digits and _", *where)
    return name


def _features(series: Series) -> Iterator[Feature]:
    for days in series.windows:
        window = "ever" if days == EVER else f"{days}d"
        for one in sorted(series.aggregations):
            unit = AGGREGATIONS[one].replace("{unit}", series.unit or "1")
            yield Feature(f"{series.name}_{one}_{window}", series.name, one, days, unit)
