"""What a channel is given and what it gives back."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

LONGEST_WAIT_SECONDS = 3600.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_PROVIDER_ID = re.compile(r"[A-Za-z0-9._:@+=<>/-]{1,200}")


@dataclass(frozen=True)
class Image:
    """A picture of a mail's HTML, referred to there as `cid:<name>`; `text` says what it shows."""

    name: str
    png: bytes
    text: str


@dataclass(frozen=True)
class Envelope:
    """One message to one recipient. `key` is the same for every try, so that a receiver can tell
    a repetition; `event` is trigger, acknowledge, resolve or note, of the alert `alert_id`."""

    key: str
    recipient: str
    subject: str
    text: str
    html: str = ""
    images: tuple[Image, ...] = ()
    severity: str = "info"
    event: str = "note"
    alert_id: str = ""
    link: str = ""


class Result(StrEnum):
    """What became of a try."""

    ACCEPTED = "accepted"  # the provider took responsibility
    RETRY_AFTER = "retry_after"  # the provider named a time
    FAILED_FOR_NOW = "failed_for_now"
    FAILED_FOR_GOOD = "failed_for_good"


@dataclass(frozen=True)
class Outcome:
    """The result of one try. `reason` never holds an address, a secret or the answer's text.

    `is_channel_fault`: others would fail on this channel too, not this recipient alone.
    """

    result: Result
    reason: str = ""
    provider_id: str = ""
    wait_seconds: float = 0.0
    is_channel_fault: bool = False


class Channel(Protocol):
    """Something that can send."""

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; never raises for what a network or a provider does."""


def accepted(provider_id: str = "") -> Outcome:
    """Taken over, with the provider's id where it is one."""
    return Outcome(Result.ACCEPTED, provider_id=_fit(provider_id))


def failed_for_now(reason: str, *, is_channel_fault: bool = True) -> Outcome:
    """May go well later."""
    return Outcome(Result.FAILED_FOR_NOW, reason, is_channel_fault=is_channel_fault)


def failed_for_good(reason: str, *, is_channel_fault: bool = False) -> Outcome:
    """Will not go well until somebody changes something."""
    return Outcome(Result.FAILED_FOR_GOOD, reason, is_channel_fault=is_channel_fault)


def retry_after(seconds: float, reason: str) -> Outcome:
    """The provider asks to wait; at most an hour."""
    wait = min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)
    return Outcome(Result.RETRY_AFTER, reason, wait_seconds=wait, is_channel_fault=True)


def one_line(text: str, longest: int = 200) -> str:
    """Text that fits a header or a title: no control character, no line break."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def is_mail_address(text: str) -> bool:
    """A plain address, as HTML's input of type email has it; no name, no comment, no quotes."""
    return _MAIL.fullmatch(text) is not None


def _fit(provider_id: str) -> str:
    return provider_id if _PROVIDER_ID.fullmatch(provider_id) else ""
