"""Bronze of corrections: what somebody asked to be changed, what became of it, what is locked."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of

CORRECTION = Table(
    name="bronze.correction",
    comment="One row per correction of one element of one resource, and what became of it.",
    owner="data-engineering",
    key=("correction_id",),
    columns=(
        Column("correction_id", "STRING", "SHA-256 of the correction: sent twice, one row.", False),
        Column("resource_type", "STRING", "The resource's type.", False),
        Column("resource_id", "STRING", "Its logical id.", False, Phi.DIRECT),
        Column("path", "STRING", "The element, e.g. valueQuantity.value.", False),
        Column("old_value", "STRING", "What it should have been; empty: nothing.", phi=Phi.DIRECT),
        Column("new_value", "STRING", "What it is to be; empty: nothing.", phi=Phi.DIRECT),
        Column("reason_code", "STRING", "Why, as a code.", False),
        Column("why", "STRING", "Why, in a person's words.", phi=Phi.DIRECT),
        Column("corrected_by", "STRING", "Who asked for it.", False),
        Column("requested_at", "STRING", "When it was received, as the file says."),
        Column("query_id", "STRING", "The data query that it answers."),
        Column("state", "STRING", "applied, already, conflict, or why it was refused.", False),
        Column("file_name", "STRING", "The landing file that carries the new version."),
        Column("judged_at", "TIMESTAMP", "as_of of the run.", False),
        Column("run_id", "STRING", "The run.", False),
    ),
    retention_days=2555,
)

DATA_LOCK = Table(
    name="bronze.data_lock",
    comment="One row per signature that locks resources against corrections, or unlocks them.",
    owner="compliance",
    key=("lock_id", "number"),
    columns=(
        Column("lock_id", "STRING", "Hash of what is locked.", False),
        Column("number", "INT", "1, 2, ... of the lock; the last one holds.", False),
        Column("action", "STRING", "lock or unlock.", False),
        Column("patient_id", "STRING", "Logical id of the person; null: all.", phi=Phi.DIRECT),
        Column("resource_type", "STRING", "resourceType; null: all."),
        Column("first_date", "DATE", "Resources dated from then on; null: all.", phi=Phi.DIRECT),
        Column("last_date", "DATE", "Resources dated until then; null: all.", phi=Phi.DIRECT),
        Column("signed_by", "STRING", "Who signed (21 CFR 11.50(a)(1)).", False),
        Column("role", "STRING", "In which role.", False),
        Column("meaning", "STRING", "review, approval, responsibility or authorship.", False),
        Column("reason", "STRING", "Why, in the person's words.", False, Phi.DIRECT),
        Column("signed_at", "TIMESTAMP", "as_of of the signature (11.50(a)(2)).", False),
        Column("run_id", "STRING", "The run.", False),
    ),
    checks=(is_one_of("action", "lock", "unlock"),),
    retention_days=2555,
)
