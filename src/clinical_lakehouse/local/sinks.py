"""Whom a job tells of its runs, as the bundle says it: addresses, and destinations by their id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clinical_lakehouse.local.graph import State

START, SUCCESS, FAILURE = "on_start", "on_success", "on_failure"
TOO_LONG = "on_duration_warning_threshold_exceeded"
OCCASIONS = (START, SUCCESS, FAILURE, TOO_LONG)


@dataclass(frozen=True)
class Sinks:
    """Addresses and destinations by occasion, and ends of which nobody is told."""

    mails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    destinations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    untold: frozenset[str] = frozenset()

    def told(self, occasion: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Addresses and destinations that want to hear of it."""
        return self.mails.get(occasion, ()), self.destinations.get(occasion, ())

    def occasion(self, state: str) -> str | None:
        """The occasion that a run's end is; None where nobody wants to hear of it."""
        if state == State.SUCCESS:
            return SUCCESS
        return None if state in self.untold else FAILURE


def read_sinks(content: Mapping[str, Any]) -> Sinks:
    """The notifications of a job's definition, its variables filled in."""
    mails, hooks = (content.get(f"{way}_notifications") or {} for way in ("email", "webhook"))
    settings = content.get("notification_settings") or {}
    untold = {
        str(State.EXCLUDED): settings.get("no_alert_for_skipped_runs"),
        str(State.CANCELLED): settings.get("no_alert_for_canceled_runs"),
    }
    return Sinks(
        {one: tuple(map(str, mails.get(one) or ())) for one in OCCASIONS},
        {one: tuple(str(hook["id"]) for hook in hooks.get(one) or ()) for one in OCCASIONS},
        frozenset(state for state, is_untold in untold.items() if is_untold),
    )
