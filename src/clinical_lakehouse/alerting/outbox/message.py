"""One message to one recipient on one channel, as a row that knows what became of it."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clinical_lakehouse.alerting.channels.envelope import Envelope, Image

QUEUED, SENT, ACCEPTED, FAILED, EXPIRED = "queued", "sent", "accepted", "failed", "expired"
STATES = (QUEUED, SENT, ACCEPTED, FAILED, EXPIRED)
PAGE, RESOLVED, MORE = "page", "resolved", "more"
LAST_RESORT = "last_resort"
_MOMENTS = ("created_at", "due_at", "expires_at", "sent_at", "settled_at", "retry_at")


@dataclass(frozen=True)
class Message:
    """A row of the outbox; key `message_id` and `revision` (-1: not stored yet).

    `group_id` names what is to be told, whoever and whatever channel it goes to: one accepted
    message of a group is enough not to need the last resort. `state` is queued, sent (handed over,
    answer not known), accepted, failed (for good) or expired. `retry_at` is when the provider asked
    to be tried again. `folded_into` is the message that
    says "12 more" in this one's place. `payload` is what channels.Envelope needs, as JSON.
    """

    message_id: str
    group_id: str
    alert_id: str
    kind: str
    channel: str
    recipient: str = field(repr=False)
    is_critical: bool
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None
    payload: str = field(repr=False)
    state: str = QUEUED
    attempt: int = 0
    sent_at: datetime | None = None
    settled_at: datetime | None = None
    retry_at: datetime | None = None
    provider_id: str = ""
    reason: str = ""
    is_channel_fault: bool = False
    is_cancelled: bool = False
    folded_into: str | None = None
    revision: int = -1

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Message":
        """From a table's row; times without a zone are UTC."""
        fields = {name: row[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, **{name: _utc(row[name]) for name in _MOMENTS}})

    @property
    def row(self) -> dict[str, Any]:
        """As a table's row."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def envelope(self) -> Envelope:
        """What the channel is given."""
        content = json.loads(self.payload)
        images = tuple(
            Image(one["name"], base64.b64decode(one["png"]), one["text"])
            for one in content.pop("images", ())
        )
        return Envelope(self.message_id, self.recipient, images=images, **content)

    @property
    def is_open(self) -> bool:
        """Is it still to be settled?"""
        return self.state in (QUEUED, SENT)


def message_id(*parts: str) -> str:
    """The idempotency key: the same call, recipient and channel have the same one for ever."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def payload(
    subject: str, text: str, html: str = "", *, severity: str = "info", event: str = "note",
    alert_id: str = "", link: str = "", images: Iterable[Image] = (),
) -> str:  # fmt: skip
    """A message's content as JSON, in the words of channels.Envelope."""
    content = {
        "subject": subject, "text": text, "html": html, "severity": severity, "event": event,
        "alert_id": alert_id, "link": link,
        "images": [
            {"name": i.name, "png": base64.b64encode(i.png).decode(), "text": i.text}
            for i in images
        ],
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
