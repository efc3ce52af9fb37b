"""What a group means, as JSON and as a version, and what a change of it asks for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Any

from clinical_lakehouse.features.groups import Group, Series

# Raise it when the engine's code changes what every value means.
_ENGINE = 1
_TOLD = ("owner", "meaning")  # of a group and its series: they change no value


class Verdict(StrEnum):
    """What a change of a definition asks for."""

    NOTHING = "nothing"
    METADATA = "metadata only"
    RECOMPUTE = "recompute"
    INCOMPATIBLE = "incompatible"


def resolved(group: Group, members: Mapping[int, Sequence[str]]) -> Group:
    """The group with the codes of its classes (concept id -> codes whose concept descends from it)
    written out, sorted and once each: what it looks for, not how it says so."""
    return replace(group, series=tuple(_resolved(one, members) for one in group.series))


def _resolved(series: Series, members: Mapping[int, Sequence[str]]) -> Series:
    inherited = {code for one in series.classes for code in members.get(one, ())}
    return replace(
        series,
        codes=tuple(sorted({*series.codes, *inherited})),
        classes=tuple(sorted(set(series.classes))),
    )


def as_json(group: Group) -> str:
    """The definition as JSON; the same definition gives the same text."""
    return json.dumps(asdict(group), sort_keys=True)


def from_json(text: str) -> Group:
    """The group of `as_json`."""
    content = json.loads(text)
    series = tuple(Series(**_tuples(one)) for one in content.pop("series"))
    return Group(**content, series=series)


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}


def version_of(group: Group) -> str:
    """Twelve hex digits of the SHA-256 of what values mean: sources, code lists, units, ranges,
    windows, aggregations, grid and knowledge; neither owner nor words."""
    text = json.dumps(_meaning(group), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def verdict(before: Group, after: Group) -> Verdict:
    """What the change asks for. Incompatible is what readers cannot take: another entity or grid, a
    feature gone, or one in another unit. The order of entries is no change."""
    if before.entity != after.entity or before.every_days != after.every_days:
        return Verdict.INCOMPATIBLE
    units = {feature.name: feature.unit for feature in after.features}
    if any(units.get(feature.name) != feature.unit for feature in before.features):
        return Verdict.INCOMPATIBLE
    if _meaning(before) != _meaning(after):
        return Verdict.RECOMPUTE
    return Verdict.NOTHING if _words(before) == _words(after) else Verdict.METADATA


def _meaning(group: Group) -> dict[str, Any]:
    content = asdict(group)
    series = [_without(one) for one in content.pop("series")]
    ordered = sorted(series, key=lambda one: str(one["name"]))
    return {**_without(content), "series": ordered, "engine": _ENGINE}


def _without(content: Mapping[str, Any]) -> dict[str, Any]:
    """What changes values: lists whose order does not matter are sorted."""
    loose = ("codes", "classes", "windows", "aggregations")
    return {
        k: sorted(v) if k in loose else list(v) if isinstance(v, tuple) else v
        for k, v in content.items()
        if k not in _TOLD
    }


def _words(group: Group) -> dict[str, str]:
    told = {series.name: series.meaning for series in group.series}
    return {**told, " owner": group.owner, " meaning": group.meaning}
