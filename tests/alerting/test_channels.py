"""Each channel says what became of a message, whatever the other side does, and leaks nothing."""

import email
import email.policy
import json
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from clinical_lakehouse.alerting.channels.apprise_urls import AppriseUrl
from clinical_lakehouse.alerting.channels.envelope import Envelope, Image, Result
from clinical_lakehouse.alerting.channels.http import Wire
from clinical_lakehouse.alerting.channels.last_resort_file import LastResortFile
from clinical_lakehouse.alerting.channels.reading import load_channels, open_channel
from clinical_lakehouse.alerting.channels.smtp import Smtp, mail
from clinical_lakehouse.alerting.channels.webhooks import (
    PagerDuty,
    SignedWebhook,
    SlackWebhook,
    TeamsWebhook,
    signature_headers,
    verify_signature,
)
from clinical_lakehouse.errors import SettingsError, UsageError
from tests.alerting.fault_servers import (
    certificate,
    free_port,
    http_server,
    mail_server,
    server_context,
)

NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)
KEY = "c0ffee" * 10
PAGE = Envelope(
    KEY, "ana@example.org", "Drift of <model> & @channel", "PSI 0.31 > 0.20\n\nLook.", "<p>L</p>",
    (Image("chart", b"\x89PNG", "PSI"),), "critical", "trigger", "alert-1", "https://x.org/a/1",
)  # fmt: skip
SECRET = "T0KEN-SECRET"
SHORT = Wire(timeout_seconds=0.6)


@pytest.fixture(scope="module")
def http():
    with http_server() as found:
        yield found


@pytest.fixture(autouse=True)
def _fresh(http):
    http.status, http.headers, http.body = 200, {}, b"ok"
    http.delay, http.drip, http.raw = 0.0, 0.0, b""
    http.received.clear()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {"valid": certificate(folder, days=30), "expired": certificate(folder, days=-1)}


def test_slack_takes_the_text_with_its_markup_made_harmless(http):
    found = SlackWebhook(http.url, SHORT).send(PAGE, NOW)
    assert found.result is Result.ACCEPTED
    assert http.json()["text"].startswith("*Drift of &lt;model&gt; &amp; @channel*\nPSI 0.31 &gt;")


def test_teams_takes_an_adaptive_card(http):
    http.status, http.body = 202, b""
    http.headers = {"x-ms-workflow-run-id": "0858-run"}
    found = TeamsWebhook(http.url, SHORT).send(PAGE, NOW)
    assert (found.result, found.provider_id) == (Result.ACCEPTED, "0858-run")
    (attachment,) = http.json()["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["body"][0]["color"], len(card["body"])) == (
        "AdaptiveCard", "Attention", 3
    )  # fmt: skip
    assert len(http.received[-1][2]) < 28_000


def test_teams_message_stays_below_the_limit_however_long_the_text(http):
    http.status = 202
    TeamsWebhook(http.url, SHORT).send(Envelope(KEY, "", "x", "word " * 20_000), NOW)
    assert len(http.received[-1][2]) < 28_000


@pytest.mark.parametrize("event", ["trigger", "acknowledge", "resolve"])
def test_pager_duty_gets_events_of_one_alert_under_one_key(http, event):
    http.status = 202
    http.body = b'{"status":"success","message":"Event processed","dedup_key":"alert-1"}'
    page = Envelope(
        KEY, "", "x" * 2000, "text", severity="critical", event=event, alert_id="alert-1"
    )
    found = PagerDuty("R0UTING", http.url, SHORT).send(page, NOW)
    assert (found.result, found.provider_id) == (Result.ACCEPTED, "alert-1")
    sent = http.json()
    assert (sent["event_action"], sent["dedup_key"], sent["routing_key"]) == (
        event, "alert-1", "R0UTING"
    )  # fmt: skip
    assert ("payload" in sent) is (event == "trigger")
    if event == "trigger":
        assert len(sent["payload"]["summary"]) == 1024
        assert sent["payload"]["severity"] == "critical"


def test_signature_is_that_of_the_standard_webhooks_example():
    """The worked example of the specification's reference libraries (`v1,g0hM9...`)."""
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = signature_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}', moment,
    )  # fmt: skip
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_signed_webhook_is_verified_and_a_changed_or_old_one_is_not(http):
    assert SignedWebhook(http.url, "s3cret", SHORT).send(PAGE, NOW).result is Result.ACCEPTED
    _, headers, body = http.received[-1]
    verify_signature("s3cret", headers, body, NOW + timedelta(minutes=4))
    assert headers["webhook-id"] == KEY
    for secret, sent, content, now in (
        ("other", headers, body, NOW),
        ("s3cret", headers, body + b" ", NOW),
        ("s3cret", headers, body, NOW + timedelta(minutes=6)),
        ("s3cret", {**headers, "webhook-timestamp": "1719748801"}, body, NOW),
        ("s3cret", {}, body, NOW),
    ):
        with pytest.raises(UsageError):
            verify_signature(secret, sent, content, now)


