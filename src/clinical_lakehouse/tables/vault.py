"""The vault: who a subject key is and how far their dates are moved. Ingestion and privacy only."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, key, unique

SEALED_KEY = Table(
    name="vault.sealed_key",
    comment="One row per key of the lake, kept under the vault secret; written at its first run.",
    owner="compliance",
    key=("name",),
    columns=(
        Column("name", "STRING", "pseudonym: the key of every HMAC of the lake.", False),
        Column("key_sealed", "BINARY", "The key: AES-256-GCM, its name as AAD.", False, Phi.DIRECT),
        Column("key_id", "STRING", "Which vault secret sealed it.", False),
    ),
)

SUBJECT = Table(
    name="vault.subject",
    comment="One row per person ever seen: sealed logical id, surrogate key and date offset.",
    owner="compliance",
    key=("patient_index",),
    columns=(
        Column(
            "patient_index",
            "STRING",
            "HMAC-SHA256 of the logical id under the lake's key, 64 hex digits.",
            False,
            Phi.DIRECT,
        ),
        Column(
            "patient_id_sealed",
            "BINARY",
            "Logical id in the source system: AES-256-GCM, patient_index as AAD.",
            False,
            Phi.DIRECT,
        ),
        Column(
            "identity_sealed",
            "BINARY",
            "Names, places, numbers and links that Patient resources say, sealed likewise.",
            phi=Phi.DIRECT,
        ),
        Column("identity_version", "BIGINT", "Changes with what they say.", False, Phi.DIRECT),
        Column("key_id", "STRING", "Which vault secret sealed these two.", False),
        key("subject_key", "Surrogate key used everywhere outside the vault."),
        Column(
            "date_shift_days",
            "INT",
            "Days added to every date of the person.",
            False,
            Phi.DIRECT,
            "d",
        ),
        Column(
            "first_seen_at", "TIMESTAMP", "as_of of the run that drew the key.", False, Phi.DIRECT
        ),
    ),
    checks=(between("date_shift_days", -366, 366), unique("subject_key")),
    change_feed=True,
)
