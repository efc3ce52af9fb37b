"""The asset bundle on this machine: finds it, reads it, fills in variables, checks it whole."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import BundleError, UsageError
from clinical_lakehouse.local.check import bundle_faults
from clinical_lakehouse.local.definition import Definition, read_definition
from clinical_lakehouse.local.job import Job, read_job
from clinical_lakehouse.local.references import fill_static
from clinical_lakehouse.local.source import Source, read_source

ROOT_FILE = "databricks.yml"
_ROOT_KEYS = frozenset(
    {"bundle", "include", "variables", "artifacts", "targets", "resources", "permissions"}
    | {"presets", "run_as", "workspace", "sync", "experimental"}
)


@dataclass(frozen=True)
class Bundle:
    """All jobs of one target; `documents` holds each as Databricks takes it, `${...}` unfilled."""

    folder: Path
    name: str
    target: str
    jobs: Mapping[str, Job]
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def job(self, name: str) -> Job:
        """The job of that name (dashes allowed), or a UsageError that lists the known ones."""
        key = name.replace("-", "_")
        if key not in self.jobs:
            raise UsageError(f"no job {name!r}; known: {', '.join(sorted(self.jobs))}")
        return self.jobs[key]


def load_bundle(
    target: str | None = None,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Bundle:
    """Read and check the bundle for one target (default: the one marked default).

    `variables` override the target's values. Raises BundleError with file and line of the first
    fault.
    """
    folder = folder or find_bundle()
    sources = _sources(folder)
    root, chosen = sources[0], _target(sources[0], target)
    values = _Variables(root, chosen, variables or {}, os.environ if environ is None else environ)
    definitions = _definitions(sources, chosen)
    lookup = partial(_lookup, root, chosen, values, definitions)
    filled = {key: one.filled(partial(_fill, lookup)) for key, one in definitions.items()}
    jobs = {key: read_job(one) for key, one in filled.items()}
    faults = bundle_faults(jobs)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise BundleError(faults[0] + more)
    name = str(root.content.get("bundle", {}).get("name", ""))
    documents = {key: one.document() for key, one in definitions.items()}
    return Bundle(folder, name, chosen, jobs, documents)


def find_bundle(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """CLINICAL_BUNDLE_DIR, else the nearest folder upwards with a databricks.yml, else the
    checkout's, else the installed package's."""
    named = (os.environ if environ is None else environ).get("CLINICAL_BUNDLE_DIR")
    if named:
        if not (Path(named) / ROOT_FILE).is_file():
            raise BundleError(f"CLINICAL_BUNDLE_DIR points to a folder without {ROOT_FILE}")
        return Path(named).resolve()
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, package.parents[1], package / "_bundle"):
        if (folder / ROOT_FILE).is_file():
            return folder
    raise BundleError(f"no {ROOT_FILE} here or above; set CLINICAL_BUNDLE_DIR to its folder")


def _sources(folder: Path) -> list[Source]:
    """The root file and everything it includes, in order."""
    if not (folder / ROOT_FILE).is_file():
        raise BundleError(f"no {ROOT_FILE} in the bundle's folder")
    root = read_source(folder / ROOT_FILE, folder)
    for key in root.content:
        if key not in _ROOT_KEYS:
            raise BundleError(f"{root.place(key)}: unknown key {key!r}")
    found: dict[Path, Source] = {}
    for at, pattern in enumerate(root.content.get("include") or []):
        paths = sorted(folder.glob(pattern))
        if not paths and "*" not in pattern:
            raise BundleError(
                f"{root.place('include', at)}: includes {pattern!r}, which is no file"
            )
        found.update({path: read_source(path, folder) for path in paths if path not in found})
    return [root, *found.values()]


def _target(root: Source, wanted: str | None) -> str:
    targets = root.content.get("targets") or {}
    if wanted is None:
        wanted = next((k for k, t in targets.items() if (t or {}).get("default")), None)
        wanted = wanted or next(iter(targets), "dev")
    if wanted not in targets:
        known = ", ".join(targets)
        raise UsageError(f"the bundle has no target {wanted!r}; known: {known}")
    return wanted


def _definitions(sources: list[Source], target: str) -> dict[str, Definition]:
    """Every job as its file and the target say; a job defined in two files is refused."""
    found: dict[str, Definition] = {}
    for source in sources:
        for key in (source.content.get("resources") or {}).get("jobs") or {}:
            where = ("resources", "jobs", key)
            if key in found:
                place = found[key].place()
                raise BundleError(f"{source.place(*where)}: job {key} is also defined at {place}")
            found[key] = read_definition(source, where)
    root = sources[0]
    settings = root.content["targets"][target] or {}
    for key in (settings.get("resources") or {}).get("jobs") or {}:
        over = read_definition(root, ("targets", target, "resources", "jobs", key))
        found[key] = found[key].merged(over) if key in found else over
    return found


class _Variables:
    """Values of `${var.x}`: given > BUNDLE_VAR_x > the target's > default, as Databricks' CLI."""

    def __init__(
        self, root: Source, target: str, given: Mapping[str, str], environ: Mapping[str, str]
    ) -> None:
        declared = root.content.get("variables") or {}
        of_target = (root.content["targets"][target] or {}).get("variables") or {}
        for name in (*of_target, *given):
            if name not in declared:
                place = root.place("targets", target, "variables", name)
                raise BundleError(f"{place}: variable {name!r} is not declared")
        defaults = {k: v["default"] for k, v in declared.items() if v and "default" in v}
        targeted = {k: v.get("default") if isinstance(v, dict) else v for k, v in of_target.items()}
        prefix = "BUNDLE_VAR_"
        named = {k: environ[prefix + k] for k in declared if prefix + k in environ}
        self.declared = tuple(declared)
        self.values = {**defaults, **targeted, **named, **given}

    def value(self, name: str) -> Any:
        """The variable's value, or a BundleError that says what is missing."""
        if name not in self.declared:
            known = ", ".join(self.declared) or "none"
            raise BundleError(f"variable {name!r} is not declared ({known})")
        if name not in self.values:
            raise BundleError(f"variable {name!r} has no value; set BUNDLE_VAR_{name}")
        return self.values[name]


def _lookup(
    root: Source, target: str, values: _Variables, jobs: Mapping[str, Any], name: str
) -> Any:
    """What `${name}` stands for on this machine."""
    parts = name.split(".")
    if parts[0] == "var" and len(parts) == 2:
        return values.value(parts[1])
    if name in ("bundle.target", "bundle.environment"):
        return target
    if name == "bundle.name":
        return root.content.get("bundle", {}).get("name", "")
    if parts[:2] == ["resources", "jobs"] and len(parts) == 4 and parts[3] == "id":
        if parts[2] not in jobs:
            raise BundleError(f"${{{name}}} names no job of the bundle")
        return parts[2]
    raise BundleError(f"${{{name}}} is not a reference known here")


def _fill(lookup: Any, text: str, depth: int = 0) -> Any:
    """Fill a text; a variable may stand for another one, a few levels deep."""
    value = fill_static(text, lookup)
    if isinstance(value, str) and "${" in value:
        if depth > 8:
            raise BundleError(f"variables of {text} refer to one another in a circle")
        return _fill(lookup, value, depth + 1)
    return value
