"""Gold: public code lists as loaded, and what they say of the codes in use."""

from clinical_lakehouse.tables.contract import Column, Table, is_one_of

_OWNER = "data-engineering"
_STATUSES = ("valid", "billable", "well_formed", "malformed", "bad_check_digit", "header",
             "expired", "not_yet", "unknown")  # fmt: skip

CODE_RELEASE = Table(
    name="gold.code_release",
    comment="One row per year and ICD-10-CM code or header of the lists loaded.",
    owner=_OWNER,
    key=("year", "code"),
    columns=(
        Column("year", "INT", "US fiscal year: from 1 October before.", False),
        Column("code", "STRING", "Code without its dot.", False),
        Column("title", "STRING", "Its title where the list has one."),
        Column("is_billable", "BOOLEAN", "False for a header.", False),
    ),
)

CODE_TRANSLATION = Table(
    name="gold.code_translation",
    comment="One row per entry of the General Equivalence Mapping of ICD-9-CM to ICD-10-CM (CMS).",
    owner=_OWNER,
    key=("source_code", "target_code", "scenario", "choice"),
    columns=(
        Column("source_code", "STRING", "ICD-9-CM code without its dot.", False),
        Column("target_code", "STRING", "ICD-10-CM code without its dot; empty for no map.", False),
        Column("is_approximate", "BOOLEAN", "CMS flags it as not the same.", False),
        Column("is_no_map", "BOOLEAN", "There is none.", False),
        Column("is_combination", "BOOLEAN", "A code of each choice is needed together.", False),
        Column("scenario", "INT", "Which combination; 0 for a single code.", False),
        Column("choice", "INT", "Which part of the combination.", False),
    ),
)

CODE_STATUS = Table(
    name="gold.code_status",
    comment="One row per used LOINC, RxNorm, SNOMED, ICD-10-CM or ICD-9-CM code: is it one?",
    owner=_OWNER,
    key=("vocabulary_id", "code"),
    columns=(
        Column("vocabulary_id", "STRING", "Code system, as OMOP calls it.", False),
        Column("code", "STRING", "Code as sent.", False),
        Column("row_count", "BIGINT", "Records that hold it.", False),
        Column("status", "STRING", f"{', '.join(_STATUSES)}.", False),
        Column("is_bad", "BOOLEAN", "To be corrected at its source.", False),
        Column("year", "INT", "ICD-10-CM year it was judged by."),
        Column("icd10cm_codes", "ARRAY<STRING>", "Its ICD-10-CM codes, by GEM or Mapped from."),
        Column("is_approximate", "BOOLEAN", "They do not mean the same, or not each alone."),
    ),
    checks=(is_one_of("status", *_STATUSES),),
)
