"""The vault: who a subject key is and how far their dates are moved. Ingestion and privacy only."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, key

SUBJECT = Table(
    name="vault.subject",
    comment="One row per person ever seen: logical id, surrogate key and date offset.",
    owner="compliance",
    key=("patient_id",),
    columns=(
        Column("patient_id", "STRING", "Logical id in the source system.", False, Phi.DIRECT),
        key("subject_key", "Surrogate key used everywhere outside the vault."),
        Column(
            "date_shift_days",
            "INT",
            "Days added to every date of the person.",
            False,
            Phi.DIRECT,
            "d",
        ),
    ),
    checks=(between("date_shift_days", -366, 366),),
    change_feed=True,
)
