"""The vault's keys: the lake's own key, sealed under the vault secret, and what opens the vault.

The lake's key makes every HMAC (surrogate keys of resources, index of patients) and never changes;
so another vault secret seals it, and the identifiers, anew and leaves every key and date as it is.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.secrets import previous_vault_secret, vault_secret
from clinical_lakehouse.tables.vault import SEALED_KEY, SUBJECT

_PSEUDONYM = "pseudonym"
_IV_BYTES = 12  # NIST SP 800-38D, 8.2.2; the layout is that of Spark's aes_encrypt


@dataclass(frozen=True, repr=False)
class VaultKeys:
    """`pseudonym` keys the lake's HMACs; `seals` is AES-256 keys by key id: the first one seals,
    all of them open."""

    pseudonym: bytes
    seals: Mapping[str, bytes]

    @property
    def seal(self) -> tuple[str, bytes]:
        """Id and key that new rows are sealed with."""
        return next(iter(self.seals.items()))


def vault_keys(run: Run, may_make: bool = False) -> VaultKeys:
    """The keys of this lake; a new lake's are made and kept, where `may_make`.

    SettingsError where the vault secret is missing or is not the one the vault is sealed with; a
    task that calls this declares vault.sealed_key, and to make them vault.subject.
    """
    rows = run.lake.read(SEALED_KEY).collect()
    if rows:
        seals = _seals(run, vault_secret(run))
        return VaultKeys(_opened(rows[0].asDict(), seals), seals)
    if not may_make:
        raise SettingsError("vault.sealed_key is not made yet; run patient_ingestion first")
    if not run.lake.read(SUBJECT).isEmpty():
        raise SettingsError("vault.sealed_key is lost; restore it from its backup")
    secret = vault_secret(run, may_make=True)
    is_derived = run.settings.privacy.surrogate_keys == "derived"
    pseudonym = _labelled(secret, "lake key") if is_derived else secrets.token_bytes(32)
    keys = VaultKeys(pseudonym, _seals(run, secret))
    run.lake.append(SEALED_KEY, [sealed_row(keys)])
    return keys


def sealed_row(keys: VaultKeys) -> dict[str, object]:
    """The vault.sealed_key row of the lake's key, under the secret that seals now."""
    key_id, seal = keys.seal
    iv = secrets.token_bytes(_IV_BYTES)
    sealed = iv + AESGCM(seal).encrypt(iv, keys.pseudonym, _PSEUDONYM.encode())
    return {"name": _PSEUDONYM, "key_sealed": sealed, "key_id": key_id}


def _opened(row: Mapping[str, bytes], seals: Mapping[str, bytes]) -> bytes:
    sealed, seal = bytes(row["key_sealed"]), seals.get(str(row["key_id"]))
    try:
        if seal is not None:
            return AESGCM(seal).decrypt(sealed[:_IV_BYTES], sealed[_IV_BYTES:], _PSEUDONYM.encode())
    except InvalidTag:
        pass
    raise SettingsError(
        "the vault's key is not the one this lake was made with; restore it, or name the former "
        "one in privacy.vault_secret_previous and run vault_rotation"
    )


def _seals(run: Run, secret: bytes) -> dict[str, bytes]:
    """AES keys by id, of the present secret first."""
    known = [one for one in (secret, previous_vault_secret(run)) if one is not None]
    return {_labelled(one, "key id").hex()[:16]: _labelled(one, "seal") for one in known}


def _labelled(secret: bytes, label: str) -> bytes:
    """A key of its own for each use: HMAC-SHA256 of a fixed label under the secret."""
    return hmac.new(secret, f"clinical-lakehouse {label}".encode(), hashlib.sha256).digest()
