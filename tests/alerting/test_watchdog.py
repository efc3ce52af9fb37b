"""No data is not OK: whatever stops the alerting is an alert within one interval."""

import http.server
import threading
import uuid
from datetime import timedelta

import pytest

from clinical_lakehouse.alerting.heartbeat import alive, beat, heartbeat_url
from clinical_lakehouse.alerting.watchdog import (
    Attempt,
    Tick,
    watch_alerting,
    watch_channels,
    watch_clock,
)
from clinical_lakehouse.errors import SettingsError, SourceError

from .situations import NOON, after

INTERVAL = timedelta(minutes=5)


def clock(minutes: float, steady_minutes: float | None, started: float | None = 0) -> dict:
    """Kinds that fire (with their message) when so much time passed by the two clocks."""
    steady = None if steady_minutes is None else 1000 + steady_minutes * 60
    before = Tick(NOON, None if started is None else 1000 + started)
    found = watch_clock(before, Tick(after(minutes), steady), INTERVAL)
    return {one.kind: one.message for one in found if one.is_firing}


def test_clock_that_runs_as_it_should_is_no_alert():
    assert clock(5, 5) == clock(5, None) == clock(6, 5) == {}
    assert list(watch_clock(None, Tick(NOON), INTERVAL)) == []


@pytest.mark.parametrize(("minutes", "word"), [(65, "ahead by 1h"), (-55, "back by 1h")])
def test_clock_that_jumps_an_hour_is_an_alert_at_the_next_evaluation(minutes, word):
    assert clock(minutes, 5) == {
        "clock_jumped": f"the clock jumped {word}; times since are not to be trusted"
    }


def test_without_a_steady_clock_a_jump_is_an_alert_too():
    assert list(clock(-55, None)) == ["clock_jumped"]
    assert list(clock(65, None)) == ["evaluation_missed"]
    assert list(clock(65, -10)) == ["evaluation_missed"]  # the machine was started anew


def test_evaluations_that_were_missed_are_an_alert():
    assert clock(60, 60) == {
        "evaluation_missed": "no evaluation for 1h, one is due every 5m",
    }


def channels(*attempts: tuple[str, float, bool]) -> dict[str, tuple[bool, str]]:
    tried = [Attempt(channel, after(minutes), ok) for channel, minutes, ok in attempts]
    found = watch_channels(tried, after(5), timedelta(hours=1))
    return {one.labels["channel"]: (one.is_firing, one.message) for one in found}


def test_channel_whose_latest_attempt_failed_is_an_alert_until_it_delivers():
    assert channels(
        ("mail", 1, False), ("mail", 2, False), ("hook", 1, False), ("hook", 2, True)
    ) == {
        "mail": (True, "channel mail has failed 2 times in a row"),
        "hook": (False, "channel hook has failed 0 times in a row"),
    }
    assert channels(("mail", -60, False), ("mail", 6, False)) == {}


def test_silence_of_the_alerting_is_an_alert_after_two_intervals():
    def silent(minutes: float | None) -> bool:
        last = None if minutes is None else NOON - timedelta(minutes=minutes)
        return watch_alerting(last, NOON, INTERVAL).is_firing

    assert [silent(minutes) for minutes in (0, 10, 11, None)] == [False, False, True, True]


def test_heartbeat_has_the_urls_of_healthchecks():
    run, base = "6c7b6b4e-2a51-4f0b-9ed3-0b7c7f0b7a10", "https://hc-ping.com/abc/"
    assert heartbeat_url(base, "start", run) == f"https://hc-ping.com/abc/start?rid={run}"
    assert heartbeat_url(base, "success", run) == f"https://hc-ping.com/abc?rid={run}"
    assert heartbeat_url(base, "fail", run) == f"https://hc-ping.com/abc/fail?rid={run}"


def test_run_id_that_is_no_uuid_becomes_one_always_the_same():
    urls = [
        heartbeat_url("http://h/x", event, "20240630-a1") for event in ("start", "fail", "fail")
    ]
    ids = {uuid.UUID(url.split("rid=")[1]) for url in urls}
    assert len(ids) == 1


@pytest.mark.parametrize("base", ["ftp://h/x", "https://", "https://h/x?a=b"])
def test_heartbeat_to_no_url_is_refused(base):
    with pytest.raises(SettingsError, match="heartbeat"):
        heartbeat_url(base, "start", "r")


def test_heartbeat_reaches_a_server_and_a_refusal_names_no_address():
    paths: list[str] = []

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(404 if "fail" in self.path else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/secret"
    beat(base, "start", "r", NOON)
    with pytest.raises(SourceError) as refused:
        beat(base, "fail", "r", NOON)
    server.shutdown()
    server.server_close()
    assert str(refused.value) == "the heartbeat was not taken: HTTP 404"
    assert [path.partition("?")[0] for path in paths] == ["/secret/start", "/secret/fail"]
    with pytest.raises(SourceError, match="^the heartbeat was not taken: ConnectionError$"):
        beat(base, "start", "r", NOON)


def test_heartbeat_goes_to_a_file(tmp_path):
    beat(str(tmp_path / "ops" / "heartbeat"), "success", "r7", NOON)
    told = (tmp_path / "ops" / "heartbeat").read_text()
    assert told == "2024-06-30T12:00:00+00:00 success r7\n"


def test_a_sign_of_life_tells_how_it_ended_and_costs_nothing_where_nobody_takes_it(tmp_path):
    file = tmp_path / "sign"
    with alive(str(file), "r1", NOON) as trouble:
        assert file.read_text().split()[1:] == ["start", "r1"]
    assert file.read_text().split()[1:] == ["success", "r1"] and trouble == {}
    with pytest.raises(KeyError), alive(str(file), "r2", NOON):
        raise KeyError
    assert file.read_text().split()[1:] == ["fail", "r2"]
    with alive("http://127.0.0.1:1/secret", "r3", NOON) as trouble:
        pass
    assert "not taken" in trouble["heartbeat"] and "secret" not in trouble["heartbeat"]
