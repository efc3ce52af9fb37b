"""The asset bundle on this machine: finds it, reads it, fills in variables, checks it whole."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import BundleError, UsageError
from clinical_lakehouse.local.check import bundle_faults
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.reading import ROOT_FILE, survey


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
    environ = os.environ if environ is None else environ
    found = survey(folder or find_bundle(), target, variables or {}, environ)
    faults = found.faults or bundle_faults(found.jobs)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise BundleError(faults[0] + more)
    documents = {key: one.document() for key, one in found.written["jobs"].items()}
    scope = found.scope
    return Bundle(found.folder, scope.bundle, scope.target, found.jobs, documents)


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
