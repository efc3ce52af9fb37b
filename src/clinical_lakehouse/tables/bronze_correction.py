"""Bronze of corrections: what somebody asked to be changed, and what became of it. Restricted."""

from clinical_lakehouse.tables.contract import Column, Phi, Table

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
