"""What goes out to other systems and comes in: webhook payloads, OpenMetrics, rows of tables."""

import http.server
import json
import queue
import random
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml

from clinical_lakehouse.alerting.alert_state import Lifecycle, acknowledge, advance
from clinical_lakehouse.alerting.dispatch import plan
from clinical_lakehouse.alerting.open_metrics import open_metrics
from clinical_lakehouse.alerting.routing.alertmanager_config import read_routing
from clinical_lakehouse.alerting.routing.matchers import Matcher
from clinical_lakehouse.alerting.routing.suppression import Silence, Suppressions
from clinical_lakehouse.alerting.rules.evaluation import Standing
from clinical_lakehouse.alerting.state_rows import (
    alert_rows,
    alerts_of,
    group_rows,
    groups_of,
    sightings_of,
    silence_rows,
    silences_of,
    standing_rows,
    standings_of,
)
from clinical_lakehouse.alerting.webhook_payload import read_payload, webhook_payload
from clinical_lakehouse.errors import SourceError

from . import real_alertmanager
from .situations import NOON, Desk, after, routing, seen

LABELS = [
    {"alertname": "job_failed", "severity": "critical", "source": "s", "job": name, "site": "1"}
    for name in "abc"
]
NOTES = {"summary": "it failed", "runbook_url": "https://example.org/r"}


@pytest.fixture(scope="module")
def received():
    """What a real Alertmanager posts to a server of our own: three alerts of one group."""
    posts: queue.Queue = queue.Queue()

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            posts.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 256  # forty groups are told at the same moment

    server = Server(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", posts
    server.shutdown()
    server.server_close()


def test_payload_is_that_of_a_running_alertmanager(received, tmp_path):
    url, posts = received
    nested = {"receiver": "ops", "matchers": ['job=~"a|b|c"', "severity=critical"]}
    route = {"receiver": "ops", "group_by": ["alertname", "site"], "group_wait": "500ms"}
    config = {"route": {**route, "routes": [nested]}}
    config["receivers"] = [{"name": "ops", "webhook_configs": [{"url": url, "max_alerts": 2}]}]
    path = tmp_path / "ours.yml"
    path.write_text(yaml.safe_dump(config))
    with real_alertmanager.running(tmp_path, path.read_text()) as server:
        posted = [{"labels": one, "annotations": NOTES} for one in LABELS]
        server.post("api/v2/alerts", posted)
        theirs = posts.get(timeout=20)
    ours_routing = read_routing(path)
    (hook,) = ours_routing.receivers["ops"].integrations
    full = {**theirs, "alerts": [_as_told(one, theirs) for one in LABELS]}
    alerts = advance({}, read_payload(full, NOON), NOON, Lifecycle())
    (told,) = plan(ours_routing, Suppressions(), alerts, {}, after(1)).notifications
    ours = webhook_payload(told, theirs["externalURL"], hook.max_alerts)
    whole = {one["fingerprint"]: one for one in webhook_payload(told)["alerts"]}
    assert theirs["alerts"] and len(theirs["alerts"]) == len(ours["alerts"]) == 2
    for one in theirs["alerts"]:
        mine = whole[one["fingerprint"]]
        assert {**mine, "startsAt": one["startsAt"]} == {**one, "generatorURL": ""}
    rest = {key for key in theirs if key != "alerts"}
    assert {key: ours[key] for key in rest} == {key: theirs[key] for key in rest}


CHANGES = (0, 0.7, 1.7, 2.7, 3.7)  # seconds; a group waits 0.2 s and is told each second


def _stories(rng: random.Random, count: int) -> list[tuple[float, str, str, bool]]:
    """Second, group, job, whether it fires: at each change some of a group's jobs fail or end."""
    found = []
    for group in map(str, range(count)):
        firing = {"a": True, "b": rng.random() < 0.5, "c": False}
        found += [(0.0, group, job, True) for job, fires in firing.items() if fires]
        for second in CHANGES[1:]:
            for job in firing:
                if rng.random() < 0.4:
                    firing[job] = not firing[job]
                    found.append((second, group, job, firing[job]))
    return found


@pytest.mark.soak
def test_random_groups_are_told_the_same_as_a_running_alertmanager_tells_them(received, tmp_path):
    """Five seconds of forty groups: new members, ends, and what comes back."""
    url, posts = received
    route = {"receiver": "ops", "group_wait": "200ms", "group_interval": "1s", "group_by": ["g"]}
    hook = {"url": url, "send_resolved": True}
    config = {"route": route, "receivers": [{"name": "ops", "webhook_configs": [hook]}]}
    path = tmp_path / "ours.yml"
    path.write_text(yaml.safe_dump(config))
    stories, theirs = _stories(random.Random(1), 40), defaultdict(list)
    with real_alertmanager.running(tmp_path, path.read_text()) as server:
        start = time.monotonic()
        for second in CHANGES:
            time.sleep(max(start + second - time.monotonic(), 0))
            server.post("api/v2/alerts", [_posted(*one) for one in stories if one[0] == second])
        while True:
            try:
                payload = posts.get(timeout=1.5)
            except queue.Empty:
                break
            theirs[payload["groupLabels"]["g"]].append(_told(payload))
    desk, ours = Desk(read_routing(path)), defaultdict(list)
    for tenth in range(60):
        now = [one for one in stories if one[0] <= tenth / 10]
        given = [seen(s / 60, fires, labels={"job": job, "g": g}) for s, g, job, fires in now]
        for one in desk.step(tenth / 600, *given):
            ours[one.group_labels["g"]].append(_told(webhook_payload(one)))
    assert ours == theirs
    assert sum(map(len, ours.values())) > 120


def _posted(second: float, group: str, job: str, fires: bool) -> dict:
    labels = {"alertname": "job_failed", "severity": "warning", "source": "s"}
    over = {} if fires else {"endsAt": datetime.now(UTC).isoformat()}
    return {"labels": {**labels, "job": job, "g": group}, **over}


def _told(payload: dict) -> dict:
    """Jobs that fire and that have ended by a payload."""
    return {
        status: sorted(a["labels"]["job"] for a in payload["alerts"] if a["status"] == status)
        for status in ("firing", "resolved")
    }


def _as_told(labels: dict, theirs: dict) -> dict:
    return {**theirs["alerts"][0], "labels": labels}


def test_payload_is_taken_as_what_it_was_made_from(tmp_path):
    desk = Desk(routing(tmp_path))
    desk.step(0, seen(0, severity="critical", runbook="https://r"))
    (told,) = desk.step(1, seen(1, severity="critical", runbook="https://r"))
    (back,) = read_payload(json.loads(json.dumps(webhook_payload(told))), after(2))
    assert (back.fingerprint, back.severity, back.runbook) == (
        seen().fingerprint,
        "critical",
        "https://r",
    )
    assert (back.window_at, back.is_firing, back.message) == (after(0), True, "job a failed")
    (ended,) = desk.step(6, seen(5, firing=False))
    payload = webhook_payload(ended)
    assert (payload["status"], payload["alerts"][0]["endsAt"]) == (
        "resolved",
        "2024-06-30T12:05:00Z",
    )
    assert [one.is_firing for one in read_payload(payload, after(7))] == [False]


GOOD = {"version": "4", "status": "firing", "receiver": "r", "alerts": []}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ([], "needs version"),
        ({key: GOOD[key] for key in ("version", "alerts", "receiver")}, "needs version, alerts"),
        ({**GOOD, "version": "3"}, "must be of version 4"),
        ({**GOOD, "alerts": [{"labels": {"name": "Jane Doe"}}]}, "^alert 1 of the webhook"),
        ({**GOOD, "alerts": ["Jane Doe"]}, "^alert 1 of the webhook"),
    ],
)
def test_payload_that_is_something_else_is_refused_without_its_values(payload, said):
    with pytest.raises(SourceError, match=said) as refused:
        list(read_payload(payload, NOON))
    assert "Jane" not in str(refused.value)


