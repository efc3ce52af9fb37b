"""POST with a deadline; what an answer means for a message (RFC 9110)."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3

from clinical_lakehouse.alerting.channels.envelope import (
    Outcome,
    accepted,
    failed_for_good,
    failed_for_now,
    retry_after,
)

_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_LARGEST_ANSWER = 65536
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_LONGEST_PROMISE = 10**9


@dataclass(frozen=True)
class Wire:
    """How to reach the network: seconds for a whole try, a CA file, a proxy."""

    timeout_seconds: float = 10.0
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Request:
    """A POST of JSON; the URL may be the secret."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Status, headers and the first 64 kB of an answer's body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def sent(
    wire: Wire, request: Request, now: datetime, understood: Callable[[Answer], str | None]
) -> Outcome:
    """The outcome of one try; `understood` gives the provider's id, None for an answer that it did
    not send."""
    answer = post(wire, request)
    return answer if isinstance(answer, Outcome) else judge(answer, now, understood)


def post(wire: Wire, request: Request) -> Answer | Outcome:
    """The answer, or what its absence means. Follows no redirect: the URL may be the secret."""
    if not is_private(request.url):
        return failed_for_good("the address must be https", is_channel_fault=True)
    began = time.monotonic()
    try:
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc, no proxy that nobody configured
            proxies = {"https": wire.proxy, "http": wire.proxy} if wire.proxy else None
            with session.post(
                request.url,
                data=request.body,
                headers={"Content-Type": "application/json", **request.headers},
                timeout=wire.timeout_seconds,
                verify=wire.ca_file or True,
                allow_redirects=False,
                proxies=proxies,
                stream=True,
            ) as response:
                content = _read(response, began + wire.timeout_seconds)
                return Answer(response.status_code, dict(response.headers), content)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        return failed_for_now(_reason(error))


def judge(answer: Answer, now: datetime, understood: Callable[[Answer], str | None]) -> Outcome:
    """What a status means."""
    if 200 <= answer.status < 300:
        provider_id = understood(answer)
        if provider_id is None:
            return failed_for_now(f"the answer was not understood (HTTP {answer.status})")
        return accepted(provider_id)
    reason = f"refused with HTTP {answer.status}"
    if answer.status in _PASSING or answer.status >= 500:
        wait = _asked(answer, now)
        return failed_for_now(reason) if wait is None else retry_after(wait, reason)
    # 401, 403, 404, 410 and redirects: a secret or an address that somebody must change.
    is_channel = answer.status in (401, 403, 404, 410) or answer.status < 400
    return failed_for_good(reason, is_channel_fault=is_channel)


def is_private(url: str) -> bool:
    """Does nobody on the way read what is sent there (https, or this machine)?"""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _read(response: requests.Response, until: float) -> bytes:
    """The body, however slowly it drips; a timeout once the whole try took too long."""
    content = b""
    # Byte by byte (from a buffer): a larger piece would wait for all of itself.
    for chunk in response.iter_content(1):
        content += chunk
        if time.monotonic() > until:
            raise requests.Timeout
        if len(content) >= _LARGEST_ANSWER:
            break
    return content[:_LARGEST_ANSWER]


def _asked(answer: Answer, now: datetime) -> float | None:
    """Seconds of Retry-After: a number or an HTTP date (RFC 9110, 10.2.3)."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), _LONGEST_PROMISE))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max((moment - now).total_seconds(), 0.0)


def _reason(error: BaseException) -> str:
    """A fixed phrase: an error's own text holds the URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate was refused"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return "no answer in time"
    if _has_cause(error, urllib3.exceptions.NameResolutionError, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached"
    return "the server's answer is not HTTP"


def _has_cause(error: BaseException, *kinds: type[BaseException]) -> bool:
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, kinds):
            return True
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False
