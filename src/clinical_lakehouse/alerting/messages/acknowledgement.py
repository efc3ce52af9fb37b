"""Links that acknowledge an alert: signed, for one person, once, for a while.

Mail scanners open links, so the page behind one must ask (GET shows a button, POST acknowledges).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.yaml_fields import read_fields

FILE = "alerting/channels.yml"
LIFETIME = timedelta(hours=24)
_LEAST_KEY_BYTES = 32
_INSTEAD = "acknowledge with `clinical-lakehouse alerts ack ID` instead"


@dataclass(frozen=True)
class Acknowledgement:
    """Who acknowledged which alert; `nonce` is what makes the link single-use."""

    alert_id: str
    episode: str
    person: str
    nonce: str


@dataclass(frozen=True)
class LinkConf:
    """Where the page stands that links lead to, and a reference to the key that signs them."""

    url: str
    secret: str


def load_links(conf: Path) -> LinkConf | None:
    """`acknowledgement` of channels.yml; None where it is left out, SettingsError for a fault."""
    top = read_fields(conf / FILE, conf.parent)
    if "acknowledgement" not in top.content:
        return None
    fields = top.inner("acknowledgement").allow("url", "secret")
    url, secret = fields.text("url"), fields.text("secret")
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")) or "?" in url:
        raise fields.refusal("url must be https and without a query", "url")
    if secret.partition(":")[0] not in ("env", "file", "scope"):
        raise fields.refusal("secret must be a reference (env:NAME), not the secret", "secret")
    return LinkConf(url, secret)


def token(key: bytes, alert_id: str, episode: str, person: str, issued_at: datetime) -> str:
    """The text of a link, safe in a URL: the same inputs give the same token.

    It holds the alert's fingerprint, a person's id of on_call.yml and an end; no label.
    """
    if len(key) < _LEAST_KEY_BYTES:
        raise UsageError("the key that signs acknowledgement links must have at least 32 bytes")
    nonce = hashlib.sha256(f"{alert_id}\x1f{episode}\x1f{person}\x1f{issued_at}".encode())
    ends = int((issued_at + LIFETIME).timestamp())
    fields = [alert_id, episode, person, ends, nonce.hexdigest()[:24]]
    content = _encoded(json.dumps(fields, separators=(",", ":")).encode())
    return f"{content}.{_encoded(_mac(key, content))}"


def verify(
    keys: Sequence[bytes], text: str, now: datetime, is_used: Callable[[str], bool]
) -> Acknowledgement:
    """Who acknowledges what; the caller stores the nonce with the acknowledgement, in one write.

    `keys` are the present key and, while it is exchanged, the former one. `is_used` says whether a
    nonce was stored. Raises UsageError where the link is not ours, over, or used.
    """
    content, _, signature = text.partition(".")
    known = [_encoded(_mac(key, content)) for key in keys if len(key) >= _LEAST_KEY_BYTES]
    if not any(hmac.compare_digest(one.encode(), signature.encode()) for one in known):
        raise UsageError(f"this link was not made here or was changed; {_INSTEAD}")
    alert_id, episode, person, ends, nonce = json.loads(_decoded(content))
    if now.timestamp() >= ends:
        when = datetime.fromtimestamp(ends, UTC)
        raise UsageError(f"this link ended on {when:%Y-%m-%d %H:%M} UTC; {_INSTEAD}")
    if is_used(nonce):
        raise UsageError("this link was used already; see `clinical-lakehouse alerts list`")
    return Acknowledgement(alert_id, episode, person, nonce)


def _mac(key: bytes, content: str) -> bytes:
    return hmac.new(key, b"acknowledge." + content.encode(), hashlib.sha256).digest()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
