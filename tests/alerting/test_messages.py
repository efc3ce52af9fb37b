"""A message shows allowed labels and nothing else, in each language, in one line where it must."""

import base64
import email
import email.policy
import json
import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from clinical_lakehouse.alerting.audience import load_catalogue, load_labels, notices
from clinical_lakehouse.alerting.channels.smtp import Smtp, mail
from clinical_lakehouse.alerting.channels.webhooks import (
    PagerDuty,
    SignedWebhook,
    SlackWebhook,
    TeamsWebhook,
)
from clinical_lakehouse.alerting.escalation.policy import load_policies
from clinical_lakehouse.alerting.escalation.progress import LAST_RESORT, Call, advance
from clinical_lakehouse.alerting.messages.acknowledgement import token, verify
from clinical_lakehouse.alerting.messages.compose import (
    Desk,
    call_messages,
    notice_messages,
    shift_messages,
)
from clinical_lakehouse.alerting.messages.labels import visible
from clinical_lakehouse.alerting.messages.templates import load_templates
from clinical_lakehouse.alerting.on_call.notice import shift_notices
from clinical_lakehouse.alerting.on_call.reading import load_on_call
from clinical_lakehouse.errors import SettingsError, UsageError
from tests.alerting.fault_servers import http_server, mail_server

CONF = Path(__file__).parents[2] / "conf"
NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)
KEY = b"k" * 32
ALERT = {
    "alert_id": "a1b2", "episode": "1", "policy": "page", "state": "firing", "severity": "critical",
    "kind": "prediction_drift", "model": "dropout_risk", "value": 0.31, "threshold": 0.2,
    "started_at": NOW,
}  # fmt: skip


@pytest.fixture(scope="module")
def desk():
    templates = load_templates(CONF, load_labels(CONF))
    page = "https://lake.example.org/ack"
    return Desk(load_on_call(CONF), templates, {"email": True, "hook": False}, page, KEY)


@pytest.fixture
def conf(tmp_path):
    shutil.copytree(CONF / "alerting", tmp_path / "conf" / "alerting")
    return tmp_path / "conf"


def test_every_template_stands_in_every_language_and_says_something(desk):
    names = {name for _, name in desk.templates.parts}
    assert names >= {"page", "reminder", "resolved", "unanswered", "event", "safety", "shift"}
    for language in ("en", "de"):
        for name in names:
            for labels in ({}, ALERT):
                found = desk.templates.render(language, name, labels)
                assert found.subject
                assert "\n\n\n" not in found.text
                assert found.text.splitlines()[0] in found.html.replace("&#34;", '"')


def test_page_says_what_how_much_and_what_to_do(desk):
    call = Call("k", "page", "a1b2", "ana", "email", NOW, is_late=True)
    (found,) = call_messages(desk, [call], {"a1b2": ALERT}, NOW)
    assert found.recipient == "ana@example.org"
    assert found.is_critical
    envelope = found.envelope
    assert envelope.subject == "[CRITICAL] prediction_drift of dropout_risk"
    assert "This page is late" in envelope.text
    assert "Value: 0.31\nLimit: 0.2\nModel: dropout_risk\n" in envelope.text
    assert (envelope.event, envelope.alert_id) == ("trigger", "a1b2")
    assert envelope.link.startswith("https://lake.example.org/ack?t=")
    assert f'href="{envelope.link}"' in envelope.html


def test_acknowledgement_by_link_names_who_was_paged(desk):
    call = Call("k", "page", "a1b2", "ana", "email", NOW)
    (found,) = call_messages(desk, [call], {"a1b2": ALERT}, NOW)
    done = verify([KEY], found.envelope.link.partition("?t=")[2], NOW, lambda nonce: False)
    assert (done.alert_id, done.episode, done.person) == ("a1b2", "1", "ana")


def test_only_pages_have_an_acknowledgement_link_and_the_last_resort_goes_to_nobody(desk):
    calls = [
        Call("k1", "resolved", "a1b2", "ana", "email", NOW),
        Call("k2", "unanswered", "a1b2", None, LAST_RESORT, NOW),
    ]
    resolved, last = call_messages(desk, calls, {"a1b2": ALERT}, NOW)
    assert "ack?t=" not in resolved.payload + last.payload
    assert (resolved.envelope.event, last.recipient, last.expires_at) == ("resolve", "", None)