CHANNELS = {
    "slack": lambda url: SlackWebhook(url, SHORT),
    "teams": lambda url: TeamsWebhook(url, SHORT),
    "pager_duty": lambda url: PagerDuty("R0UTING-SECRET", url, SHORT),
    "webhook": lambda url: SignedWebhook(url, "s3cret", SHORT),
}
IN_A_MINUTE = format_datetime(NOW + timedelta(seconds=60), usegmt=True)
ANSWERS = [
    ({"status": 429, "headers": {"Retry-After": "17"}}, Result.RETRY_AFTER, 17),
    ({"status": 503, "headers": {"Retry-After": IN_A_MINUTE}}, Result.RETRY_AFTER, 60),
    ({"status": 429, "headers": {"Retry-After": "999999999999999"}}, Result.RETRY_AFTER, 3600),
    ({"status": 429, "headers": {"Retry-After": "soon"}}, Result.FAILED_FOR_NOW, 0),
    ({"status": 500}, Result.FAILED_FOR_NOW, 0),
    ({"status": 400, "body": b"T0KEN-SECRET echoed"}, Result.FAILED_FOR_GOOD, 0),
    ({"status": 404}, Result.FAILED_FOR_GOOD, 0),
    ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, Result.FAILED_FOR_GOOD, 0),
    ({"raw": b"\x00\x01 garbage\r\n\r\n"}, Result.FAILED_FOR_NOW, 0),
    ({"raw": b"HTTP/1.1 2x0 what\r\nContent-Length: -3\r\n\r\n"}, Result.FAILED_FOR_NOW, 0),
]  # fmt: skip


@pytest.mark.parametrize("kind", CHANNELS)
def test_every_answer_has_its_outcome(http, kind, caplog):
    caplog.set_level(logging.DEBUG)
    for settings, result, wait in ANSWERS:
        for name in ("status", "headers", "body", "raw"):
            fresh = {"status": 200, "headers": {}, "body": b"ok", "raw": b""}
            setattr(http, name, settings.get(name, fresh[name]))
        found = CHANNELS[kind](http.url).send(PAGE, NOW)
        assert (found.result, found.wait_seconds) == (result, wait), settings
        assert "SECRET" not in found.reason + found.provider_id
    assert "ROUTING" not in caplog.text


def test_sign_in_page_is_no_acceptance(http):
    http.body = b"<!doctype html><html>Sign in to the network</html>"
    for kind in ("slack", "teams", "pager_duty"):
        found = CHANNELS[kind](http.url).send(PAGE, NOW)
        assert found.result is Result.FAILED_FOR_NOW, kind


@pytest.mark.parametrize("how", [{"delay": 1.5}, {"drip": 0.4, "body": b"0123456789"}])
def test_slow_server_costs_no_more_than_the_timeout(http, how):
    """30 s slow, at a fifteenth of the scale; also one that sends a byte now and then."""
    for name, value in how.items():
        setattr(http, name, value)
    began = datetime.now(UTC)
    found = SlackWebhook(http.url, SHORT).send(PAGE, NOW)
    assert (found.result, found.reason) == (Result.FAILED_FOR_NOW, "no answer in time")
    assert datetime.now(UTC) - began < timedelta(seconds=1.4)


def test_unreachable_server_and_unknown_name_are_told_apart():
    closed = f"http://127.0.0.1:{free_port()}/{SECRET}"
    found = SlackWebhook(closed, SHORT).send(PAGE, NOW)
    assert (found.result, found.reason) == (Result.FAILED_FOR_NOW, "the server cannot be reached")
    found = SlackWebhook(f"https://hooks.invalid/{SECRET}", SHORT).send(PAGE, NOW)  # RFC 2606
    assert (found.result, found.reason) == (Result.FAILED_FOR_NOW, "the host's name is not known")
    found = SlackWebhook(f"http://example.org/{SECRET}", SHORT).send(PAGE, NOW)
    assert (found.result, found.reason) == (Result.FAILED_FOR_GOOD, "the address must be https")


