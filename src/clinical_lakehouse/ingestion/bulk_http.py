"""HTTP to a FHIR server: bounded waiting, retries with Retry-After, a token that renews itself."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

from clinical_lakehouse.errors import SourceError

_PASSING = frozenset((408, 429, 500, 502, 503, 504))
_SLICE_SECONDS = 1.0
_LONGEST_PROMISE = 10**9
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class Patience:
    """How long to wait for what; seconds, except `retries` (tries after the first)."""

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    retries: int = 5
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 300.0


def patience_of(options: Mapping[str, Any]) -> Patience:
    """The patience that settings (`fhir_api.export`) ask for."""
    named = ("read_seconds", "retries", "longest_pause_seconds")
    return Patience(**{name: options[name] for name in named})


@dataclass(frozen=True)
class Pace:
    """Time as a client sees it: what the clock says, how to sleep, when to give up.

    `until` bounds all waiting; `is_stopped` is asked at least once a second.
    """

    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    until: datetime
    is_stopped: Callable[[], bool] = lambda: False

    @property
    def is_over(self) -> bool:
        """Was it stopped, or is the time up?"""
        return self.is_stopped() or self.now() >= self.until

    def check(self) -> None:
        """SourceError once the client was stopped or its time is up."""
        if self.is_stopped():
            raise SourceError("the export was stopped; run it again to start a new one")
        if self.now() >= self.until:
            raise SourceError(
                "the FHIR server did not finish in time; raise fhir_api.export.wait_minutes"
            )

    def pause(self, seconds: float) -> None:
        """Sleep, in slices, so that a stop is seen."""
        while seconds > 0:
            self.check()
            self.sleep(min(seconds, _SLICE_SECONDS))
            seconds -= _SLICE_SECONDS
        self.check()


class Tokens(Protocol):
    """Where access tokens come from."""

    def current(self) -> str:
        """A token to send now."""

    def renew(self, refused: str) -> None:
        """Get another token, if there is one, after the server refused this one."""


@dataclass(frozen=True)
class Wire:
    """Sends requests; waits and tries again where that can help."""

    pace: Pace
    patience: Patience = Patience()
    tokens: Tokens | None = None

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        form: Callable[[], Mapping[str, str]] | None = None,
        *,
        with_token: bool = True,
    ) -> requests.Response:
        """The answer, its body unread; the caller closes it.

        A passing fault (connection, 408, 429, 5xx) is tried again; 401 once with another token.
        Raises SourceError where the server cannot be reached, or time is up.
        """
        tokens = self.tokens if with_token else None
        failures, is_renewed = 0, False
        for number in count():
            self.pace.check()
            token = tokens.current() if tokens else None
            response = self._once(method, url, headers, form, token)
            status = response.status_code if response is not None else 0
            if response is not None and status == 401 and tokens and token and not is_renewed:
                response.close()
                tokens.renew(token)
                is_renewed = True
                continue
            is_renewed = False  # a wait may outlive the new token too
            if response is not None and status not in _PASSING:
                return response
            failures += status != 429  # a busy server is waited for as long as there is time
            if failures > self.patience.retries:
                if response is None:
                    raise SourceError("the FHIR server cannot be reached; check FHIR_ENDPOINT")
                return response
            self.pace.pause(self.pause_before(response, number))
        raise AssertionError("unreachable")

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        form: Callable[[], Mapping[str, str]] | None,
        token: str | None,
    ) -> requests.Response | None:
        if token and not is_private(url):
            raise SourceError("a token is not sent over plain http; use an https address")
        try:
            return requests.request(
                method,
                url,
                headers=dict(headers or {}),
                data=form() if form else None,
                auth=_Bearer(token),
                timeout=(self.patience.connect_seconds, self.patience.read_seconds),
                stream=True,
            )
        except (requests.ConnectionError, requests.Timeout):
            return None
        except requests.RequestException as error:
            raise SourceError(
                f"a request to the FHIR server failed ({type(error).__name__}); check its address"
            ) from None

    def pause_before(self, response: requests.Response | None, number: int) -> float:
        """Seconds until the next try: what Retry-After asks for, else twice as long each time."""
        asked = None
        if response is not None:
            asked = retry_after(response.headers.get("Retry-After"), self.pace.now())
            response.close()
        longest = self.patience.longest_pause_seconds
        if asked is None:
            asked = self.patience.first_pause_seconds * 2.0 ** min(number, 16)
        return min(max(asked, self.patience.first_pause_seconds), longest)

    def drop(self, url: str) -> int:
        """DELETE without waiting for anything; the status, 0 where none came."""
        status = 0
        with suppress(SourceError):
            for _ in range(2):
                token = self.tokens.current() if self.tokens else None
                response = self._once("DELETE", url, {"Accept": "application/json"}, None, token)
                status = response.status_code if response is not None else 0
                if response is not None:
                    response.close()
                if status != 401 or self.tokens is None or not token:
                    break
                self.tokens.renew(token)
        return status


class _Bearer(requests.auth.AuthBase):
    """Sets the token itself: without it requests would send what a ~/.netrc holds instead."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def is_private(url: str) -> bool:
    """Does nobody on the way read what is sent there (https, or this machine)?"""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.hostname or "") in _LOOPBACK


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, at least 0; None where it says nothing usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3). The caller caps it.
    """
    asked = (text or "").strip()
    if asked.isascii() and asked.isdigit():
        return float(min(int(asked[:12]), _LONGEST_PROMISE))
    try:
        moment = parsedate_to_datetime(asked)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max((moment - now).total_seconds(), 0.0)
