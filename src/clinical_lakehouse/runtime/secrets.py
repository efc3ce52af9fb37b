"""Secrets by reference: `file:<name>` in the lake's vault folder, or `env:<NAME>`."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.run import Run

_KEY_BYTES = 32


def vault_secret(run: Run, may_make: bool = False) -> bytes:
    """The lake's own secret: 32 bytes. With `may_make` a missing key file is made, mode 0600.

    Raises SettingsError where it is missing, malformed or readable by others.
    """
    reference = run.settings.privacy.vault_secret
    kind, _, name = reference.partition(":")
    if kind == "env":
        return _from_environment(name, os.environ)
    if kind != "file" or not name or "/" in name:
        raise SettingsError("privacy.vault_secret must be file:<name> or env:<NAME>")
    path = run.lake.root / "vault" / name
    if may_make and not path.exists():
        _make(path)
    return _from_file(path)


def connection_secret(run: Run, name: str) -> str:
    """The text that a connection's `secret` refers to: `env:<NAME>`, or `file:<name>` in the vault.

    Raises SettingsError, never with the secret, where it is missing or readable by others.
    """
    kind, _, place = (run.settings.connections[name].secret or "").partition(":")
    if kind == "env" and place:
        text = os.environ.get(place, "")
    elif kind == "file" and place and "/" not in place:
        text = _guarded(run.lake.root / "vault" / place).decode()
    else:
        raise SettingsError(f"connections.{name}.secret must be env:<NAME> or file:<name>")
    if not text.strip():
        raise SettingsError(f"connections.{name}.secret refers to {place}, which is empty; set it")
    return text.strip()


def _from_environment(name: str, environ: Mapping[str, str]) -> bytes:
    try:
        secret = bytes.fromhex(environ.get(name, ""))
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise SettingsError(f"set {name} to 64 hex digits (privacy.vault_secret refers to it)")
    return secret


def _guarded(path: Path) -> bytes:
    if not path.is_file():
        raise SettingsError(f"the vault's key {path.name} is missing; restore it from its backup")
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"the vault's key {path.name} is open to others; chmod 600 it")
    return path.read_bytes()


def _from_file(path: Path) -> bytes:
    secret = _guarded(path)
    if len(secret) != _KEY_BYTES:
        raise SettingsError(f"the vault's key {path.name} is damaged; restore it from its backup")
    return secret


def _make(path: Path) -> None:
    """Written whole under another name first: a killed run leaves no half key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.write(handle, secrets.token_bytes(_KEY_BYTES))
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
