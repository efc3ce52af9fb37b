"""Reads a conf file field by field: whatever does not fit is refused with its file and line."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clinical_lakehouse.errors import BundleError, SettingsError
from clinical_lakehouse.methods.yaml_source import Place, Source, Where, read_source

_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_MISSING = object()


def read_fields(path: Path, root: Path) -> "Fields":
    """The file as fields; SettingsError names file and line of what is not YAML."""
    try:
        return Fields(read_source(path, root), ())
    except BundleError as error:
        raise SettingsError(str(error)) from None


@dataclass(frozen=True)
class Fields:
    """A mapping of a conf file, and where it stands. Each reader raises SettingsError."""

    source: Source
    where: Where

    def place(self, *names: str | int) -> Place:
        """The line of a field, or of what holds it."""
        return self.source.place(*self.where, *names)

    def refusal(self, text: str, *names: str | int) -> SettingsError:
        """The error that says what to change, with file and line."""
        return SettingsError(f"{self.place(*names)} {text}")

    @property
    def content(self) -> Mapping[str, Any]:
        """The mapping itself; a list or a word in its place is refused."""
        found: Any = self.source.content
        for step in self.where:
            found = found[step]
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self.refusal("must be a mapping")
        return found

    def allow(self, *names: str) -> "Fields":
        """Refuse every field but these."""
        for name in self.content:
            if name not in names:
                raise self.refusal(f"has an unknown field {name!r}; known: {_list(names)}", name)
        return self

    def value(self, name: str, default: Any = _MISSING) -> Any:
        """The field as YAML gives it; without a default it must be there."""
        found = self.content.get(name)
        if found is not None:
            return found
        if default is _MISSING:
            raise self.refusal(f"needs the field {name!r}")
        return default

    def text(self, name: str, default: Any = _MISSING) -> str:
        """A word or a sentence."""
        return self._of(str, "a text", name, default)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        return self._of(bool, "true or false", name, default)

    def number(self, name: str, default: Any = _MISSING, least: float = 0.0) -> float:
        """A number, at least `least`."""
        found = self.value(name, default)
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        if found is not default and (not is_number or found < least):
            raise self.refusal(f"{name} must be a number of at least {least:g}", name)
        return found

    def choice(self, name: str, options: Collection[str], default: Any = _MISSING) -> str:
        """One of a few words."""
        found = self.value(name, default)
        if found is not default and found not in options:
            raise self.refusal(f"{name} must be one of {_list(options)}", name)
        return found

    def words(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of words; a single word is a list of one."""
        found = self.value(name, default)
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list | tuple) or not all(isinstance(w, str) for w in listed):
            raise self.refusal(f"{name} must be a list of words", name)
        return tuple(listed)

    def known(self, name: str, options: Collection[str], what: str) -> tuple[str, ...]:
        """A list of words that all are among what is declared elsewhere."""
        found = self.words(name)
        for at, word in enumerate(found):
            if word not in options:
                raise self.refusal(f"names an unknown {what} {word!r}", name, at)
        if not found:
            raise self.refusal(f"{name} must name at least one {what}", name)
        return found

    def clock(self, name: str, default: Any = _MISSING) -> time:
        """A wall time; it stands in quotes, for YAML 1.1 reads 10:30 as the number 630."""
        found = self.value(name, default)
        if found is default:
            return found
        if not isinstance(found, str) or not _CLOCK.fullmatch(found):
            raise self.refusal(f'{name} must be a wall time in quotes, e.g. "09:00"', name)
        return time.fromisoformat(found)

    def day(self, name: str, default: Any = _MISSING) -> date:
        """A day, e.g. 2024-06-30."""
        found = self.value(name, default)
        if found is not default and (not isinstance(found, date) or isinstance(found, datetime)):
            raise self.refusal(f"{name} must be a day, e.g. 2024-06-30", name)
        return found

    def moment(self, name: str, zone: ZoneInfo) -> datetime:
        """A wall time of a day in `zone`, e.g. 2024-06-30T09:00, unless it says its offset."""
        found = self.value(name)
        if isinstance(found, str) and not isinstance(found, datetime):
            try:
                found = datetime.fromisoformat(found)
            except ValueError:
                found = None
        if not isinstance(found, datetime):
            raise self.refusal(f"{name} must be a moment, e.g. 2024-06-30T09:00", name)
        return found if found.tzinfo else found.replace(tzinfo=zone)

    def zone(self, name: str, default: Any = _MISSING) -> ZoneInfo:
        """A time zone by its IANA name."""
        found = self.value(name, default)
        if isinstance(found, ZoneInfo):
            return found
        try:
            return ZoneInfo(found)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            text = f"{name} must be an IANA time zone, e.g. Europe/Berlin"
            raise self.refusal(text, name) from None

    def inner(self, name: str) -> "Fields":
        """The mapping below a field; empty where it is absent."""
        if self.content.get(name) is None:
            return Fields(Source(self.source.file, {}, {}), ())
        return Fields(self.source, (*self.where, name))

    def named(self, name: str) -> Iterator[tuple[str, "Fields"]]:
        """Each mapping below a field, by its name."""
        below = self.inner(name)
        for key in below.content:
            yield key, Fields(below.source, (*below.where, key))

    def each(self, name: str) -> Iterator["Fields"]:
        """Each mapping of a list; nothing where the list is absent."""
        listed = self.value(name, [])
        if not isinstance(listed, list):
            raise self.refusal(f"{name} must be a list", name)
        for at in range(len(listed)):
            yield Fields(self.source, (*self.where, name, at))

    def _of(self, kind: type, what: str, name: str, default: Any) -> Any:
        found = self.value(name, default)
        if found is not default and not isinstance(found, kind):
            raise self.refusal(f"{name} must be {what}", name)
        return found


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
