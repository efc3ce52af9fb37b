"""The one way a version comes into use: a row of gold.model_promotion, then the alias follows."""

from collections.abc import Mapping
from typing import Any

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION


def record(run: Run, row: Mapping[str, Any], cause: str | None = None) -> None:
    """Write the promotion, unless another process took its number: then ModelError, and nothing
    has changed. A process killed before the alias follows leaves that to the next `follow`."""
    name, number = row["model_name"], row["promotion_number"]
    tracking.check_version(run, name, row["to_version"])
    if not run.lake.claim(MODEL_PROMOTION, {**row, "cause": cause, "decided_at": run.as_of}):
        raise ModelError(
            f"another run changed the version in use of {name!r} meanwhile (promotion {number}); "
            "nothing was changed here, run again to decide anew"
        )
    # A canary was held against the version in use until now: it serves nobody from here on.
    tracking.shadow_canary(run, name, None)
    tracking.shadow(run, name, row["to_version"], number)


def adopt(run: Run, name: str) -> None:
    """A lake that knows an alias and no promotion yet takes the alias's version as its first."""
    alias = tracking.get_alias_version(run, name, tracking.CHAMPION)
    if alias is None or tracking.last_promotion(run, name) is not None:
        return
    signed = {"decided_by": "unknown", "role": "unknown", "meaning": "adopted as found"}
    change = {"action": "adopted", "from_version": None, "to_version": alias}
    why = {"reason": "The alias champion pointed here before promotions were recorded."}
    record(run, {"model_name": name, "promotion_number": 1, **change, **signed, **why})


def follow(run: Run, source: str, name: str) -> int:
    """Let the alias follow the last promotion; one that somebody moved by hand is an alert and is
    put back. Returns the number of alerts."""
    last = tracking.last_promotion(run, name)
    if last is None:
        return 0
    alias, wanted = tracking.get_alias_version(run, name, tracking.CHAMPION), last["to_version"]
    if alias == wanted:
        return 0
    number = last["promotion_number"]
    was_followed = tracking.followed_promotion(run, name) >= number
    tracking.shadow(run, name, wanted, number)
    return emit(run, source, [_edited(run, name, alias, wanted)]) if was_followed else 0


def _edited(run: Run, name: str, alias: int | None, wanted: int) -> Finding:
    found = "was taken away" if alias is None else f"pointed to version {alias}"
    return Finding(
        kind="alias_edited",
        severity="critical",
        labels={"model": name, "version": str(wanted)},
        value=float(alias or 0),
        threshold=float(wanted),
        message=f"The alias champion of {name} {found}, though version {wanted} is in use; it was "
        "put back. To change the version in use: clinical-lakehouse models rollback.",
        window_at=run.as_of,
    )