def test_expired_certificate_is_refused_and_a_valid_one_is_not(certificates):
    for name, result in (("valid", Result.ACCEPTED), ("expired", Result.FAILED_FOR_NOW)):
        path = certificates[name]
        with http_server(server_context(path)) as server:
            wire = Wire(2.0, ca_file=str(path))
            found = SlackWebhook(server.url, wire).send(PAGE, NOW)
            assert found.result is result
            assert found.reason in ("", "the server's certificate was refused")
            assert len(server.received) == (name == "valid")


def _smtp(port: int, **more) -> Smtp:
    return Smtp("127.0.0.1", port, "lakehouse@example.org", **{
        "security": "none", "timeout_seconds": 0.6, **more
    })  # fmt: skip


def test_mail_arrives_over_starttls_with_log_in(certificates):
    path = certificates["valid"]
    with mail_server(path) as server:
        good = {"security": "starttls", "user": "lake", "ca_file": str(path)}
        found = _smtp(server.port, password="right-passw0rd", **good).send(PAGE, NOW)
        assert (found.result, found.provider_id) == (Result.ACCEPTED, "Q0001")
        found = _smtp(server.port, password="wrong-passw0rd", **good).send(PAGE, NOW)
        assert (found.result, found.reason) == (
            Result.FAILED_FOR_GOOD, "the server refused the log-in (535)",
        )  # fmt: skip
        found = _smtp(server.port).send(PAGE, NOW)  # without TLS this server takes nothing
        assert found.result is Result.FAILED_FOR_GOOD
    assert [m[1] for m in server.messages] == [["ana@example.org"]]


@pytest.mark.parametrize("is_implicit", [True, False])
def test_mail_server_with_an_expired_certificate_gets_nothing(certificates, is_implicit):
    path = certificates["expired"]
    with mail_server(path, is_implicit=is_implicit) as server:
        security = "tls" if is_implicit else "starttls"
        found = _smtp(server.port, security=security, ca_file=str(path), timeout_seconds=3).send(
            PAGE, NOW
        )
    assert (found.result, found.reason) == (
        Result.FAILED_FOR_NOW, "the server's certificate was refused",
    )  # fmt: skip
    assert server.messages == []


def test_mail_over_tls_from_the_start_arrives(certificates):
    path = certificates["valid"]
    with mail_server(path, is_implicit=True) as server:
        smtp = _smtp(server.port, security="tls", ca_file=str(path), timeout_seconds=3)
        assert smtp.send(PAGE, NOW).result is Result.ACCEPTED


MAIL_ANSWERS = [
    ({"rcpt": "550 5.1.1 no such user ana@example.org"}, Result.FAILED_FOR_GOOD, False),
    ({"rcpt": "450 4.2.0 greylisted"}, Result.FAILED_FOR_NOW, False),
    ({"rcpt": "421 4.3.2 shutting down"}, Result.FAILED_FOR_NOW, True),
    ({"data": "452 4.3.1 no space"}, Result.FAILED_FOR_NOW, False),
    ({"data": "554 5.7.1 spam"}, Result.FAILED_FOR_GOOD, False),
    ({"delay": 1.5}, Result.FAILED_FOR_NOW, True),
]


def test_every_answer_of_a_mail_server_has_its_outcome():
    with mail_server() as server:
        for answers, result, is_channel_fault in MAIL_ANSWERS:
            server.delay = answers.get("delay", 0.0)
            server.answers = {k: v for k, v in answers.items() if k != "delay"}
            found = _smtp(server.port).send(PAGE, NOW)
            assert (found.result, found.is_channel_fault) == (result, is_channel_fault), answers
            assert "ana" not in found.reason


def test_mail_server_that_is_down_garbled_or_unsafe(http):
    assert _smtp(free_port()).send(PAGE, NOW).result is Result.FAILED_FOR_NOW
    found = _smtp(http.server.server_port).send(PAGE, NOW)  # speaks another protocol
    assert found.result is Result.FAILED_FOR_NOW
    elsewhere = Smtp("mail.invalid", 25, "a@example.org", "none")
    assert elsewhere.send(PAGE, NOW).reason == "mail must go over TLS"
    unknown = Smtp("mail.invalid", 587, "a@example.org", timeout_seconds=2)
    assert unknown.send(PAGE, NOW).reason == "the host's name is not known"
    with mail_server() as server:  # offers no STARTTLS
        found = _smtp(server.port, security="starttls").send(PAGE, NOW)
        assert found.reason == "the server offers no STARTTLS or log-in"


