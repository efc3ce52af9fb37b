"""Ops of notifications: how far each escalation is, and what became of every message."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of

_OWNER = "platform"

ESCALATION = Table(
    name="ops.escalation",
    comment="One row per alert that people are paged of: the step that is next, and when.",
    owner=_OWNER,
    key=("alert_id",),
    columns=(
        Column("alert_id", "STRING", "Fingerprint of the alert.", False),
        Column(
            "episode", "STRING", "Start of the alert's episode; another one begins anew.", False
        ),
        Column("policy", "STRING", "An escalation of conf/alerting/escalations.yml.", False),
        Column("state", "STRING", "running, acknowledged, resolved or unanswered.", False),
        Column("step", "BIGINT", "The step that is next, from 0.", False),
        Column("round", "BIGINT", "How often the policy was gone through.", False),
        Column("due_at", "TIMESTAMP", "When the next step runs."),
        Column("remind_at", "TIMESTAMP", "When who acknowledged is reminded."),
        Column("reminders", "BIGINT", "How often that was.", False),
        Column("told", "STRING", "JSON: pairs of person and channel that were paged.", False),
    ),
    checks=(is_one_of("state", "running", "acknowledged", "resolved", "unanswered"),),
)

DIGEST = Table(
    name="ops.digest",
    comment="One row per digest of an audience: what it told, which the next one compares with.",
    owner=_OWNER,
    key=("audience", "until_at"),
    columns=(
        Column("audience", "STRING", "An audience of conf/alerting/notifications.yml.", False),
        Column("until_at", "TIMESTAMP", "The end of what it tells of.", False),
        Column("period", "STRING", "daily or weekly.", False),
        Column("figures", "STRING", "JSON: figure to value.", False),
        Column("groups", "STRING", "JSON: title to group to people.", False, Phi.QUASI),
        Column("run_id", "STRING", "The run that made it.", False),
    ),
    checks=(is_one_of("period", "daily", "weekly"),),
    retention_days=730,
)

MESSAGE = Table(
    name="ops.message",
    comment="One row per change of a message to one recipient on one channel; the last one holds.",
    owner=_OWNER,
    key=("message_id", "revision"),
    columns=(
        Column("message_id", "STRING", "The idempotency key.", False),
        Column("group_id", "STRING", "What is told, whoever it goes to.", False),
        Column("alert_id", "STRING", "The alert's fingerprint; empty for others.", False),
        Column(
            "kind", "STRING", "page, reminder, resolved, event, shift, digest, run or more.", False
        ),
        Column("channel", "STRING", "A channel of conf/alerting/channels.yml.", False),
        Column("recipient", "STRING", "A staff member's address; empty.", False, Phi.QUASI),
        Column("is_critical", "BOOLEAN", "Goes to the last resort if nobody is reached.", False),
        Column("created_at", "TIMESTAMP", "When it was written.", False),
        Column("due_at", "TIMESTAMP", "Not to be sent before.", False),
        Column("expires_at", "TIMESTAMP", "Of no use after."),
        Column("payload", "STRING", "JSON: subject, text, HTML; allowed labels only.", False),
        Column("state", "STRING", "queued, sent, accepted, failed or expired.", False),
        Column("attempt", "BIGINT", "How often it was handed over.", False),
        Column("sent_at", "TIMESTAMP", "When it was handed over last."),
        Column("settled_at", "TIMESTAMP", "When the answer came."),
        Column("retry_at", "TIMESTAMP", "When the provider asked to be tried again."),
        Column("provider_id", "STRING", "What the provider calls it.", False),
        Column("reason", "STRING", "Why it failed; never an address or a secret.", False),
        Column("is_channel_fault", "BOOLEAN", "The channel failed, not the recipient.", False),
        Column("is_cancelled", "BOOLEAN", "Taken back before it went out.", False),
        Column("folded_into", "STRING", "The message that says how many more there are."),
        Column("revision", "BIGINT", "Number of the change, from 0.", False),
    ),
    checks=(is_one_of("state", "queued", "sent", "accepted", "failed", "expired"),),
    retention_days=730,
)
