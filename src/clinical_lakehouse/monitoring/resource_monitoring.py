"""resource_monitoring: how much of the machine under the lake is in use."""

import shutil
from pathlib import Path

import psutil

from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.ops import ALERT_EVENT

_SOURCE = "resource_monitoring"
_CPU_SECONDS = 1.0  # processors are watched this long; a shorter look sees little but itself


@task(writes=[ALERT_EVENT])
def watch(run: Run) -> Metrics:
    """Measure disk, memory and processors, and tell of each that is used above the limit.

    One event a resource and run; the rule resource_use_high wants several before it alerts.
    """
    limit, used = run.settings.limits.resource_use_max, shares_used(run.lake.root)
    above = {resource: share for resource, share in used.items() if share > limit}
    emit(run, _SOURCE, [_finding(run, name, share, limit) for name, share in above.items()])
    return {**{f"{name}_used": round(share, 3) for name, share in used.items()}, "over": len(above)}


def shares_used(root: Path) -> dict[str, float]:
    """What part, 0 to 1, is in use of the disk that holds `root`, and of this machine's memory and
    processors (the driver's machine on a cluster)."""
    disk = shutil.disk_usage(root)
    return {
        "disk": disk.used / (disk.used + disk.free),
        "memory": psutil.virtual_memory().percent / 100,
        "cpu": psutil.cpu_percent(_CPU_SECONDS) / 100,
    }


def _finding(run: Run, resource: str, share: float, limit: float) -> Finding:
    message = f"{resource} is used to {share:.0%}; the limit is {limit:.0%}"
    labels = {"resource": resource}
    return Finding("resource_use", "warning", labels, share, limit, message, run.as_of)
