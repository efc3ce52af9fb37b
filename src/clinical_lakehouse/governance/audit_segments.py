"""Dated segments of the audit: how a row is hashed, a day sealed and dropped, the log judged."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods import merkle
from clinical_lakehouse.methods.signed_notes import (
    Verifier,
    checkpoint,
    read_checkpoint,
    signed,
    text_of,
)
from clinical_lakehouse.tables.ops_audit import AUDIT, PLACED_BY

ORIGIN = "clinical-lakehouse/audit"
_DROP = "clinical-lakehouse/audit-drop"
_LEAF = merkle.HASH_BYTES


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was sealed: what, on which day, at which position (from 0)."""

    kind: str
    segment_date: date | None
    position: int | None
    text: str


@dataclass(frozen=True)
class Signer:
    """Signs for the audit with a private key of 32 bytes."""

    seed: bytes

    def note(self, text: str) -> str:
        """The text as a signed note."""
        return signed(text, ORIGIN, self.seed)


def leaves(rows: DataFrame) -> DataFrame:
    """(segment_date, leaves) of audit rows: a day's leaf hashes in sealed order, as one hex text.

    A leaf is RFC 6962's of a JSON array of the row's columns as text, times as microseconds of the
    epoch.
    """
    placed = F.struct("recorded_at", "run_id", "sequence", _leaf().alias("leaf"))
    days = rows.groupBy("segment_date").agg(F.sort_array(F.collect_list(placed)).alias("rows"))
    return days.select("segment_date", F.concat_ws("", F.col("rows.leaf")).alias("leaves"))


def _leaf() -> Column:
    texts = [
        F.unix_micros(c.name).cast("string") if c.type == "TIMESTAMP" else F.col(c.name)
        for c in AUDIT.columns
        if c.name not in PLACED_BY
    ]
    entry = F.encode(F.to_json(F.array(*texts)), "UTF-8")
    return F.sha2(F.concat(F.lit(bytes(1)), entry), 256)


def segment_entry(ordinal: int, day: date, row_count: int, root_hash: str) -> bytes:
    """What the log of segments holds of one."""
    return json.dumps([ordinal, day.isoformat(), row_count, root_hash]).encode()


def _log_leaf(row: Mapping[str, Any]) -> bytes:
    names = ("ordinal", "segment_date", "row_count", "root_hash")
    return merkle.leaf_hash(segment_entry(*(row[name] for name in names)))


def sealed_segment(
    before: Sequence[Mapping[str, Any]], day: date, rows: Sequence[bytes], signer: Signer
) -> dict[str, Any]:
    """The ops.audit_segment row of a day with these leaf hashes, after those `before`, in order;
    sealed_at and run_id are the caller's."""
    row = {
        "ordinal": len(before),
        "segment_date": day,
        "row_count": len(rows),
        "root_hash": merkle.root(rows).hex(),
        "leaf_hashes": b"".join(rows),
        "drop_note": None,
    }
    log = [_log_leaf(one) for one in (*before, row)]
    return {**row, "checkpoint": signer.note(checkpoint(ORIGIN, len(log), merkle.root(log)))}


def dropped_segment(
    row: Mapping[str, Any], at: datetime, retention_days: int, signer: Signer
) -> dict[str, Any]:
    """The segment's row once its audit rows are gone: the root stays, and who let them go signs."""
    names = ("ordinal", "segment_date", "row_count", "root_hash")
    said = "\n".join(str(row[name]) for name in names)
    text = f"{_DROP}\n{said}\n{at.isoformat()}\n{retention_days}\n"
    return {**row, "leaf_hashes": None, "drop_note": signer.note(text)}


def log_faults(
    segments: Sequence[Mapping[str, Any]], verifier: Verifier, kept: str | None = None
) -> Iterator[Fault]:
    """What is wrong with the segments' own rows, in order: missing, altered, unsigned, or not what
    the checkpoint `kept` elsewhere says."""
    log: list[bytes] = []
    for place, row in enumerate(segments):
        day = row["segment_date"]
        if row["ordinal"] != place:
            text = f"segment {place} of the log is missing; what comes after is not judged"
            yield Fault("segment-removed", None, place, text)
            return
        log.append(_log_leaf(row))
        said = read_checkpoint(text_of(row["checkpoint"], verifier) or "", ORIGIN)
        if said is None:
            text = f"the checkpoint of {day} is not signed by this key"
            yield Fault("signature", day, place, text)
        elif said != (place + 1, merkle.root(log)):
            text = f"the segment of {day}, or one before, is not what was signed"
            yield Fault("segment-altered", day, place, text)
        yield from _row_faults(row, verifier)
    if kept is not None:
        yield from _kept_faults(log, kept, verifier)


def _row_faults(row: Mapping[str, Any], verifier: Verifier) -> Iterator[Fault]:
    day, place, hashes = row["segment_date"], row["ordinal"], row["leaf_hashes"]
    if hashes is None:
        said = (text_of(row["drop_note"] or "", verifier) or "").splitlines()
        names = ("ordinal", "segment_date", "row_count", "root_hash")
        if said[:5] != [_DROP, *(str(row[name]) for name in names)]:
            yield Fault("segment-dropped", day, place, f"{day} was dropped, and nobody signed it")
    elif merkle.root(split(hashes)).hex() != row["root_hash"]:
        yield Fault("segment-altered", day, place, f"the leaf hashes of {day} were altered")


def _kept_faults(log: Sequence[bytes], kept: str, verifier: Verifier) -> Iterator[Fault]:
    said = read_checkpoint(text_of(kept, verifier) or "", ORIGIN)
    if said is None:
        yield Fault("signature", None, None, "the kept checkpoint is not signed by this key")
        return
    size, root = said
    proof = merkle.consistency_proof(log, size) if size <= len(log) else []
    if not merkle.is_consistent(size, len(log), root, merkle.root(log), proof):
        text = f"the log is no continuation of the kept checkpoint of {size} segments"
        yield Fault("log-rewritten", None, size, text)


def split(hashes: bytes) -> list[bytes]:
    """Leaf hashes as a segment's row keeps them, one by one."""
    raw = bytes(hashes)
    return [raw[at : at + _LEAF] for at in range(0, len(raw), _LEAF)]


def row_proof(
    segments: Sequence[Mapping[str, Any]], row: Mapping[str, Any], leaf: bytes
) -> dict[str, Any]:
    """A row's two inclusion proofs: in its segment, and of the segment in the log as the latest
    checkpoint signs it. Whoever has these, the row and the public key needs nothing else."""
    rows, log = split(row["leaf_hashes"]), [_log_leaf(one) for one in segments]
    position = rows.index(leaf)
    return {
        "leaf_hash": leaf,
        "position": position,
        "row_count": row["row_count"],
        "row_path": merkle.inclusion_proof(rows, position),
        "segment_root": row["root_hash"],
        "ordinal": row["ordinal"],
        "segment_date": row["segment_date"],
        "segment_path": merkle.inclusion_proof(log, row["ordinal"]),
        "checkpoint": segments[-1]["checkpoint"],
    }
