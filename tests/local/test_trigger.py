"""Triggers: every kind is read whole, and what Databricks refuses is refused with file and line."""

import pytest

from clinical_lakehouse.errors import BundleError
from tests.local.stand_ins import job, make_bundle, wheel

TIMERS = {"min_time_between_triggers_seconds": 300, "wait_after_last_change_seconds": 60}


def _trigger(folder, **definition):
    return make_bundle(folder, main=job(wheel("a"), **definition)).jobs["main"]


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (
            {"schedule": {"quartz_cron_expression": "0 0 4 * * ?", "timezone_id": "Asia/Tokyo"}},
            "quartz 0 0 4 * * ?",
        ),
        ({"trigger": {"periodic": {"interval": 6, "unit": "HOURS"}}}, "periodic every 6 h"),
        (
            {"trigger": {"file_arrival": {"url": "/Volumes/c/s/v/in", **TIMERS}}},
            "file_arrival /Vol",
        ),
        (
            {"trigger": {"table_update": {"table_names": ["c.s.t", "s.u"]}}},
            "table_update c.s.t, s.u",
        ),
        ({"continuous": {"pause_status": "PAUSED"}}, "continuous (paused)"),
    ],
)
def test_every_kind_says_what_it_is(tmp_path, definition, text):
    assert str(_trigger(tmp_path, **definition).trigger).startswith(text)


def test_timers_condition_zone_and_queue_are_read(tmp_path):
    update = {"table_names": ["c.s.t"], "condition": "ALL_UPDATED", **TIMERS}
    made = _trigger(tmp_path, trigger={"table_update": update}, queue={"enabled": True})
    assert made.is_queued
    assert made.trigger.condition == "ALL_UPDATED"
    assert made.trigger.min_time_between_triggers_seconds == 300
    assert made.trigger.wait_after_last_change_seconds == 60


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"trigger": {"file_arrival": {"url": "/in", "wait_after_last_change_seconds": 5}}}, "60"),
        ({"trigger": {"file_arrival": {"urls": "/in"}}}, "did you mean 'url'"),
        ({"trigger": {"file_arrival": {}}}, "trigger must be one of|names no url"),
        ({"trigger": {"table_update": {"table_names": []}}}, "names no table_names"),
        ({"trigger": {"table_update": {"table_names": ["t"]}}}, "is not catalog.schema.table"),
        (
            {"trigger": {"table_update": {"table_names": ["s.t"], "condition": "SOME"}}},
            "condition must be one of ANY_UPDATED, ALL_UPDATED",
        ),
        (
            {"schedule": {"quartz_cron_expression": "0 0 4 * * ?", "timezone_id": "Mars/Base"}},
            "no time zone",
        ),
        (
            {"schedule": {"quartz_cron_expression": "0 0 4 * * ?", "pause_status": "OFF"}},
            "pause_status must be one of PAUSED, UNPAUSED",
        ),
    ],
)
def test_what_cannot_fire_is_refused_with_its_line(tmp_path, definition, said):
    with pytest.raises(BundleError, match=said) as refused:
        _trigger(tmp_path, **definition)
    assert "jobs/main.job.yml:" in str(refused.value)
