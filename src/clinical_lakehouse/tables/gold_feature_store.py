"""The feature store: events as the lake knew them, values of each version, what is in use."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of, key

_OWNER = "ml-engineering"
_VERSION = (
    Column("feature_group", "STRING", "Group of conf/features.", False),
    Column("feature_version", "STRING", "Hash of what its values mean.", False),
)

FEATURE_EVENT = Table(
    name="gold.feature_event",
    comment="One row per record a feature may look at and state of it, while the lake held it.",
    owner=_OWNER,
    key=("source", "record_key", "content_hash", "known_from"),
    columns=(
        Column("source", "STRING", "lab, vital, score, dose, drug, ..., person.", False),
        key("record_key", "The silver record's key, or a hash of it and the component."),
        Column(
            "content_hash", "BIGINT", "xxhash64 of the columns below up to why_no_value.", False
        ),
        key("subject_key", "The person: silver.patient."),
        Column("code", "STRING", "Code as sent."),
        Column("event_at", "TIMESTAMP", "When it happened or began.", phi=Phi.PSEUDONYM),
        Column("end_at", "TIMESTAMP", "When it ended; null: not yet.", phi=Phi.PSEUDONYM),
        Column("value", "DOUBLE", "Value in `unit`; of a visit 1 attended, 0 missed."),
        Column("unit", "STRING", "UCUM unit the code is kept in; empty where none was sent."),
        Column("why_no_value", "STRING", "Why there is none: no-value or unit-unknown."),
        Column(
            "known_from",
            "TIMESTAMP",
            "as_of of the run from which the lake held it.",
            False,
            Phi.PSEUDONYM,
        ),
        Column(
            "known_until",
            "TIMESTAMP",
            "as_of of the run that found it changed or gone.",
            phi=Phi.PSEUDONYM,
        ),
    ),
    checks=(is_one_of("why_no_value", "no-value", "unit-unknown"),),
    cluster_by=("subject_key",),
    retention_days=2555,
    change_feed=True,
)

FEATURE_ABSENCE = Table(
    name="gold.feature_absence",
    comment="One row per person whose records left the feature store, and run that removed them.",
    owner=_OWNER,
    key=("subject_key", "noted_at"),
    columns=(
        key("subject_key", "The person."),
        Column(
            "noted_at", "TIMESTAMP", "as_of of the run that removed them.", False, Phi.PSEUDONYM
        ),
        Column("reason", "STRING", "withdrawn-or-erased: silver holds the person no more.", False),
    ),
)

FEATURE_VALUE = Table(
    name="gold.feature_value",
    comment="One row per person, index date and version of a feature group.",
    owner=_OWNER,
    key=("feature_group", "feature_version", "subject_key", "index_date"),
    columns=(
        *_VERSION,
        key("subject_key", "The person."),
        Column("index_date", "DATE", "Day at whose end the values stand.", False, Phi.PSEUDONYM),
        Column(
            "known_at",
            "TIMESTAMP",
            "What the lake knew at this moment is in them.",
            False,
            Phi.PSEUDONYM,
        ),
        Column("feature_values", "MAP<STRING, DOUBLE>", "Value by feature.", False),
        Column("null_reasons", "MAP<STRING, STRING>", "Why a value is null, by feature.", False),
    ),
    retention_days=2555,
    time_key="index_date",
)

FEATURE_VERSION = Table(
    name="gold.feature_version",
    comment="One row per version of a feature group: its definition.",
    owner=_OWNER,
    key=("feature_group", "feature_version"),
    columns=(
        *_VERSION,
        Column("definition", "STRING", "The group as JSON, code lists resolved.", False),
        Column("made_at", "TIMESTAMP", "as_of of the run that first computed it.", False),
    ),
)

FEATURE_PROMOTION = Table(
    name="gold.feature_promotion",
    comment="One row per change of the version in use of a feature group; the last one holds.",
    owner=_OWNER,
    key=("feature_group", "promotion_number"),
    columns=(
        _VERSION[0],
        Column("promotion_number", "INT", "1, 2, ... of the group.", False),
        _VERSION[1],
        Column("action", "STRING", "first, promote or rollback.", False),
        Column("decided_by", "STRING", "Who; `derive` for the first version.", False),
        Column("why", "STRING", "In the person's words.", False),
        Column("decided_at", "TIMESTAMP", "as_of of the decision.", False),
    ),
    checks=(is_one_of("action", "first", "promote", "rollback"),),
)
