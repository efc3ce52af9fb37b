"""What is in use is measured here and now; above the limit it becomes an alert."""

import json
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.monitoring.resource_monitoring import shares_used, watch
from clinical_lakehouse.tables.ops import ALERT, ALERT_EVENT


def limited(run, limit):
    limits = run.settings.limits.model_copy(update={"resource_use_max": limit})
    return replace(run, settings=run.settings.model_copy(update={"limits": limits}))


def states_of(run, resource):
    """How the alerts on a resource stand, by its kind."""
    alerts = [(json.loads(row["labels"]), row) for row in run.lake.rows(ALERT)]
    return {row["kind"]: row["state"] for on, row in alerts if on.get("resource") == resource}


def test_shares_are_those_that_the_system_tells(tmp_path):
    used = shares_used(tmp_path)
    disk = os.statvfs(tmp_path)
    full = (disk.f_blocks - disk.f_bfree) / (disk.f_blocks - disk.f_bfree + disk.f_bavail)
    assert used["disk"] == pytest.approx(full, abs=0.01)
    with open("/proc/meminfo") as lines:
        memory = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    free = memory["MemAvailable"] / memory["MemTotal"]
    assert used["memory"] == pytest.approx(1 - free, abs=0.05)
    assert 0 <= used["cpu"] <= 1


def test_use_above_the_limit_fires_after_some_rounds_and_is_over_once_it_falls(run):
    for minutes in range(0, 21, 5):
        now = replace(limited(run, 0.001), as_of=run.as_of + timedelta(minutes=minutes))
        said = watch.execute(now)
        evaluate.execute(now)
    rows = run.lake.rows(ALERT_EVENT)
    assert {row["kind"] for row in rows} == {"resource_use"}
    assert states_of(run, "disk") == {"resource_use_high": "firing"}
    assert said["over"] >= 2, "disk and memory are never unused"
    late = replace(limited(run, 1.0), as_of=run.as_of + timedelta(hours=2))
    assert watch.execute(late)["over"] == 0
    evaluate.execute(late)
    assert states_of(run, "disk") == {"resource_use_high": "resolved"}