def test_open_metrics_counts_open_alerts_and_promtool_takes_it():
    odd = seen(0, kind='a"b\\c', severity="info")
    alerts = advance({}, [seen(0), seen(0, labels={"job": "b"}), odd], after(1), Lifecycle())
    alerts = acknowledge(alerts, [seen().fingerprint], "ada", after(1))
    text = open_metrics(alerts.values(), after(1))
    lines = text.splitlines()
    name = "clinical_lakehouse_alerting_alerts"
    assert f'{name}{{alertname="job_failed",severity="warning",state="acknowledged"}} 1' in lines
    assert f'{name}{{alertname="job_failed",severity="warning",state="firing"}} 1' in lines
    assert f'{name}{{alertname="a\\"b\\\\c",severity="info",state="firing"}} 1' in lines
    assert 'clinical_lakehouse_alerting_open_alerts{state="firing"} 2' in lines
    assert lines[-1] == "# EOF"
    promtool = real_alertmanager.tool("promtool", "prometheus")
    for shown in (text, open_metrics([], NOON)):
        told = subprocess.run([promtool, "check", "metrics"], input=shown, text=True)
        assert told.returncode == 0


def test_state_survives_a_table(tmp_path):
    """Spark hands timestamps back without a zone."""
    rng, desk = random.Random(3), Desk(routing(tmp_path))
    for minute in range(0, 60, 5):
        desk.step(minute, *(seen(minute, rng.random() < 0.7, labels={"job": j}) for j in "abcd"))
        if minute == 30:
            opened = [name for name, one in desk.alerts.items() if one.is_open]
            desk.alerts = acknowledge(desk.alerts, opened[:1], "ada", after(minute))

    def naive(row: dict) -> dict:
        return {k: v.replace(tzinfo=None) if hasattr(v, "tzinfo") else v for k, v in row.items()}

    desk.step(60, seen(60, False, labels={"job": "e"}), seen(59.5, labels={"job": "e"}))
    assert {one.state for one in desk.alerts.values()} == {"firing", "acknowledged", "resolved"}
    assert alerts_of(map(naive, alert_rows(desk.alerts))) == desk.alerts
    assert groups_of(map(naive, group_rows(desk.groups))) == desk.groups
    standings = {("r", (("a", "b"),)): Standing(NOON, None, NOON, 1.5), ("q", ()): Standing()}
    assert standings_of(map(naive, standing_rows(standings))) == standings


def test_silence_survives_a_table_whatever_its_matchers_hold():
    values = ("a", "", 'say "hi", then }', "back\\slash", "\\d+", "line\nfeed", "é, ü")
    matchers = tuple(Matcher(f"l{n}", text, "!=") for n, text in enumerate(values))
    one = Silence("s", (Matcher("job", "a|b.*", "=~"), *matchers), NOON, after(60), "ada", "why")
    assert silences_of(silence_rows([one])) == [one]


def test_event_of_the_table_is_a_firing_sighting():
    one = seen(0)
    row = {"fingerprint": one.fingerprint, "labels": '{"job": "a"}', "threshold": 0.0}
    row |= {name: getattr(one, name) for name in ("source", "kind", "severity", "value", "message")}
    row |= {name: NOON.replace(tzinfo=None) for name in ("seen_at", "window_at")}
    assert list(sightings_of([row])) == [replace(one, is_firing=True)]
