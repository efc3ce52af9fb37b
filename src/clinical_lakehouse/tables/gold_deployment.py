"""Gold deployment: who put which model version in use, why, and how a canary of it goes."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, is_one_of, key

_OWNER = "ml-engineering"
_MODEL = Column("model_name", "STRING", "Registered model name.", False)
_VERSION = Column("model_version", "INT", "Registered model version.", False)

MODEL_PROMOTION = Table(
    name="gold.model_promotion",
    comment="One row per change of the version in use: from, to, by whom and why. The last is true,"
    " the registry's alias champion follows it.",
    owner=_OWNER,
    key=("model_name", "promotion_number"),
    columns=(
        _MODEL,
        Column("promotion_number", "INT", "1, 2, 3, ...: each number is given away once.", False),
        Column("action", "STRING", "promoted, rolled_back, or adopted (an alias as found).", False),
        Column("from_version", "INT", "Version in use before; null for the first."),
        Column("to_version", "INT", "Version in use from then on.", False),
        Column("decided_by", "STRING", "The person, or the job.", False),
        Column("role", "STRING", "Role of who decided.", False),
        Column("meaning", "STRING", "What the signature means (21 CFR 11.50), or the plan.", False),
        Column("reason", "STRING", "Why.", False),
        Column("cause", "STRING", "What asked for the training, e.g. an alert's fingerprint."),
        Column("decided_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    checks=(is_one_of("action", "promoted", "rolled_back", "adopted"),),
    retention_days=2555,
)

MODEL_APPROVAL = Table(
    name="gold.model_approval",
    comment="One row per person's signature on a model version.",
    owner=_OWNER,
    key=("model_name", "model_version", "decided_by", "decided_at"),
    columns=(
        _MODEL,
        _VERSION,
        Column("decided_by", "STRING", "Who signed.", False),
        Column("role", "STRING", "In which role, of conf/deployment/change_plan.yml.", False),
        Column("meaning", "STRING", "What it means: review, approval, ... (21 CFR 11.50).", False),
        Column("reason", "STRING", "Why.", False),
        Column("decided_at", "TIMESTAMP", "as_of of the run.", False),
    ),
    retention_days=2555,
)

MODEL_CANARY = Table(
    name="gold.model_canary",
    comment="One row per look at a canary: how a new version stands beside the one in use.",
    owner=_OWNER,
    key=("model_name", "model_version", "looked_at"),
    columns=(
        _MODEL,
        _VERSION,
        Column("looked_at", "TIMESTAMP", "as_of of the run.", False),
        Column("champion_version", "INT", "The version in use.", False),
        Column("state", "STRING", "running, won, lost or undecided.", False),
        Column("phase", "INT", "0 is the first.", False),
        Column("share_ratio", "DOUBLE", "Share of subjects it serves from now on, 0-1.", False),
        Column("reason", "STRING", "Why it stands so, in a sentence.", False),
        Column("started_at", "TIMESTAMP", "When the canary began.", False),
        Column("phase_at", "TIMESTAMP", "When the phase began.", False),
        Column("subject_count", "BIGINT", "Subjects it served in the phase.", False),
        Column("outcome_count", "BIGINT", "Predictions of both whose outcome matured.", False),
        Column("event_count", "BIGINT", "Of them with the outcome.", False),
        Column("difference", "DOUBLE", "AUROC, new less in use."),
        Column("low", "DOUBLE", "Lower limit that holds at all looks together."),
        Column("high", "DOUBLE", "Upper limit that holds at all looks together."),
    ),
    checks=(is_one_of("state", "running", "won", "lost", "undecided"),),
    retention_days=2555,
)

SERVED_PREDICTION = Table(
    name="gold.served_prediction",
    comment="One row per participation and index date: which version's prediction is shown.",
    owner=_OWNER,
    key=("model_name", "research_subject_key", "index_date"),
    columns=(
        _MODEL,
        key("research_subject_key", "silver.subject."),
        Column("index_date", "DATE", "The date it speaks from.", False, Phi.PSEUDONYM),
        Column("model_version", "INT", "The version shown; its risk is in gold.prediction.", False),
        Column("is_held_out", "BOOLEAN", "Chosen by lot: shown with the mark not to act on it."),
        Column("served_at", "TIMESTAMP", "as_of of the run that served it.", False),
    ),
    retention_days=2555,
)

SERVED_ANSWER = Table(
    name="gold.served_answer",
    comment="One row per answer of a server of models: which version said what, how quickly.",
    owner=_OWNER,
    key=("request_id", "position"),
    columns=(
        Column("request_id", "STRING", "The request, as its answer names it.", False),
        Column("position", "INT", "Of the row in the request, from 0.", False),
        _MODEL,
        Column("model_version", "INT", "The version that was asked.", False),
        key("research_subject_key", "silver.subject, where the request names it.", nullable=True),
        Column("risk", "DOUBLE", "What it answered, 0-1; null where it failed."),
        Column("blank_count", "INT", "Inputs that were not known.", False),
        Column("latency_ms", "DOUBLE", "From request to answer.", False, unit="ms"),
        Column("answered_at", "TIMESTAMP", "Wall clock of the answer.", False),
    ),
    checks=(between("risk", 0, 1),),
    cluster_by=("answered_at",),
    retention_days=2555,
)

RETRAINING_TRIGGER = Table(
    name="gold.retraining_trigger",
    comment="One row per decision to retrain a model or not: what asked for it.",
    owner=_OWNER,
    key=("model_name", "decided_at"),
    columns=(
        _MODEL,
        Column("decided_at", "TIMESTAMP", "as_of of the run; its training has the same.", False),
        Column("is_due", "BOOLEAN", "Is it trained?", False),
        Column(
            "trigger", "STRING", "first, drift, new_information, schedule or intervention.", False
        ),
        Column("alert", "STRING", "Fingerprint in ops.alert_event of the drift that asked."),
        Column("reason", "STRING", "Why, in a sentence.", False),
    ),
    retention_days=2555,
)
