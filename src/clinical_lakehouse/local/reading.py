"""Reads all files of a bundle for one target and notes every fault instead of stopping at one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import BundleError, UsageError
from clinical_lakehouse.local.definition import (
    Definition,
    did_you_mean,
    read_definition,
    texts_in,
)
from clinical_lakehouse.local.job import Job, read_job
from clinical_lakehouse.local.variables import Scope, Variables, read_variables
from clinical_lakehouse.methods.yaml_source import Source, read_source

ROOT_FILE = "databricks.yml"
_ROOT_KEYS = frozenset(
    {"bundle", "include", "variables", "artifacts", "targets", "resources", "permissions"}
    | {"presets", "run_as", "workspace", "sync", "experimental", "scripts", "python"}
)
_SHAPES: Mapping[str, type] = {
    **dict.fromkeys(("bundle", "variables", "artifacts", "targets", "resources"), dict),
    "include": list,
}
_KIND_NAMES: Mapping[type, str] = {dict: "mapping", list: "list"}


@dataclass(frozen=True)
class Survey:
    """One target of a bundle: `written` as in the files, `filled` with values for `${...}`, `jobs`
    as far as they can be read, and one line for each fault met on the way."""

    folder: Path
    sources: tuple[Source, ...]
    scope: Scope
    written: Mapping[str, Mapping[str, Definition]]
    filled: Mapping[str, Mapping[str, Definition]]
    jobs: Mapping[str, Job]
    faults: list[str] = field(default_factory=list)
    is_whole: bool = True  # false where a file could not be read, so that names are missing

    @property
    def root(self) -> Source:
        """The root file."""
        return self.sources[0]


def survey(
    folder: Path, target: str | None, given: Mapping[str, str], environ: Mapping[str, str]
) -> Survey:
    """Read the bundle below `folder`; BundleError only where the root file itself is unreadable."""
    faults: list[str] = []
    sources, is_whole = _sources(folder, faults)
    root, chosen = sources[0], _target(sources[0], target)
    variables = Variables(tuple(root.content.get("variables") or {}), {})
    with _noting(faults):
        variables = read_variables(root, chosen, given, environ)
    written = _definitions(sources, chosen, faults)
    name = str((root.content.get("bundle") or {}).get("name", ""))
    scope = Scope(name, chosen, variables, written)
    filled: dict[str, dict[str, Definition]] = {}
    for kind, definitions in written.items():
        for key, one in definitions.items():
            unfilled = one.fill_faults(scope.fill)
            faults += unfilled
            if not unfilled:
                filled.setdefault(kind, {})[key] = one.filled(scope.fill)
    jobs: dict[str, Job] = {}
    for key, one in filled.get("jobs", {}).items():
        try:
            jobs[key] = _read_job(one)
        except BundleError as first:
            faults += _parts_faults(one) or [str(first)]
    return Survey(folder, tuple(sources), scope, written, filled, jobs, faults, is_whole)


def _parts_faults(one: Definition) -> list[str]:
    """The faults of a job that cannot be read, its parts read one by one: reading stops at the
    first."""
    stand_in = {"x": {"python_wheel_task": {"entry_point": "x"}}}
    others = {name: value for name, value in one.content.items() if name != "tasks"}
    starts = {name: others.pop(name) for name in ("schedule", "trigger", "continuous")
              if name in others}  # fmt: skip
    parts = [one.holding(tasks=stand_in, **starts)]
    parts += [one.holding(tasks=stand_in, **{name: value}) for name, value in others.items()]
    tasks = one.content.get("tasks")
    if isinstance(tasks, Mapping):
        parts += [one.holding(tasks={key: item}) for key, item in tasks.items()]
    faults: list[str] = []
    for part in parts:
        with _noting(faults):
            _read_job(part)
    return faults


def _read_job(one: Definition) -> Job:
    """The job; BundleError also for a value of a kind that reading does not reckon with."""
    try:
        return read_job(one)
    except (AttributeError, TypeError, ValueError, KeyError):
        where = [name for name in one.content if name != "tasks"][-1:]
        where = where or ["tasks", *list(one.content["tasks"])[:1]]
        said = f"{where[-1]} holds a value of the wrong kind"
        raise one.refuse(said, *where[:2]) from None


@contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except BundleError as error:
        faults.append(str(error))


def _sources(folder: Path, faults: list[str]) -> tuple[list[Source], bool]:
    """The root file and everything it includes, in order; and could all be read?"""
    if not (folder / ROOT_FILE).is_file():
        raise BundleError(f"no {ROOT_FILE} in the bundle's folder")
    root = _shaped(read_source(folder / ROOT_FILE, folder), faults)
    for key in root.content:
        if key not in _ROOT_KEYS:
            faults.append(f"{root.place(key)}: unknown key {key!r}{did_you_mean(key, _ROOT_KEYS)}")
    found: dict[Path, Source] = {}
    named: set[Path] = set()
    for at, pattern in enumerate(root.content.get("include") or []):
        is_pattern = isinstance(pattern, str) and pattern != ""
        paths = sorted(folder.glob(pattern)) if is_pattern else []
        if not paths and "*" not in str(pattern):
            place = root.place("include", at)
            faults.append(f"{place}: includes {pattern!r}, which is no file")
        for path in (path for path in paths if path not in named):
            with _noting(faults):
                found[path] = read_source(path, folder)
        named.update(paths)
    return [root, *found.values()], len(found) == len(named)


def _shaped(root: Source, faults: list[str]) -> Source:
    """The root file without what is of a kind that cannot be read."""
    content = dict(root.content)
    for name, value in root.content.items():
        kind = _SHAPES.get(name)
        if kind and value is not None and not isinstance(value, kind):
            faults.append(f"{root.place(name)}: {name} must be a {_KIND_NAMES[kind]}")
            del content[name]
    for name in ("targets", "variables", "artifacts"):
        for key, value in (content.get(name) or {}).items():
            if value is not None and not isinstance(value, dict):
                faults.append(f"{root.place(name, key)}: {key} must be a mapping")
                content[name] = {**content[name], key: {}}
    return replace(root, content=content)


def _target(root: Source, wanted: str | None) -> str:
    targets = root.content.get("targets") or {}
    if wanted is None:
        wanted = next((k for k, t in targets.items() if (t or {}).get("default")), None)
        wanted = wanted or next(iter(targets), "dev")
    if wanted not in targets:
        known = ", ".join(targets)
        raise UsageError(f"the bundle has no target {wanted!r}; known: {known}")
    return wanted


def _definitions(
    sources: list[Source], target: str, faults: list[str]
) -> dict[str, dict[str, Definition]]:
    """Every resource by kind and key, as its file and the target say."""
    found: dict[str, dict[str, Definition]] = {"jobs": {}}
    for source in sources:
        for kind, key in _resources(source.content, source, ("resources",), faults):
            with _noting(faults):
                one = read_definition(source, ("resources", kind, key))
                if key in found.setdefault(kind, {}):
                    other = found[kind][key]
                    said = f"{other.noun} is also defined at {other.place()}"
                    raise BundleError(f"{one.place()}: {said}")
                found[kind][key] = one
    root, where = sources[0], ("targets", target, "resources")
    settings = root.content["targets"][target] or {}
    for kind, key in _resources(settings, root, where, faults):
        with _noting(faults):
            over = read_definition(root, (*where, kind, key))
            same = found.setdefault(kind, {})
            same[key] = same[key].merged(over) if key in same else over
    return found


def _resources(
    content: Mapping[str, Any], source: Source, where: tuple[str, ...], faults: list[str]
) -> Iterator[tuple[str, str]]:
    resources = content.get("resources")
    if resources is not None and not isinstance(resources, Mapping):
        faults.append(f"{source.place(*where)}: resources must be a mapping")
        return
    for kind, items in (resources or {}).items():
        if isinstance(items, Mapping):
            yield from ((kind, key) for key in items)
        else:
            faults.append(f"{source.place(*where, kind)}: {kind} must be a mapping")


def target_pauses(root: Source, target: str) -> bool:
    """Does the target pause triggers whose file says nothing? As Databricks' CLI: a preset
    decides, without one `mode: development` pauses."""
    settings: Mapping[str, Any] = (root.content.get("targets") or {}).get(target) or {}
    everywhere, own = root.content.get("presets") or {}, settings.get("presets") or {}
    status = {**everywhere, **own}.get("trigger_pause_status")
    if status:
        return bool(status == "PAUSED")
    return settings.get("mode") == "development"


def all_texts(sources: tuple[Source, ...]) -> Iterator[tuple[str, str]]:
    """Every text of the files with its place."""
    for source in sources:
        for where, text in texts_in(source.content):
            yield str(source.place(*where)), text
