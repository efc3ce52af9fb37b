"""Secrets by reference: `file:<name>` in the lake's vault folder (0600), `env:<NAME>`, or
`scope:<scope>/<key>`, a Databricks secret scope."""

import importlib
import os
import secrets
from pathlib import Path

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.run import Run

_KEY_BYTES = 32


def vault_secret(run: Run, may_make: bool = False) -> bytes:
    """The lake's own secret: 32 bytes. With `may_make` a missing key file is made, mode 0600.

    Raises SettingsError where it is missing, malformed or readable by others.
    """
    reference = run.settings.privacy.vault_secret
    return _vault_secret(run, "privacy.vault_secret", reference, may_make)


def audit_seed(run: Run, may_make: bool = False) -> bytes:
    """The private key that signs the audit: 32 bytes (RFC 8032), found and made as the lake's own
    secret is."""
    return _vault_secret(run, "retention.audit_key", run.settings.retention.audit_key, may_make)


def previous_vault_secret(run: Run) -> bytes | None:
    """The secret that the vault was sealed with before, where the settings name one."""
    reference = run.settings.privacy.vault_secret_previous
    return (
        _vault_secret(run, "privacy.vault_secret_previous", reference, False) if reference else None
    )


def _vault_secret(run: Run, setting: str, reference: str, may_make: bool) -> bytes:
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        return _from_hex(os.environ.get(name, ""), name, setting)
    if kind == "scope" and "/" in name:
        return _from_hex(_from_scope(name, setting), name, setting)
    if kind != "file" or not name or "/" in name:
        raise SettingsError(f"{setting} must be file:<name>, env:<NAME> or scope:<s>/<key>")
    path = run.lake.root / "vault" / name
    if may_make and not path.exists():
        _make(path)
    return _from_file(path)


def connection_secret(run: Run, name: str) -> str:
    """The text that a connection's `secret` refers to: `env:<NAME>`, `file:<name>` in the vault, or
    `scope:<scope>/<key>`.

    Raises SettingsError, never with the secret, where it is missing or readable by others.
    """
    return referred_secret(
        run, run.settings.connections[name].secret or "", f"connections.{name}.secret"
    )


def referred_secret(run: Run, reference: str, setting: str) -> str:
    """The text that a reference of conf stands for, as `connection_secret` says; `setting` names it
    in the SettingsError."""
    return secret_at(run.lake.root, reference, setting)


def secret_at(root: Path, reference: str, setting: str) -> str:
    """`referred_secret` for whoever has a lake's folder, and no session."""
    kind, _, place = reference.partition(":")
    if kind == "env" and place:
        text = os.environ.get(place, "")
    elif kind == "scope" and "/" in place:
        text = _from_scope(place, setting)
    elif kind == "file" and place and "/" not in place:
        text = _guarded(root / "vault" / place).decode()
    else:
        raise SettingsError(f"{setting} must be env:<NAME>, file:<name> or scope:<scope>/<key>")
    if not text.strip():
        raise SettingsError(f"{setting} refers to {place}, which is empty; set it")
    return text.strip()


def _from_hex(text: str, name: str, setting: str) -> bytes:
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise SettingsError(f"set {name} to 64 hex digits ({setting} refers to it)")
    return secret


def _from_scope(place: str, setting: str) -> str:
    """A value of a Databricks secret scope; its own error may hold more than we want to show."""
    scope, _, name = place.partition("/")
    try:
        dbutils = importlib.import_module("databricks.sdk.runtime").dbutils
        return str(dbutils.secrets.get(scope, name))
    except Exception as error:
        raise SettingsError(
            f"{setting}: the secret scope cannot be read ({type(error).__name__}); run on "
            "Databricks with READ on the scope, or use file:<name> or env:<NAME>"
        ) from None


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