def test_shift_notice_tells_the_local_time(desk):
    found = shift_notices(
        desk.on_call.schedules["data_platform"], datetime(2024, 1, 8, 7, tzinfo=UTC)
    )
    texts = [m.envelope for m in shift_messages(desk, found, "email", NOW)]
    assert texts[-1].recipient == "ben@example.org"
    assert texts[-1].subject.endswith("data_platform from 2024-01-08 08:00 Europe/London")


@pytest.mark.parametrize(
    ("form", "value", "shown"),
    [
        ("word", "gold.subject_feature", "gold.subject_feature"),
        ("word", "John Smith", ""),
        ("word", "x\nBcc: eve@example.org", ""),
        ("word", {"name": "John"}, ""),
        ("number", 0.31234567, "0.3123"),
        ("number", "19700101", ""),
        ("number", float("nan"), ""),
        ("number", True, ""),
        ("number", 12345, "12,345"),
        ("moment", datetime(2024, 6, 30, 12), "2024-06-30 12:00 UTC"),
        ("moment", "yesterday", ""),
        ("link", "https://example.org/runbook", "https://example.org/runbook"),
        ("link", "javascript:alert(1)", ""),
        ("phrase", "Ana Moreau", "Ana Moreau"),
        ("phrase", "<b>", ""),
    ],
)
def test_label_that_is_not_of_its_form_is_not_shown(form, value, shown):
    assert visible({"x": value, "y": "secret"}, {"x": form}) == {"x": shown}


TEMPLATE = "en/page.txt"
REFUSED = {
    "Subject: x\n\n{{ kind }}\n\n{{ patient_name }}\n": "en/page.txt:5 shows 'patient_name'",
    "Subject: {{ message }}\n\nx\n": "en/page.txt:1 shows 'message'",
    "Subject: x\n\n{{ kind.__class__ }}\n": ":3 may hold labels and conditions only, no Getattr",
    "Subject: x\n\n{% for c in kind %}{{ c }}{% endfor %}\n": ":3 may hold labels and conditions",
    "Subject: x\n\na\n{% include 'layout.html' %}\n": ":4 may hold labels and conditions only",
    "Subject: x\n\n{{ kind|safe }}\n": ":3 has an unknown filter 'safe'",
    "Subject: x\n\na\n{% if kind %}\n": ":4 Unexpected end of template",
    "Hello\n\nx\n": ":1 must be `Subject: ...`",
}


@pytest.mark.parametrize("text", REFUSED)
def test_template_that_could_show_more_is_refused_with_file_and_line(conf, text):
    (conf / "alerting" / "templates" / TEMPLATE).write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_templates(conf, load_labels(conf))
    assert REFUSED[text] in str(refused.value)


def test_layout_with_an_unknown_name_is_refused(conf):
    path = conf / "alerting" / "templates" / "layout.html"
    path.write_text("<p>\n{{ alert }}</p>")
    with pytest.raises(SettingsError, match=r"layout.html:2 shows an unknown 'alert'"):
        load_templates(conf, load_labels(conf))


def test_markup_in_a_label_stays_text_in_html(desk):
    found = desk.templates.render("en", "shift", {"person": "A & B", "schedule": "x"})
    assert "A &amp; B" in found.html
    assert "A & B" in found.text


def _canaries(number: int) -> dict:
    """An alert whose every field that is not allowed holds a canary, under names as detectors and
    careless people may choose them; allowed ones hold what is not of their form."""
    mark = f"CANARY{number:05d}"
    hidden = {
        name: f"{mark} {name}"
        for name in (
            "message", "patient_name", "mrn", "birth_date", "Kind", "labels", "details", "error",
            "sql", "email", "__class__", "self", "subject", "text", "html", "note",
        )
    }  # fmt: skip
    shown = {
        "table": f"{mark} table\r\nBcc: {mark}@example.org", "site": [mark], "value": mark,
        "runbook": f"javascript:{mark}", "window_at": mark, "model": f"<b>{mark}</b>",
    }  # fmt: skip
    return {**ALERT, **hidden, **shown, "alert_id": f"a{number}"}


