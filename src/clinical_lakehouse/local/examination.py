"""`bundle check`: everything that is wrong with a bundle for one target, found offline."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.local.access import access_faults, grant_faults
from clinical_lakehouse.local.check import bundle_faults, entry_point_faults
from clinical_lakehouse.local.checks.compute import compute_faults
from clinical_lakehouse.local.checks.flow import flow_faults
from clinical_lakehouse.local.checks.limits import limit_faults
from clinical_lakehouse.local.checks.refusals import refusals, resource_classes
from clinical_lakehouse.local.checks.settings import (
    missing_values,
    monitor_faults,
    setting_faults,
)
from clinical_lakehouse.local.checks.triggers import trigger_faults
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.quartz import next_firings
from clinical_lakehouse.local.reading import Survey, survey, target_pauses
from clinical_lakehouse.local.trigger import Trigger
from clinical_lakehouse.runtime.arguments import COMMON
from clinical_lakehouse.runtime.task import Task
from clinical_lakehouse.tables.contract import Table

_PLACE = re.compile(r"([^:]*):(\d+)[: ]")


@dataclass(frozen=True)
class Suite:
    """What a bundle is judged by: tasks by entry point and contracts by name."""

    tasks: Mapping[str, Task]
    tables: Mapping[str, Table]


@dataclass(frozen=True)
class Examination:
    """What was found: faults, one line each in order of the files, and what could not be judged."""

    survey: Survey
    faults: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs that could be read."""
        return self.survey.jobs

    @property
    def is_paused(self) -> bool:
        """Does the target pause every trigger? Mode development does, a preset may."""
        return target_pauses(self.survey.root, self.survey.scope.target)


def examine(
    folder: Path, target: str | None, suite: Suite, environ: Mapping[str, str]
) -> Examination:
    """Judge the bundle below `folder` for one target.

    Raises BundleError where the root file cannot be read at all, UsageError for an unknown target.
    """
    found = survey(folder, target, {}, environ)
    broken = set(found.written["jobs"]) - set(found.jobs)
    faults: list[str] = []
    unjudged = [name for name, check in _CHECKS.items() if not _noted(check, found, suite, faults)]
    faults = _unsaid(faults, found.faults)
    if found.is_whole and not broken:  # what cannot be read may write what is missed
        _noted(_flow, found, suite, faults)
    faults += found.faults
    faults += _unsaid(refusals(found.written), faults)
    if unjudged and not faults:
        faults.append(f"{found.root.file}: {unjudged[0]} hold a value of the wrong kind")
    own = [fault for fault in faults if not _follows(fault, broken, found.is_whole)]
    return Examination(found, tuple(_in_order(own, found)), tuple(_left_out(found)))


def _references(found: Survey, suite: Suite) -> list[str]:
    known = {name: task.params for name, task in suite.tasks.items()}
    return [*bundle_faults(found.jobs), *entry_point_faults(found.jobs, known, COMMON)]


def _flow(found: Survey, suite: Suite) -> list[str]:
    return flow_faults(found.jobs, suite.tasks)


_CHECKS: Mapping[str, Callable[[Survey, Suite], list[str]]] = {
    "references": _references,
    "environments": lambda found, _: compute_faults(found.root, found.filled.get("jobs", {})),
    "limits": lambda found, _: limit_faults(found.filled.get("jobs", {}), found.jobs),
    "triggers": lambda found, suite: trigger_faults(found.filled, suite.tables),
    "settings": lambda found, _: setting_faults(found),
    "monitors": lambda found, suite: monitor_faults(found.filled, suite.tables),
    "roles": lambda found, suite: access_faults(found.folder, suite.tables),
    "grants": lambda found, suite: grant_faults(found.folder, found.filled, suite.tables),
}


def _noted(
    check: Callable[[Survey, Suite], list[str]], found: Survey, suite: Suite, faults: list[str]
) -> bool:
    """Add what the check finds; false where a value of an odd kind, told of elsewhere, stops it."""
    try:
        faults += check(found, suite)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def _unsaid(faults: list[str], said: list[str]) -> list[str]:
    """The faults at places of which nothing is said yet: two readers find the same fault."""
    places = {place[0] for fault in said if (place := _PLACE.match(fault))}
    return [fault for fault in faults if not fault.startswith(tuple(places))]


def firings(trigger: Trigger, after: datetime, count: int = 5) -> list[datetime]:
    """The next moments at which a Quartz trigger starts its job; empty for other triggers."""
    if trigger.kind != "quartz":
        return []
    return next_firings(trigger.expression, trigger.zone, after, count)


def _left_out(found: Survey) -> list[str]:
    said = []
    if not resource_classes():
        said.append("databricks-bundles is not installed: what only it refuses was left out")
    for name in missing_values(found):
        said.append(f"set BUNDLE_VAR_{name} before deploying: it has no value here")
    return said


def _follows(fault: str, broken: set[str], is_whole: bool) -> bool:
    """Is it only said because a job or a file could not be read, which is said already?"""
    if any(f"calls job {key!r}, which does not exist" in fault for key in broken):
        return True
    return not is_whole and any(words in fault for words in ("} names no ", "is read by nothing"))


def _in_order(faults: list[str], found: Survey) -> list[str]:
    """Each fault once, by file and line."""
    files = {source.file: at for at, source in enumerate(found.sources)}

    def where(fault: str) -> tuple[int, int]:
        place = _PLACE.match(fault)
        return (files.get(place[1], len(files)), int(place[2])) if place else (len(files), 0)

    return sorted(dict.fromkeys(faults), key=where)