def test_mail_is_the_same_bytes_each_time_and_reads_back():
    sent = mail(PAGE, "lakehouse@example.org", NOW).as_bytes()
    assert sent == mail(PAGE, "lakehouse@example.org", NOW).as_bytes()
    assert max(len(line) for line in sent.split(b"\r\n")) <= 998  # RFC 5322, 2.1.1
    read = email.message_from_bytes(sent, policy=email.policy.default)
    assert read["Subject"] == PAGE.subject
    assert read.get_body(("plain",)).get_content().split() == [
        "PSI", "0.31", ">", "0.20", "Look."
    ]  # fmt: skip
    (picture,) = [p for p in read.walk() if p.get_content_type() == "image/png"]
    assert picture["Content-ID"] == "<chart>"


@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_no_header_can_be_smuggled_in(line_end):
    evil = f"hello{line_end}Bcc: eve@example.org{line_end}{line_end}<script>"
    envelope = Envelope(KEY, f"ana@example.org{line_end}Bcc: eve@example.org", evil, "text")
    sent = mail(envelope, "lakehouse@example.org", NOW).as_bytes()
    read = email.message_from_bytes(sent, policy=email.policy.default)
    assert read["Bcc"] is None
    assert read.get_content().strip() == "text"


def test_smtp_refuses_a_recipient_that_is_more_than_an_address():
    with mail_server() as server:
        evil = Envelope(KEY, "ana@example.org>\r\nRCPT TO:<eve@example.org", "s", "t")
        assert _smtp(server.port).send(evil, NOW).result is not Result.ACCEPTED
    assert server.messages == []


def test_secrets_are_in_no_repr():
    for channel in (
        SlackWebhook("https://x/S3CRET"), TeamsWebhook("https://x/S3CRET"), PagerDuty("S3CRET"),
        SignedWebhook("https://x", "S3CRET"), AppriseUrl("json://S3CRET"),
        Smtp("h", 1, "s", password="S3CRET"), Wire(proxy="http://u:S3CRET@p"),
    ):  # fmt: skip
        assert "S3CRET" not in repr(channel)


def test_apprise_sends_to_one_recipient_and_logs_nothing(http, caplog):
    pytest.importorskip("apprise")
    caplog.set_level(logging.DEBUG)
    url = http.url.replace("http://", "json://")
    assert AppriseUrl(url).send(PAGE, NOW).result is Result.ACCEPTED
    assert json.loads(http.received[-1][2])["title"] == PAGE.subject
    http.status = 500
    assert AppriseUrl(url).send(PAGE, NOW).result is Result.FAILED_FOR_NOW
    assert AppriseUrl("nonsense://x").send(PAGE, NOW).result is Result.FAILED_FOR_GOOD
    assert "PSI" not in caplog.text
    assert SECRET not in caplog.text.replace('"POST /hook/T0KEN-SECRET', "")


def test_last_resort_needs_no_network(tmp_path):
    channel = LastResortFile(tmp_path / "ops" / "last.jsonl")
    assert channel.send(PAGE, NOW).result is Result.ACCEPTED
    assert channel.send(PAGE, NOW).result is Result.ACCEPTED
    lines = [json.loads(line) for line in channel.path.read_text().splitlines()]
    assert [line["key"] for line in lines] == [KEY, KEY]
    (tmp_path / "file").write_text("")
    assert LastResortFile(tmp_path / "file" / "x").send(PAGE, NOW).result is Result.FAILED_FOR_NOW


REFUSED = {
    "channels: {a: {kind: fax}}": ":1 kind must be one of",
    "channels: {a: {kind: smtp, host: mail.org, sender: a@b.c, security: none}}": "only on this",
    "channels: {a: {kind: slack, secret: https://hooks/x}}": ":1 secret must be a reference",
    "channels: {a: {kind: webhook, url: http://x.org, secret: env:A}}": ":1 url must be https",
    "channels: {a: {kind: teams}}": ":1 needs the field 'secret'",
    "channels: {a: {kind: teams, secret: env:A, url: x}}": ":1 has an unknown field 'url'",
    "channels: {a: {kind: file, path: x}}": "needs a last_resort",
}


@pytest.mark.parametrize("text", REFUSED)
def test_channel_that_cannot_work_is_refused_with_file_and_line(tmp_path, text):
    file = tmp_path / "conf" / "alerting" / "channels.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text + "\n")
    with pytest.raises(SettingsError) as refused:
        load_channels(tmp_path / "conf")
    assert REFUSED[text] in str(refused.value)
    assert "hooks" not in str(refused.value)


def test_shipped_channels_load_and_open(tmp_path):
    found = load_channels(Path(__file__).parents[2] / "conf")
    assert found["email"].is_personal
    opened = open_channel(found["last_resort"], lambda _: "", tmp_path)
    assert opened.send(PAGE, NOW).result is Result.ACCEPTED
