"""Access tokens: a given one, or SMART Backend Services (a JWT signed by the client's key)."""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.ingestion.bulk_http import Wire, is_private

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 240  # at most five minutes (SMART App Launch 2.0, client-confidential)
_MARGIN_SECONDS = 30.0
_DEFAULT_SECONDS = 300.0
_GRACE = timedelta(minutes=1)
_LEAST_RSA_BITS = 2048
_UNUSABLE = "the private key of fhir_api must be PEM or a JWK: RSA of 2048 bits, or EC P-384"


@dataclass(frozen=True)
class SigningKey:
    """A client's private key, the algorithm that goes with it, and the id the server knows."""

    key: RSAPrivateKey | EllipticCurvePrivateKey
    algorithm: str
    key_id: str | None

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm})"


def signing_key(text: str, key_id: str | None = None) -> SigningKey:
    """Read a private key (PEM or JWK): RSA signs RS384, EC P-384 signs ES384.

    Raises SettingsError for anything else, without a word of the key.
    """
    own_id = key_id
    try:
        if text.lstrip().startswith("{"):
            fields = json.loads(text)
            own_id = key_id or fields.get("kid")
            key: Any = jwt.PyJWK.from_dict(fields).key
        else:
            key = load_pem_private_key(text.encode(), password=None)
    except Exception:  # whatever a parser says may quote the key
        raise SettingsError(_UNUSABLE) from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= _LEAST_RSA_BITS:
        return SigningKey(key, "RS384", own_id)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP384R1):
        return SigningKey(key, "ES384", own_id)
    raise SettingsError(_UNUSABLE)


def with_tokens(wire: Wire, auth: Mapping[str, Any], secret: Callable[[], str]) -> Wire:
    """The wire, with the tokens that settings (`fhir_api.auth`) ask for.

    Raises SettingsError where they are incomplete.
    """
    if auth["method"] == "none":
        return wire
    if auth["method"] == "bearer":
        return replace(wire, tokens=GivenToken(secret))
    missing = [name for name in ("client_id", "token_url") if not auth[name]]
    if missing:
        raise SettingsError(f"fhir_api.auth.{missing[0]} is missing for backend_services")
    # A stopped client still needs a token, to tell the server so.
    pace = replace(wire.pace, until=wire.pace.until + _GRACE, is_stopped=lambda: False)
    key = signing_key(secret(), auth["key_id"])
    own = replace(wire, pace=pace)
    tokens = BackendServices(own, auth["token_url"], auth["client_id"], auth["scope"], key)
    return replace(wire, tokens=tokens)


@dataclass(frozen=True)
class GivenToken:
    """A bearer token that somebody else made; read anew for each request."""

    read: Callable[[], str]

    def current(self) -> str:
        """The token."""
        return self.read()

    def renew(self, refused: str) -> None:
        """Nothing to do: whoever made it may have put another in its place."""


class BackendServices:
    """Tokens by signed JWT (SMART Backend Services); one is shared by all threads."""

    def __init__(
        self, wire: Wire, token_url: str, client_id: str, scope: str, key: SigningKey
    ) -> None:
        if not is_private(token_url):
            raise SettingsError("fhir_api.auth.token_url must be an https address")
        self.wire, self.token_url, self.client_id = wire, token_url, client_id
        self.scope, self.key = scope, key
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at: datetime | None = None

    def current(self) -> str:
        """A token that holds for a while yet."""
        with self._lock:
            if self._renew_at is None or self.wire.pace.now() >= self._renew_at:
                self._fetch()
            return self._token

    def renew(self, refused: str) -> None:
        """Fetch a new token, unless another thread has done so since."""
        with self._lock:
            if self._token == refused:
                self._fetch()

    def _fetch(self) -> None:
        with self.wire.send(
            "POST",
            self.token_url,
            {"Accept": "application/json"},
            self._form,
            with_token=False,
        ) as response:
            if response.status_code != 200:
                raise SourceError(
                    f"the token was refused (HTTP {response.status_code}); check client_id, scope "
                    "and the key registered for fhir_api"
                )
            try:
                answer = response.json()
                token = answer["access_token"]
            except (ValueError, KeyError, TypeError):
                token = None
        if not isinstance(token, str) or not token:
            raise SourceError("fhir_api.auth.token_url does not answer with an access_token")
        self._token = token
        self._renew_at = self.wire.pace.now() + timedelta(seconds=_usable(answer))

    def _form(self) -> dict[str, str]:
        """One assertion for each try: its jti may be used once."""
        now = self.wire.pace.now()
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.token_url,
            "iat": now,
            "exp": now + timedelta(seconds=_ASSERTION_SECONDS),
            "jti": uuid.uuid4().hex,
        }
        headers = {"kid": self.key.key_id} if self.key.key_id else None
        signed = jwt.encode(claims, self.key.key, self.key.algorithm, headers)
        return {
            "grant_type": "client_credentials",
            "scope": self.scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": signed,
        }


def _usable(answer: dict[str, Any]) -> float:
    """Seconds until the token should be renewed: a little before it ends."""
    seconds = answer.get("expires_in", _DEFAULT_SECONDS)
    lives = float(seconds) if isinstance(seconds, int | float) else _DEFAULT_SECONDS
    lives = min(max(lives, 0.0), 86400.0)
    return max(lives - _MARGIN_SECONDS, lives / 2)
