"""The one way to write down a change: `record` adds rows to ops.audit, where the audit is on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.ops_audit import AUDIT


@dataclass(frozen=True)
class Change:
    """What was done to a row. `event` names the occurrence, so that it is written down once however
    often a run is begun again; `key`, `old_hash` and `new_hash` hold no value."""

    event: str
    action: str
    table: str
    key: str
    reason_code: str
    field: str | None = None
    old_hash: str | None = None
    new_hash: str | None = None
    why: str | None = None


def record(run: Run, task: str, actor: str, changes: Sequence[Change]) -> int:
    """Write changes down, each once; how many were given. Nothing where retention.audit_log_enabled
    is false. The caller declares ops.audit among what it writes."""
    if not changes or not run.settings.retention.audit_log_enabled:
        return 0
    now = wall_clock()
    rows = [
        {
            "audit_id": _digest(change.event, change.action, change.table, change.key),
            "segment_date": now.date(),
            "sequence": number,
            "recorded_at": now,
            "as_of": run.as_of,
            "run_id": run.run_id,
            "task": task,
            "actor": actor,
            "action": change.action,
            "object_table": change.table,
            "object_key": change.key,
            "field": change.field,
            "old_hash": change.old_hash,
            "new_hash": change.new_hash,
            "reason_code": change.reason_code,
            "why": change.why,
        }
        for number, change in enumerate(changes)
    ]
    run.lake.append_missing(AUDIT, rows)
    return len(rows)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
