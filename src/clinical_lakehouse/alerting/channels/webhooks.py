"""Webhooks: Slack-compatible, Microsoft Teams, PagerDuty Events v2, and a signed generic one."""

import base64
import hashlib
import hmac
import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from clinical_lakehouse.alerting.channels.envelope import Envelope, Outcome, one_line
from clinical_lakehouse.alerting.channels.http import Answer, Request, Wire, sent
from clinical_lakehouse.errors import UsageError

_PAGER_SEVERITIES = ("critical", "error", "warning", "info")
_LONGEST_SUMMARY = 1024  # PagerDuty Events API v2, payload.summary
_LONGEST_TEXT = 20_000  # Teams takes messages of 28 kB, Slack texts of 40,000 characters
_CARD = "application/vnd.microsoft.card.adaptive"
_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class SlackWebhook:
    """An incoming webhook as Slack, Mattermost and Rocket.Chat take it; the URL is the secret."""

    url: str = field(repr=False)
    wire: Wire = Wire()

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; accepted where the answer is `ok` (api.slack.com/messaging/webhooks)."""
        text = f"*{_escaped(one_line(envelope.subject))}*\n{_escaped(envelope.text)}"
        body = _json({"text": text[:_LONGEST_TEXT], "unfurl_links": False})
        return sent(self.wire, Request(self.url, body), now, _said_ok)


def _said_ok(answer: Answer) -> str | None:
    if answer.body.strip() != b"ok":
        return None
    return {k.lower(): v for k, v in answer.headers.items()}.get("x-slack-req-id", "")


def _escaped(text: str) -> str:
    """Slack's three control characters: without this a text could mention @channel or link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True)
class TeamsWebhook:
    """A Teams workflow ("when a webhook request is received"), sent an adaptive card 1.4."""

    url: str = field(repr=False)
    wire: Wire = Wire()

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; the workflow answers 202 as soon as it has taken the request."""
        attachment = {"contentType": _CARD, "contentUrl": None, "content": _card(envelope)}
        body = _json({"type": "message", "attachments": [attachment]})
        return sent(self.wire, Request(self.url, body), now, _by_workflow)


def _by_workflow(answer: Answer) -> str | None:
    if b"<html" in answer.body[:2000].lower():
        return None  # a sign-in page or a proxy's, which Teams does not send
    return {k.lower(): v for k, v in answer.headers.items()}.get("x-ms-workflow-run-id", "")


def _card(envelope: Envelope) -> dict[str, Any]:
    bad = envelope.severity == "critical" and envelope.event == "trigger"
    title = {
        "type": "TextBlock",
        "text": _unmarked(one_line(envelope.subject)),
        "weight": "Bolder",
        "size": "Medium",
        "wrap": True,
        "color": "Attention" if bad else "Default",
    }
    paragraphs = envelope.text[:_LONGEST_TEXT].split("\n\n")
    texts = [
        {"type": "TextBlock", "text": _unmarked(p).replace("\n", "\n\n"), "wrap": True}
        for p in paragraphs
        if p.strip()
    ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, *texts],
    }
    if envelope.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": envelope.link}]
    return card


def _unmarked(text: str) -> str:
    """Without Markdown links, the only markup of a TextBlock that does harm."""
    return text.replace("[", "\\[").replace("]", "\\]")


@dataclass(frozen=True)
class PagerDuty:
    """PagerDuty Events API v2; the alert is the dedup_key, so a repetition is no second page."""

    routing_key: str = field(repr=False)
    url: str = "https://events.pagerduty.com/v2/enqueue"
    wire: Wire = Wire()

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; trigger, acknowledge and resolve are those of the API, a note triggers."""
        action = envelope.event if envelope.event in ("acknowledge", "resolve") else "trigger"
        event: dict[str, Any] = {
            "routing_key": self.routing_key,
            "event_action": action,
            "dedup_key": envelope.alert_id or envelope.key,
        }
        if action == "trigger":
            severity = envelope.severity if envelope.severity in _PAGER_SEVERITIES else "error"
            event["payload"] = {
                "summary": one_line(envelope.subject, _LONGEST_SUMMARY),
                "source": "clinical-lakehouse",
                "severity": severity,
                "custom_details": {"text": envelope.text[:_LONGEST_TEXT]},
            }
            if envelope.link:
                event["links"] = [{"href": envelope.link, "text": "Open"}]
        return sent(self.wire, Request(self.url, _json(event)), now, _dedup_key)


def _dedup_key(answer: Answer) -> str | None:
    try:
        said = json.loads(answer.body)
        return str(said["dedup_key"]) if said["status"] == "success" else None
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class SignedWebhook:
    """Any receiver, by the Standard Webhooks specification: id, timestamp, HMAC-SHA256."""

    url: str = field(repr=False)
    secret: str = field(repr=False)
    wire: Wire = Wire()

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; any answer 2xx accepts."""
        body = _json(
            {
                "type": f"alert.{envelope.event}",
                "timestamp": now.isoformat(),
                "data": {
                    "alert_id": envelope.alert_id,
                    "severity": envelope.severity,
                    "subject": one_line(envelope.subject),
                    "text": envelope.text,
                    "link": envelope.link,
                },
            }
        )
        headers = signature_headers(self.secret, envelope.key, body, now)
        return sent(self.wire, Request(self.url, body, headers), now, lambda _: envelope.key)


def signature_headers(secret: str, key: str, body: bytes, now: datetime) -> dict[str, str]:
    """webhook-id, webhook-timestamp and webhook-signature (Standard Webhooks 1.0, symmetric)."""
    stamp = str(math.floor(now.timestamp()))
    return {
        "webhook-id": key,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{_mac(secret, key, stamp, body)}",
    }


def verify_signature(secret: str, headers: dict[str, str], body: bytes, now: datetime) -> None:
    """For receivers: UsageError where the signature is not ours, or older than five minutes."""
    given = {name.lower(): value for name, value in headers.items()}
    key, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit():
        raise UsageError("the webhook has no timestamp; it is not one of ours")
    if abs(now.timestamp() - int(stamp[:12])) > _TOLERANCE.total_seconds():
        raise UsageError("the webhook's timestamp is over five minutes away; check both clocks")
    expected = f"v1,{_mac(secret, key, stamp, body)}".encode()
    signatures = given.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected, one.encode()) for one in signatures):
        raise UsageError("the webhook's signature does not fit; check the shared secret")


def _mac(secret: str, key: str, stamp: str, body: bytes) -> str:
    text = secret.removeprefix("whsec_")
    own = base64.b64decode(text) if secret.startswith("whsec_") else text.encode()
    signed = hmac.new(own, f"{key}.{stamp}.".encode() + body, hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