def test_ten_thousand_canaries_leave_by_no_way(desk, caplog):
    caplog.set_level(logging.DEBUG)
    kinds = ("page", "reminder", "resolved", "unanswered", "event", "safety")
    people, found = ("ana", "chi"), []
    for number in range(10_000):
        kind, person = kinds[number % len(kinds)], people[number % 2]
        call = Call(f"k{number}", kind, f"a{number}", person, "email", NOW)
        found += call_messages(desk, [call], {f"a{number}": _canaries(number)}, NOW)
    assert len(found) == 10_000
    for m in found:
        assert "CANARY" not in unquote(m.payload + m.group_id + m.message_id + m.recipient)
    sample = [m.envelope for m in found[::250]]
    for envelope in sample:
        sent = mail(envelope, "lakehouse@example.org", NOW)
        read = email.message_from_bytes(sent.as_bytes(), policy=email.policy.default)
        parts = [str(read.items())] + [
            part.get_content() for part in read.walk() if not part.is_multipart()
        ]
        assert "CANARY" not in "".join(map(str, parts))
        assert read["Bcc"] is None
    with http_server() as http, mail_server() as smtp:
        for envelope in sample[:6]:
            for channel in (
                SlackWebhook(http.url), TeamsWebhook(http.url), PagerDuty("r", http.url),
                SignedWebhook(http.url, "s"),
                Smtp("127.0.0.1", smtp.port, "lakehouse@example.org", "none"),
            ):  # fmt: skip
                channel.send(envelope, NOW)
        wire = json.dumps([[path, headers, body.decode()] for path, headers, body in http.received])
        assert len(http.received) == 24
        assert len(smtp.messages) == 6
    assert "CANARY" not in unquote(wire)
    assert "CANARY" not in caplog.text


def test_canary_is_seen_where_a_template_shows_it(desk):
    """The search above can find: an allowed label of the right form does arrive."""
    alert = {**ALERT, "model": "CANARY00001"}
    (found,) = call_messages(
        desk, [Call("k", "page", "a1b2", "ana", "email", NOW)], {"a1b2": alert}, NOW
    )
    assert "CANARY" in found.payload


def test_link_is_refused_when_changed_old_used_or_foreign():
    made = token(KEY, "a1", "1", "ana", NOW)
    assert made == token(KEY, "a1", "1", "ana", NOW)
    fresh = lambda nonce: False  # noqa: E731
    content, _, signature = made.partition(".")
    forged = base64.urlsafe_b64encode(b'["a2","1","eve",9999999999,"n"]').rstrip(b"=").decode()
    day = timedelta(hours=24)
    for text, now, is_used, said in (
        (f"{forged}.{signature}", NOW, fresh, "not made here or was changed"),
        (f"{content}.{signature[:-2]}AA", NOW, fresh, "not made here or was changed"),
        (content, NOW, fresh, "not made here or was changed"),
        ("", NOW, fresh, "not made here or was changed"),
        ("ü.ü", NOW, fresh, "not made here or was changed"),
        (made, NOW + day, fresh, "this link ended on 2024-07-01 12:00 UTC"),
        (made, NOW, lambda nonce: True, "this link was used already"),
    ):
        with pytest.raises(UsageError, match=said):
            verify([KEY], text, now, is_used)
    with pytest.raises(UsageError, match="not made here"):
        verify([b"x" * 32], made, NOW, fresh)
    assert verify([b"x" * 32, KEY], made, NOW + day - timedelta(seconds=1), fresh).person == "ana"
    with pytest.raises(UsageError, match="at least 32 bytes"):
        token(b"short", "a1", "1", "ana", NOW)
    assert "=" not in made.replace(".", "")


def test_link_works_once_when_the_nonce_is_kept():
    used: set[str] = set()
    made = token(KEY, "a1", "1", "ana", NOW)
    used.add(verify([KEY], made, NOW, used.__contains__).nonce)
    with pytest.raises(UsageError, match="used already"):
        verify([KEY], made, NOW, used.__contains__)
    assert token(KEY, "a1", "2", "ana", NOW) != made  # the next episode has a link of its own


@pytest.fixture(scope="module")
def catalogue(desk):
    return load_catalogue(CONF, desk.on_call, desk.channels, desk.templates)


def test_event_goes_to_its_audiences_each_by_its_own_way(desk, catalogue):
    event = {"event_id": "e1", "kind": "pipeline_failed", "seen_at": NOW.replace(tzinfo=None)}
    (found,) = notices(catalogue, desk.on_call, event, NOW)
    assert (found.audience, found.person, found.due_at) == (
        "data_manager", "ana", NOW + timedelta(minutes=30)
    )  # fmt: skip
    (message,) = notice_messages(desk, [found], {"e1": {**event, "severity": "warning"}}, NOW)
    assert (message.due_at, message.is_critical) == (found.due_at, False)


