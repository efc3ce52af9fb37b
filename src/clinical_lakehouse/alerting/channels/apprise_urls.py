"""Everything else by apprise (extra `apprise`): one object a recipient, for it gives one answer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from clinical_lakehouse.alerting.channels.envelope import (
    Envelope,
    Outcome,
    accepted,
    failed_for_good,
    failed_for_now,
    one_line,
)
from clinical_lakehouse.errors import PrerequisiteError

_TYPES = {"critical": "failure", "warning": "warning"}


@dataclass(frozen=True)
class AppriseUrl:
    """One apprise URL, which is the secret; it reports success or failure and nothing else."""

    url: str = field(repr=False)

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once. What failed is not told by apprise, so a failure is one for now."""
        try:
            import apprise
        except ImportError:
            raise PrerequisiteError(
                "apprise is not installed; pip install 'clinical-lakehouse[apprise]'"
            ) from None
        with _silent():
            target = apprise.Apprise()
            if not target.add(self.url):
                reason = "the apprise URL is not one that apprise knows"
                return failed_for_good(reason, is_channel_fault=True)
            kind = (
                "success" if envelope.event == "resolve" else _TYPES.get(envelope.severity, "info")
            )
            is_sent = target.notify(
                title=one_line(envelope.subject), body=envelope.text, notify_type=kind
            )
        return accepted() if is_sent else failed_for_now("apprise could not deliver")


@contextmanager
def _silent() -> Iterator[None]:
    """apprise logs bodies, answers and URLs; none of them belongs in a log."""
    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
