"""The channel that needs no network: a file of JSON lines that somebody or something watches."""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.alerting.channels.envelope import (
    Envelope,
    Outcome,
    accepted,
    failed_for_now,
    one_line,
)


@dataclass(frozen=True)
class LastResortFile:
    """Appends one line a message, on the disk before it counts as accepted."""

    path: Path

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; a line may stand twice (same key) where a try was cut off."""
        line = {
            "at": now.isoformat(),
            "key": envelope.key,
            "severity": envelope.severity,
            "alert_id": envelope.alert_id,
            "subject": one_line(envelope.subject),
            "text": envelope.text,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, sort_keys=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return failed_for_now("the file cannot be written")
        return accepted(envelope.key)
