"""Ops of alerting: what rules and groups remember, what people decided, what is to be told."""

from clinical_lakehouse.tables.contract import Column, Table, is_one_of, not_null

_OWNER = "platform"

ALERT_GROUP = Table(
    name="ops.alert_group",
    comment="One row per group of alerts that a receiver is told of together: what it has heard.",
    owner=_OWNER,
    key=("group_key",),
    columns=(
        Column("group_key", "STRING", "JSON: receiver, route and group labels.", False),
        Column("next_at", "TIMESTAMP", "When the group may be told next.", False),
        Column("told_at", "TIMESTAMP", "When it was told last."),
        Column("sequence", "BIGINT", "How many notifications it has made.", False),
        Column("told", "STRING", "JSON: by fingerprint, the episode and severity told.", False),
    ),
)

RULE_STANDING = Table(
    name="ops.rule_standing",
    comment="One row per alert rule and label set: how it was judged last, and why.",
    owner=_OWNER,
    key=("rule", "labels"),
    columns=(
        Column("rule", "STRING", "The rule's name in conf/alerting/rules.", False),
        Column("labels", "STRING", "JSON object without patient data.", False),
        Column("newest_at", "TIMESTAMP", "Its newest observation."),
        Column("pending_since", "TIMESTAMP", "Since when it is over its limit."),
        Column("firing_since", "TIMESTAMP", "Since when it fires."),
        Column("value", "DOUBLE", "What was measured last.", False),
        Column("explanation", "STRING", "Outcome, and why."),
    ),
)

ALERTING_ROUND = Table(
    name="ops.alerting_round",
    comment="One row per finished evaluation of the alert rules; its absence is an alert.",
    owner=_OWNER,
    key=("run_id", "evaluated_at"),
    columns=(
        Column("run_id", "STRING", "The job run.", False),
        Column("evaluated_at", "TIMESTAMP", "as_of of the run.", False),
        Column("event_version", "BIGINT", "ops.alert_event was read up to this version.", False),
        Column("event_count", "BIGINT", "New events.", False),
        Column("open_count", "BIGINT", "Alerts firing or acknowledged.", False),
        Column("notification_count", "BIGINT", "Notifications decided.", False),
    ),
    retention_days=90,
)

ALERT_ACKNOWLEDGEMENT = Table(
    name="ops.alert_acknowledgement",
    comment="One row per acknowledgement of an alert: who took it, when and why.",
    owner=_OWNER,
    key=("fingerprint", "acknowledged_at"),
    columns=(
        Column("fingerprint", "STRING", "The alert.", False),
        Column("acknowledged_at", "TIMESTAMP", "When.", False),
        Column("acknowledged_by", "STRING", "Who.", False),
        Column("severity", "STRING", "How bad the alert was then.", False),
        Column("why", "STRING", "What the person wrote."),
        Column("nonce", "STRING", "Of the link that it was given by; a link is good for one."),
        Column("run_id", "STRING", "The run that wrote it down.", False),
    ),
    retention_days=730,
)

SILENCE = Table(
    name="ops.silence",
    comment="One row per silence: which alerts are kept quiet, how long, by whom and why.",
    owner=_OWNER,
    key=("silence_id",),
    columns=(
        Column("silence_id", "STRING", "The run that made it.", False),
        Column("matchers", "STRING", 'Alertmanager\'s notation, {name="value",...}.', False),
        Column("starts_at", "TIMESTAMP", "From when.", False),
        Column("ends_at", "TIMESTAMP", "Until when; set back where it is ended early.", False),
        Column("created_by", "STRING", "Who.", False),
        Column("reason", "STRING", "Why.", False),
    ),
    retention_days=730,
)

NOTIFICATION = Table(
    name="ops.notification",
    comment="One row per notification that alerting decided on: who is to be told of which alerts.",
    owner=_OWNER,
    key=("notification_key",),
    columns=(
        Column("notification_key", "STRING", "The same state gives the same key.", False),
        Column("group_key", "STRING", "The group, as Alertmanager names it.", False),
        Column("receiver", "STRING", "A receiver of conf/alerting/routing.yml.", False),
        Column("reason", "STRING", "new, worse, resolved or repeat.", False),
        Column("severity", "STRING", "The worst of its alerts.", False),
        Column("decided_at", "TIMESTAMP", "as_of of the evaluation.", False),
        Column("payload", "STRING", "JSON: Alertmanager's webhook payload, version 4.", False),
        Column("fingerprints", "STRING", "JSON: the alerts that fire, those that ended.", False),
        Column("run_id", "STRING", "The evaluation.", False),
    ),
    checks=(is_one_of("reason", "new", "worse", "resolved", "repeat"), not_null("payload")),
    retention_days=730,
    change_feed=True,
)
