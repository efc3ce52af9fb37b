"""Surrogate keys and date offsets: HMAC-SHA256 of a source id under the lake's key, as Columns.

The key, which the vault keeps sealed, stands in Spark's query plan while a query runs; event logs
of a lake are kept like its vault.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

_BLOCK_BYTES = 64  # SHA-256 (FIPS 198-1: longer keys are hashed first; ours are refused)
_POSITIVE = (1 << 63) - 1


def surrogate_key(secret: bytes, resource_type: str, resource_id: Column) -> Column:
    """Positive BIGINT key of a resource: the low 63 of the first 64 bits of HMAC(`Type/id`).

    Null for a null id. The same secret, type and id give the same key everywhere.
    """
    message = F.concat(F.lit(f"{resource_type}/"), resource_id)
    return _number(hmac_sha256(secret, message))


def date_shift_days(secret: bytes, patient_id: Column, most_days: int) -> Column:
    """A person's date offset, INT in [-most_days, -1] or [1, most_days]; 0 if `most_days` is 0."""
    if most_days == 0:
        return F.lit(0)
    drawn = _number(hmac_sha256(secret, F.concat(F.lit("date-shift/"), patient_id)))
    step = (drawn % F.lit(2 * most_days)).cast("int") - F.lit(most_days)
    return F.when(step < 0, step).otherwise(step + 1)


def hmac_sha256(secret: bytes, message: Column) -> Column:
    """HMAC-SHA256 (RFC 2104) of a STRING, as 64 hex digits; `secret` is 1 to 64 bytes."""
    if not 1 <= len(secret) <= _BLOCK_BYTES:
        raise ValueError("the secret must have 1 to 64 bytes")
    padded = secret.ljust(_BLOCK_BYTES, b"\0")
    inner_pad, outer_pad = (bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    inner = F.sha2(F.concat(F.lit(inner_pad), F.encode(message, "UTF-8")), 256)
    return F.sha2(F.concat(F.lit(outer_pad), F.unhex(inner)), 256)


def _number(digest: Column) -> Column:
    signed = F.conv(F.substring(digest, 1, 16), 16, -10).cast("bigint")
    return signed.bitwiseAND(F.lit(_POSITIVE))
