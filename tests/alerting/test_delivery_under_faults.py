"""From alert to inbox through real servers that fail for an hour, and a process that is killed."""

import itertools
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from clinical_lakehouse.alerting.audience import load_labels
from clinical_lakehouse.alerting.channels.http import Wire
from clinical_lakehouse.alerting.channels.last_resort_file import LastResortFile
from clinical_lakehouse.alerting.channels.smtp import Smtp
from clinical_lakehouse.alerting.channels.webhooks import SignedWebhook
from clinical_lakehouse.alerting.escalation.policy import load_policies
from clinical_lakehouse.alerting.escalation.progress import advance
from clinical_lakehouse.alerting.messages.compose import Desk, call_messages
from clinical_lakehouse.alerting.messages.templates import load_templates
from clinical_lakehouse.alerting.on_call.reading import load_on_call
from clinical_lakehouse.alerting.outbox.hand_over import step
from clinical_lakehouse.alerting.outbox.message import Message
from clinical_lakehouse.alerting.outbox.pace import Limit
from clinical_lakehouse.alerting.outbox.transitions import cancel, settle
from tests.alerting.fault_servers import (
    certificate,
    free_port,
    http_server,
    mail_server,
    server_context,
)

CONF = Path(__file__).parents[2] / "conf"
START = datetime(2024, 6, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
CHANNELS = {"email": True, "hook": False}
LIMITS = {"email": Limit(5), "hook": Limit(100, folds=False)}


class Service:
    """What a task does on each turn: escalate, write messages, hand over, settle."""

    def __init__(self, folder: Path, channel_of) -> None:
        conf = folder / "conf"
        shutil.copytree(CONF / "alerting", conf / "alerting")
        (conf / "alerting" / "escalations.yml").write_text(
            "escalations:\n  page:\n    steps:\n"
            "      - {wait_minutes: 0, schedules: [data_platform], channels: [email, hook]}\n"
            "      - {wait_minutes: 20, people: [dora], channels: [email]}\n"
        )
        people = load_on_call(conf)
        self.desk = Desk(people, load_templates(conf, load_labels(conf)), CHANNELS)
        self.policies = load_policies(conf, people, CHANNELS)
        self.channel_of = channel_of
        self.escalations: dict[str, dict] = {}
        self.outbox: dict[str, Message] = {}

    def turn(self, alerts: dict[str, dict], now: datetime, dies: str = "") -> None:
        known = list(self.escalations.values())
        rows, calls = advance(self.policies, self.desk.on_call, known, alerts.values(), now)
        new = list(call_messages(self.desk, calls, alerts, now))
        plan = step(self.outbox.values(), new, LIMITS, now)
        if dies == "evaluate":
            return
        self.outbox.update({m.message_id: m for m in plan.changed})
        if dies == "write":  # messages are written, the escalation's rows are not
            return
        self.escalations.update({row["alert_id"]: row for row in rows})
        for m in plan.to_send:
            if dies == "hand_over":
                return
            outcome = self.channel_of(m.channel, now).send(m.envelope, now)
            if dies == "settle":
                return
            done = settle(m, outcome, now, self.outbox.values())
            self.outbox.update({m.message_id: m for m in done})


def _alerts(number: int) -> dict[str, dict]:
    return {
        f"a{n}": {
            "alert_id": f"a{n}", "episode": "1", "policy": "page", "state": "firing",
            "severity": "critical", "kind": "pipeline_failed", "job": f"job_{n}",
            "started_at": START + timedelta(minutes=n),
        }
        for n in range(number)
    }  # fmt: skip


UNTIL_HALF = format_datetime(START + HOUR / 2, usegmt=True)
# What goes wrong with the webhook for the first hour; None: nothing.
FAULTS = {
    "smtp_down": None,
    "http_429": {
        "status": 429,
        "headers": {"Retry-After": format_datetime(START + HOUR / 2, True)},
    },
    "http_500": {"status": 500},
    "dns": {"url": "https://hooks.invalid/x"},
    "slow": {"delay": 0.2},
    "tls_expired": {},
    "garbage": {"raw": b"\x16\x03\x01 not http"},
    "all_at_once": {"status": 503},
}


class World:
    """Real servers, of which some misbehave for the first hour."""

    def __init__(self, fault: str, http, smtp, outdated, last, ca_file: Path) -> None:
        self.fault, self.http, self.smtp, self.outdated, self.last = (
            fault, http, smtp, outdated, last,
        )  # fmt: skip
        self.ca_file, self.closed = str(ca_file), free_port()

    def channel(self, name: str, now: datetime):
        if name == "last_resort":
            return self.last
        is_bad = now < START + HOUR
        if name == "email":
            is_down = is_bad and self.fault in ("smtp_down", "all_at_once")
            port = self.closed if is_down else self.smtp.port
            return Smtp("127.0.0.1", port, "lake@example.org", "none", timeout_seconds=1)
        url = self.outdated.url if is_bad and self.fault == "tls_expired" else self.http.url
        faults = {"status": 200, "headers": {}, "raw": b"", "delay": 0.0, "url": url}
        faults.update((FAULTS[self.fault] or {}) if is_bad else {})
        for what in ("status", "headers", "raw", "delay"):
            setattr(self.http, what, faults[what])
        seconds = 0.1 if faults["delay"] else 2.0
        return SignedWebhook(faults["url"], "s3cret", Wire(seconds, self.ca_file))


@pytest.mark.parametrize("fault", FAULTS)
def test_critical_alerts_all_arrive_through_an_hour_of(fault, tmp_path):
    last = LastResortFile(tmp_path / "last_resort.jsonl")
    expired = certificate(tmp_path, days=-1)
    with (
        http_server() as http, mail_server() as smtp,
        http_server(server_context(expired)) as outdated,
    ):  # fmt: skip
        service = Service(tmp_path, World(fault, http, smtp, outdated, last, expired).channel)
        alerts = _alerts(6)
        for minute in range(0, 120, 2):
            now = START + timedelta(minutes=minute)
            service.turn({i: a for i, a in alerts.items() if a["started_at"] <= now}, now)
    pages = [m for m in service.outbox.values() if m.kind == "page" and m.channel != "last_resort"]
    assert len(pages) == 18  # six alerts: on call by two channels, then Dora
    assert {m.state for m in service.outbox.values()} == {"accepted"}
    lines = last.path.read_text() if last.path.exists() else ""
    if fault == "all_at_once":  # nobody was reached for 15 minutes
        assert all(f'"alert_id": "{alert}"' in lines for alert in alerts)
    told = {body for _, _, body in http.received}
    assert all(any(f'"{a}"'.encode() in body for body in told) for a in alerts)
    # Also one that was folded into "4 more" is named there.
    mails = b"".join(m[2] for m in smtp.messages)
    assert all(f"job_{a[1:]}".encode() in mails for a in alerts)


def test_process_killed_anywhere_pages_each_alert_once_per_key(tmp_path):
    """100 trials: killed at any of four places of any of the first turns, then started again."""
    shared = Service(tmp_path, None)
    places = ("evaluate", "write", "hand_over", "settle")
    for trial, dies in zip(range(100), itertools.cycle(places), strict=False):
        sent: Counter[str] = Counter()

        class Counting:
            def send(self, envelope, now, sent=sent):
                from clinical_lakehouse.alerting.channels.envelope import accepted

                sent[envelope.key] += 1
                return accepted("x")

        shared.channel_of = lambda name, now, own=Counting: own()
        shared.escalations, shared.outbox = {}, {}
        alerts = _alerts(3)
        for minute in range(0, 40):
            at = START + timedelta(minutes=minute)
            begun = {i: a for i, a in alerts.items() if a["started_at"] <= at}
            shared.turn(begun, at, dies if minute == trial % 25 else "")
        pages = [m for m in shared.outbox.values() if m.kind == "page"]
        assert len(pages) == 9  # three alerts: on call by two channels, then Dora
        assert all(m.state == "accepted" for m in pages), (trial, dies)
        extra = sum(sent.values()) - len(sent)
        assert extra <= (1 if dies == "settle" else 0), (trial, dies)


def test_acknowledgement_stops_what_is_queued_and_what_would_follow(tmp_path):
    with mail_server() as smtp, http_server() as http:
        port = [free_port()]
        service = Service(tmp_path, lambda name, now: (
            Smtp("127.0.0.1", port[0], "lake@example.org", "none", timeout_seconds=1)
            if name == "email" else SignedWebhook(http.url, "s3cret")
        ))  # fmt: skip
        alerts = _alerts(1)
        service.turn(alerts, START)
        alerts["a0"].update(
            state="acknowledged", acknowledged_by="ana", acknowledged_at=START + HOUR / 60
        )
        now = START + HOUR / 60
        stopped = cancel(service.outbox.values(), {"a0"}, now, "acknowledged by ana")
        service.outbox.update({m.message_id: m for m in stopped})
        port[0] = smtp.port  # the mail server is back
        for minute in range(1, 200):
            service.turn(alerts, START + timedelta(minutes=minute))
        assert smtp.messages == []
        assert len(http.received) == 1
