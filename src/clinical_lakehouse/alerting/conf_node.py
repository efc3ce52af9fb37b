"""One value of a YAML file with its place, so that what is refused is named by file and line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import BundleError, SettingsError
from clinical_lakehouse.methods.yaml_source import Source, Where, read_source

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}


@dataclass(frozen=True)
class Node:
    """A value of a YAML file and where it stands; every reader raises SettingsError with that."""

    source: Source
    where: Where
    value: Any

    @property
    def place(self) -> str:
        """File and line."""
        return str(self.source.place(*self.where))

    def refused(self, why: str) -> SettingsError:
        """The error that says why, at this place."""
        return SettingsError(f"{self.place}: {why}")

    def mapping(self, allowed: Sequence[str], required: Sequence[str] = ()) -> dict[str, "Node"]:
        """Its entries by key; a key that is not allowed, and one that lacks, is refused by name."""
        if not isinstance(self.value, dict):
            raise self.refused(f"{self._name} must be a mapping of {', '.join(allowed)}")
        found = self.entries()
        for key, node in found.items():
            if key not in allowed:
                raise node.refused(f"{key} is not supported here; known are {', '.join(allowed)}")
        for key in required:
            if key not in found or found[key].value is None:
                raise self.refused(f"{self._name} needs {key}")
        return found

    def entries(self) -> dict[str, "Node"]:
        """Its entries by key, whatever they are called; none for an empty value."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.refused(f"{self._name} must be a mapping")
        return {key: Node(self.source, (*self.where, key), at) for key, at in self.value.items()}

    def items(self) -> Iterator["Node"]:
        """The items of a list; none for an empty value."""
        if not isinstance(self.value, list | None):
            raise self.refused(f"{self._name} must be a list")
        for at, item in enumerate(self.value or ()):
            yield Node(self.source, (*self.where, at), item)

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.refused(f"{self._name} must be text; quote a number, yes or no")
        return self.value

    def word(self, allowed: Sequence[str]) -> str:
        """One of these words."""
        if self.value not in allowed:
            raise self.refused(f"{self._name} must be one of {', '.join(allowed)}")
        return str(self.value)

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text() for item in self.items())

    def labels(self) -> dict[str, str]:
        """A mapping of texts; an empty text is allowed, it stands for a missing label."""
        for node in self.entries().values():
            if not isinstance(node.value, str):
                raise node.refused(f"{node._name} must be text; put it in quotes")
        return dict(self.value or {})

    def flag(self) -> bool:
        """true or false."""
        if not isinstance(self.value, bool):
            raise self.refused(f"{self._name} must be true or false")
        return self.value

    def number(self) -> float:
        """A number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.refused(f"{self._name} must be a number")
        return float(self.value)

    def duration(self) -> timedelta:
        """A duration as Prometheus writes it, e.g. 5m or 1h30m."""
        found = parse_duration(str(self.value))
        if found is None:
            raise self.refused(f"{self._name} must be a duration such as 30s, 5m or 1h30m")
        return found

    @property
    def _name(self) -> str:
        named = [part for part in self.where if isinstance(part, str)]
        if not named:
            return "the file"
        return f"an item of {named[-1]}" if isinstance(self.where[-1], int) else named[-1]


def read_conf(path: Path) -> Node:
    """A YAML file as a node, named by its file name; SettingsError says what is wrong with it."""
    try:
        source = read_source(path, path.parent)
    except BundleError as error:
        raise SettingsError(str(error)) from None
    return Node(source, (), source.content)


def parse_duration(text: str) -> timedelta | None:
    """A Prometheus duration: whole numbers with units from y down to ms; None if it is not one."""
    total, rest, order = timedelta(), text, ["y", "w", "d", "h", "m", "s", "ms"]
    if text == "0":
        return total
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        unit = "ms" if rest[len(digits) :].startswith("ms") else rest[len(digits) : len(digits) + 1]
        if not digits or unit not in order:
            return None
        total += int(digits) * _UNITS[unit]
        order = order[order.index(unit) + 1 :]
        rest = rest[len(digits) + len(unit) :]
    return total if text else None


def in_words(duration: timedelta) -> str:
    """A duration as Prometheus writes it: 1h30m."""
    left, parts = duration, []
    for unit, length in (("d", _UNITS["d"]), ("h", _UNITS["h"]), ("m", _UNITS["m"])):
        count, left = divmod(left, length)
        parts += [f"{count}{unit}"] if count else []
    seconds = left.total_seconds()
    return "".join([*parts, f"{seconds:g}s"] if seconds or not parts else parts)
