"""Ops of the audit: what was changed by whom, and the sealed segments that prove it unedited."""

from clinical_lakehouse.tables.contract import Column, Phi, Table

_OWNER = "compliance"

AUDIT = Table(
    name="ops.audit",
    comment="One row per change of data or decision: who, what, when, why; values as HMACs only.",
    owner=_OWNER,
    key=("audit_id",),
    columns=(
        Column("audit_id", "STRING", "SHA-256 of the event: recorded twice, it is one row.", False),
        Column("segment_date", "DATE", "UTC date of recorded_at: the segment it is in.", False),
        Column("sequence", "BIGINT", "Order among rows of one recorded_at and run.", False),
        Column("recorded_at", "TIMESTAMP", "Wall clock (21 CFR 11.10(e)).", False),
        Column("as_of", "TIMESTAMP", "The run's clock.", False),
        Column("run_id", "STRING", "The run that changed it.", False),
        Column("task", "STRING", "Entry point, e.g. data-correction-apply.", False),
        Column("actor", "STRING", "Who decided, by name or account.", False),
        Column("action", "STRING", "insert, update, delete, release, lock, unlock, ...", False),
        Column("object_table", "STRING", "The table that changed.", False),
        Column("object_key", "STRING", "The row: key or HMAC, never an identifier.", False),
        Column("field", "STRING", "Element path; null for the whole row."),
        Column("old_hash", "STRING", "HMAC-SHA256 of the value before, 64 hex digits."),
        Column("new_hash", "STRING", "HMAC-SHA256 of the value after, 64 hex digits."),
        Column("reason_code", "STRING", "Why, as a code, e.g. transcription-error.", False),
        Column("why", "STRING", "Why, in a person's words.", phi=Phi.DIRECT),
    ),
    cluster_by=("segment_date",),
    retention_days=2555,
)

# What the leaf of a row covers: all but where it stands, which the tree itself covers.
PLACED_BY = ("segment_date", "sequence")

AUDIT_SEGMENT = Table(
    name="ops.audit_segment",
    comment="One row per sealed day of ops.audit: its Merkle root and the signed log of all roots.",
    owner=_OWNER,
    key=("ordinal",),
    columns=(
        Column("ordinal", "BIGINT", "Place in the log of segments, from 0.", False),
        Column("segment_date", "DATE", "The day, in UTC.", False),
        Column("row_count", "BIGINT", "Rows sealed.", False),
        Column("root_hash", "STRING", "Merkle tree hash of the rows (RFC 6962), hex.", False),
        Column("leaf_hashes", "BINARY", "32 bytes a row, in order; null once it is dropped."),
        Column("checkpoint", "STRING", "Signed note: how many segments, and their root.", False),
        Column("sealed_at", "TIMESTAMP", "Wall clock of the sealing.", False),
        Column("run_id", "STRING", "The run that sealed it.", False),
        Column("drop_note", "STRING", "Signed note: dropped when, and under which retention."),
    ),
)
