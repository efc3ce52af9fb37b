"""conf/alerting/channels.yml: which channels there are; their secrets are references."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from clinical_lakehouse.alerting.channels.apprise_urls import AppriseUrl
from clinical_lakehouse.alerting.channels.envelope import Channel
from clinical_lakehouse.alerting.channels.http import Wire, is_private
from clinical_lakehouse.alerting.channels.last_resort_file import LastResortFile
from clinical_lakehouse.alerting.channels.smtp import Smtp
from clinical_lakehouse.alerting.channels.webhooks import (
    PagerDuty,
    SignedWebhook,
    SlackWebhook,
    TeamsWebhook,
)
from clinical_lakehouse.alerting.outbox.pace import Limit
from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

FILE = "alerting/channels.yml"
LAST_RESORT = "last_resort"
_SECURITY = ("starttls", "tls", "none")
_LIMITS = ("kind", "per_recipient", "per_minutes", "timeout_seconds")
_FIELDS = {
    "smtp": ("host", "port", "security", "sender", "user", "secret", "ca_file"),
    "slack": ("secret", "ca_file"),
    "teams": ("secret", "ca_file"),
    "pager_duty": ("secret", "url", "ca_file"),
    "webhook": ("url", "secret", "ca_file"),
    "apprise": ("secret",),
    "file": ("path",),
}
_MACHINES = ("pager_duty", "webhook", "file")  # they need each event
_PERSONAL = ("smtp",)  # the others have one address of their own


@dataclass(frozen=True)
class ChannelSpec:
    """A channel as conf says it, without its secret."""

    name: str
    kind: str
    options: Mapping[str, Any]
    secret: str | None
    limit: Limit

    @property
    def is_personal(self) -> bool:
        """Does it need an address of each person?"""
        return self.kind in _PERSONAL


def load_channels(conf: Path) -> dict[str, ChannelSpec]:
    """Read the file below conf/, `last_resort` among the channels.

    SettingsError names file and line of the first fault.
    """
    top = read_fields(conf / FILE, conf.parent).allow("channels", LAST_RESORT, "acknowledgement")
    found = {name: _spec(name, fields) for name, fields in top.named("channels")}
    if LAST_RESORT in found:
        raise top.refusal("last_resort stands beside channels, not among them", "channels")
    if LAST_RESORT not in top.content:
        raise top.refusal("needs a last_resort: where a message goes that reached nobody")
    return {**found, LAST_RESORT: _spec(LAST_RESORT, top.inner(LAST_RESORT))}


def _spec(name: str, fields: Fields) -> ChannelSpec:
    kind = fields.choice("kind", _FIELDS)
    fields.allow(*_LIMITS, *_FIELDS[kind])
    if kind == "smtp":
        fields.text("host")
        fields.text("sender")
        security = fields.choice("security", _SECURITY, "starttls")
        if security == "none" and fields.text("host") not in ("localhost", "127.0.0.1", "::1"):
            raise fields.refusal("security may be none only on this machine", "security")
    elif kind == "file":
        fields.text("path")
    else:
        fields.text("secret")
    if "url" in fields.content and not is_private(fields.text("url")):
        raise fields.refusal("url must be https", "url")
    if kind == "webhook":
        fields.text("url")
    secret = fields.text("secret", None)
    if secret is not None and secret.partition(":")[0] not in ("env", "file", "scope"):
        raise fields.refusal("secret must be a reference (env:NAME), not the secret", "secret")
    return ChannelSpec(
        name,
        kind,
        dict(fields.content),
        secret,
        Limit(
            int(fields.number("per_recipient", 10, least=1)),
            timedelta(minutes=fields.number("per_minutes", 10, least=1)),
            folds=kind not in _MACHINES,
        ),
    )


def open_channel(spec: ChannelSpec, read: Callable[[str], str], root: Path) -> Channel:
    """The channel, with its secret read through `read`; a file's path is below `root`."""
    options = spec.options
    secret = read(spec.secret) if spec.secret else ""
    seconds = float(options.get("timeout_seconds", 10))
    wire = Wire(seconds, options.get("ca_file"))
    if spec.kind in ("slack", "teams") and not is_private(secret):
        raise SettingsError(f"the secret of channel {spec.name!r} must be an https address")
    opened: dict[str, Callable[[], Channel]] = {
        "smtp": lambda: _smtp(options, secret, seconds),
        "slack": lambda: SlackWebhook(secret, wire),
        "teams": lambda: TeamsWebhook(secret, wire),
        "pager_duty": lambda: PagerDuty(secret, options.get("url", PagerDuty.url), wire),
        "webhook": lambda: SignedWebhook(options["url"], secret, wire),
        "apprise": lambda: AppriseUrl(secret),
        "file": lambda: LastResortFile(root / options["path"]),
    }
    return opened[spec.kind]()


def _smtp(options: Mapping[str, Any], secret: str, seconds: float) -> Smtp:
    security = options.get("security", "starttls")
    port = options.get("port", {"starttls": 587, "tls": 465, "none": 25}[security])
    return Smtp(
        options["host"], int(port), options["sender"], security, options.get("user"),
        secret or None, seconds, options.get("ca_file"),
    )  # fmt: skip
