"""Alert counts as OpenMetrics text, for a scrape or a node exporter's text file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.alerting.alert_state import ACKNOWLEDGED, FIRING, Alert

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_PREFIX = "clinical_lakehouse_alerting"


def write_open_metrics(path: Path, alerts: Iterable[Alert], evaluated_at: datetime) -> None:
    """The text as a file; whoever reads it while it changes sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(open_metrics(alerts, evaluated_at), encoding="utf-8")
    unfinished.replace(path)


def open_metrics(alerts: Iterable[Alert], evaluated_at: datetime) -> str:
    """Open alerts by name, severity and state, and when they were judged (OpenMetrics 1.0).

    No other label goes out: whoever may scrape it need not know which site or subject it is about.
    """
    counts = Counter((one.kind, one.severity, one.state) for one in alerts if one.is_open)
    totals = {state: 0 for state in (FIRING, ACKNOWLEDGED)}
    for (_, _, state), count in counts.items():
        totals[state] += count
    by_name = [
        _line("alerts", {"alertname": kind, "severity": severity, "state": state}, count)
        for (kind, severity, state), count in sorted(counts.items())
    ]
    by_state = [_line("open_alerts", {"state": state}, count) for state, count in totals.items()]
    name = "last_evaluation_timestamp_seconds"
    lines = [
        *_head("alerts", "Open alerts by name, severity and state."),
        *by_name,
        *_head("open_alerts", "Open alerts by state, also when there is none."),
        *by_state,
        *_head(name, "When the rules were last judged, in seconds since the epoch."),
        _line(name, {}, round(evaluated_at.timestamp(), 3)),
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, told: str) -> list[str]:
    return [f"# HELP {_PREFIX}_{name} {told}", f"# TYPE {_PREFIX}_{name} gauge"]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    named = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    return f"{_PREFIX}_{name}{{{named}}} {value}" if named else f"{_PREFIX}_{name} {value}"
