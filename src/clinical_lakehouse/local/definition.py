"""One resource as written: a job's lists with keys become mappings, so that targets can merge."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.methods.yaml_source import Place, Source, Where

# A job's lists whose items a target overrides by key, and the key; other lists are extended.
KEYED = {
    "tasks": "task_key",
    "parameters": "name",
    "environments": "environment_key",
    "job_clusters": "job_cluster_key",
}


@dataclass(frozen=True)
class Definition:
    """A resource's content, its keyed lists as mappings, and where each thing was written."""

    key: str
    content: Mapping[str, Any]
    places: Mapping[Where, Place]
    kind: str = "jobs"

    @property
    def noun(self) -> str:
        """What messages call it, e.g. `job x` or `quality monitor x`."""
        return f"{self.kind.removesuffix('s').replace('_', ' ')} {self.key}"

    def place(self, *where: str | int) -> Place:
        """File and line of the nearest thing known at or above `where`."""
        lengths = range(len(where), -1, -1)
        return next(self.places[where[:n]] for n in lengths if where[:n] in self.places)

    def refuse(self, message: str, *where: str | int) -> BundleError:
        """The error that says where in which file what is wrong."""
        return BundleError(f"{self.place(*where)}: {self.noun}: {message}")

    def merged(self, over: "Definition") -> "Definition":
        """This definition overridden by a target's."""
        places = {**self.places, **over.places}
        return replace(self, content=merge(self.content, over.content), places=places)

    def filled(self, fill: Callable[[str], Any]) -> "Definition":
        """The same with `fill` applied to every text."""
        return replace(self, content=self._fill(self.content, fill, ()))

    def fill_faults(self, fill: Callable[[str], Any]) -> list[str]:
        """One line for every text that `fill` refuses."""
        faults = []
        for where, text in texts_in(self.content):
            try:
                fill(text)
            except BundleError as error:
                faults.append(str(self.refuse(str(error), *where)))
        return faults

    def holding(self, **content: Any) -> "Definition":
        """The same resource with nothing in it but `content`."""
        return replace(self, content=content)

    def _fill(self, value: Any, fill: Callable[[str], Any], where: Where) -> Any:
        if isinstance(value, Mapping):
            return {k: self._fill(v, fill, (*where, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self._fill(v, fill, (*where, at)) for at, v in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            return fill(value)
        except BundleError as error:
            raise self.refuse(str(error), *where) from None

    def count(self, item: Mapping[str, Any], name: str, default: int, *where: str) -> int:
        """A whole number, 0 or more, of an item; refused if it is anything else."""
        value = item.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.refuse(f"{name} must be a whole number, 0 or more", *where, name)
        return value

    def refuse_unknown(self, item: Mapping[str, Any], known: Collection[str], *where: str) -> None:
        """Refuse a key that Databricks does not know; it would be lost without a word."""
        for name in item:
            if name not in known:
                hint = did_you_mean(name, known)
                raise self.refuse(f"unknown key {name!r}{hint}", *where, name)

    def document(self) -> dict[str, Any]:
        """The resource as Databricks takes it, keyed lists as lists again."""
        return {
            name: list(value.values()) if name in KEYED and isinstance(value, Mapping) else value
            for name, value in self.content.items()
        }


def read_definition(source: Source, where: Where) -> Definition:
    """The resource at `where` of a file, `where` ending in its kind and key."""
    kind, key, value = str(where[-2]), str(where[-1]), _at(source.content, where)
    found = Definition(key, {}, {(): source.place(*where)}, kind)
    if not isinstance(value, Mapping):
        raise BundleError(f"{source.place(*where)}: {found.noun} must be a mapping")
    places: dict[Where, Place] = {**found.places}
    content: dict[str, Any] = {}
    for name, item in value.items():
        at, is_keyed = (*where, name), kind == "jobs" and name in KEYED
        content[name] = _keyed(source, at, item, places) if is_keyed else item
        if not is_keyed:
            _note(source, at, (name,), places)
    return replace(found, content=content, places=places)


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key, lists are joined, anything else is replaced."""
    merged = dict(low)
    for key, value in high.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = [*before, *value]
        else:
            merged[key] = value
    return merged


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, if any."""
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def texts_in(value: Any, where: Where = ()) -> Iterator[tuple[Where, str]]:
    """Every text of a value and where in it it stands."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts_in(item, (*where, name))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from texts_in(item, (*where, at))
    elif isinstance(value, str):
        yield where, value


def _keyed(source: Source, where: Where, items: Any, places: dict[Where, Place]) -> dict[str, Any]:
    """A keyed list as a mapping by key, in order."""
    name, key_name = str(where[-1]), KEYED[str(where[-1])]
    if not isinstance(items, list):
        raise BundleError(f"{source.place(*where)}: {name} must be a list")
    found: dict[str, Any] = {}
    for at, item in enumerate(items):
        place, key = source.place(*where, at), item.get(key_name) if hasattr(item, "get") else None
        if not isinstance(key, str):
            raise BundleError(f"{place}: an item of {name} has no {key_name}")
        if key in found:
            raise BundleError(f"{place}: {key_name} {key!r} stands a second time")
        found[key] = item
        _note(source, (*where, at), (name, key), places)
    return found


def _note(source: Source, at: Where, to: Where, places: dict[Where, Place]) -> None:
    """Copy the places at and below `at` to paths that begin with `to`."""
    for where, line in source.lines.items():
        if where[: len(at)] == at:
            places[(*to, *where[len(at) :])] = Place(source.file, line)


def _at(content: Any, where: Where) -> Any:
    for step in where:
        content = content[step]
    return content