def test_unlisted_kind_is_told_all_the_same(desk, catalogue):
    event = {"event_id": "e1", "kind": "never_heard_of", "seen_at": NOW}
    assert [n.person for n in notices(catalogue, desk.on_call, event, NOW)] == ["ana"]


def test_safety_event_goes_at_once_to_who_is_on_call_for_safety(desk, catalogue):
    event = {"event_id": "e1", "kind": "serious_adverse_event", "seen_at": NOW}
    found = list(notices(catalogue, desk.on_call, event, NOW))
    assert {(n.person, n.due_at, n.is_safety) for n in found} >= {("ana", NOW, True)}
    assert not catalogue.may_be_muted("serious_adverse_event", "data")
    assert catalogue.may_be_muted("serious_adverse_event", "safety")
    assert catalogue.may_be_muted("pipeline_failed", "data")


MUTE = "mutes: [{owner: data, events: [%s], audiences: [safety], ends_on: 2026-08-01, reason: x}]"
NOTHING = "mutes: []"
SAE = "  serious_adverse_event:\n    is_safety: true\n    to:\n      - {audience: safety, "
CHANGES = {
    "muted": (
        NOTHING,
        MUTE % "serious_adverse_event",
        "a data rule must not mute the safety event",
    ),
    "muted_by_pattern": (NOTHING, MUTE % '"*"', "must not mute the safety event"),
    "mutes_nothing": (NOTHING, MUTE % "qualty", "mutes 'qualty', which no event is called"),
    "digested": (f"{SAE}channels", f"{SAE}digest: true, channels", "must not wait for a digest"),
    "delayed": (f"{SAE}channels", f"{SAE}delay_minutes: 5, channels", "must not be delayed"),
    "audience": ("{audience: sponsor, digest", "{audience: sponser, digest", "unknown audience"),
    "channel": (
        "channels: [email], template",
        "channels: [fax], template",
        "unknown channel 'fax'",
    ),
    "template": ("template: safety", "template: sefety", "needs the template en/sefety.txt"),
    "no_digest": (", digest: weekly}", "}", "the audience 'sponsor' has no digest"),
    "other": ("  other:  ", "  others: ", "needs an event `other`"),
    "nobody": ("{people: [dora], digest", "{digest", "the audience 'sponsor' reaches nobody"),
    "person": ("{people: [dora]", "{people: [doro]", "names an unknown person 'doro'"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_catalogue_that_breaks_a_promise_is_refused_with_file_and_line(conf, desk, case):
    before, after, said = CHANGES[case]
    path = conf / "alerting" / "notifications.yml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(SettingsError) as refused:
        load_catalogue(conf, desk.on_call, desk.channels, desk.templates)
    assert said in str(refused.value)
    if case != "other":
        line = int(str(refused.value).split("notifications.yml:")[1].split()[0])
        assert after.strip().splitlines()[-1].strip() in path.read_text().splitlines()[line - 1]


def test_mute_of_a_data_event_holds_until_its_end(conf, desk):
    path = conf / "alerting" / "notifications.yml"
    mute = "mutes: [{owner: data, events: ['qual*'], audiences: [data_manager], %s}]"
    path.write_text(path.read_text().replace(NOTHING, mute % "ends_on: 2024-07-02, reason: x"))
    found = load_catalogue(conf, desk.on_call, desk.channels, desk.templates)
    event = {"event_id": "e1", "kind": "quality_score", "seen_at": NOW}
    assert list(notices(found, desk.on_call, event, NOW)) == []
    assert len(list(notices(found, desk.on_call, event, NOW + timedelta(days=2)))) == 1


def test_from_alert_to_envelope_with_the_shipped_conf(desk):
    policies = load_policies(CONF, desk.on_call, desk.channels)
    rows, calls = advance(policies, desk.on_call, [], [ALERT], NOW)
    (found,) = call_messages(desk, calls, {"a1b2": ALERT}, NOW)
    assert rows[0]["state"] == "running"
    assert found.envelope.recipient in ("ana@example.org", "ben@example.org")
