"""Signed notes of C2SP (signed-note, tlog-checkpoint), by Ed25519: a text and who stands for it."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\u2014 "  # an em dash begins a line of signature


@dataclass(frozen=True)
class Verifier:
    """A name and its public key; as text `name+hash+key`, the form that is given away."""

    name: str
    public_key: bytes

    @property
    def key_hash(self) -> bytes:
        """The first four bytes of SHA-256(name, newline, algorithm, key): which key signed."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{_text(_ED25519 + self.public_key)}"


def read_verifier(text: str) -> Verifier | None:
    """The verifier that `name+hash+key` stands for; None where that is none, or was altered."""
    name, _, rest = text.strip().partition("+")
    _, _, key = rest.partition("+")
    raw = _bytes(key)
    if raw is None or len(raw) != 33 or raw[:1] != _ED25519:
        return None
    found = Verifier(name, raw[1:])
    return found if str(found) == text.strip() else None


def verifier_of(name: str, seed: bytes) -> Verifier:
    """Who is known to sign with this private key (32 bytes, RFC 8032)."""
    return Verifier(
        name, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    )


def signed(text: str, name: str, seed: bytes) -> str:
    """The note: `text`, which ends in a newline, an empty line and one line of signature."""
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return f"{text}\n{_DASH}{name} {_text(verifier_of(name, seed).key_hash + signature)}\n"


def text_of(note: str, verifier: Verifier) -> str | None:
    """The text of a note that the verifier's key has signed; None where it has not."""
    text, cut, signatures = note.rpartition("\n\n")
    for line in signatures.splitlines() if cut else ():
        name, _, value = line.removeprefix(_DASH).partition(" ")
        raw = _bytes(value) or b""
        is_theirs = line.startswith(_DASH) and name == verifier.name
        if is_theirs and raw[:4] == verifier.key_hash and _is_signed(text, raw[4:], verifier):
            return f"{text}\n"
    return None


def checkpoint(origin: str, size: int, root: bytes) -> str:
    """The text that says how large a log is and what its root is (tlog-checkpoint)."""
    return f"{origin}\n{size}\n{_text(root)}\n"


def read_checkpoint(text: str, origin: str) -> tuple[int, bytes] | None:
    """Size and root of a checkpoint of this log, None where the text is none."""
    lines: Sequence[str] = text.splitlines()
    if len(lines) < 3 or lines[0] != origin or not lines[1].isdecimal():
        return None
    root = _bytes(lines[2])
    return None if root is None else (int(lines[1]), root)


def _is_signed(text: str, signature: bytes, verifier: Verifier) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(
            signature, f"{text}\n".encode()
        )
    except InvalidSignature:
        return False
    return True


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
