"""One bulk export from kick-off to the landing folder: resumed after a kill, whole or not there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.ingestion.bulk_download import Draft, Received, download, issues
from clinical_lakehouse.ingestion.bulk_export import (
    DELETED,
    OUTPUT,
    Manifest,
    Scope,
    kick_off,
    manifest_of,
    wait_for,
)
from clinical_lakehouse.ingestion.bulk_http import Wire

COMPLETE, PARTIAL, FAILED = "complete", "partial", "failed"
_LOST = ("fatal/", "error/", "other/", "unreadable")
_DRAFTS = ".bulk-export"


class Moment(Protocol):
    """A run, as far as naming an export goes."""

    @property
    def as_of(self) -> datetime:
        """Its clock."""

    @property
    def run_id(self) -> str:
        """Its id."""


@dataclass(frozen=True)
class Batch:
    """An export to make: its scope, since when, its id, and how often to ask anew."""

    scope: Scope
    since: datetime | None
    export_id: str
    landing: Path
    at_once: int = 4
    most_reexports: int = 2

    @property
    def draft(self) -> Draft:
        """One for each scope, so that the next run of any as_of finishes what a kill left."""
        return Draft(self.landing / _DRAFTS / self.scope.scope_id)


@dataclass(frozen=True)
class Exported:
    """What an export brought; counts of resources are per manifest (expected) and by line."""

    export_id: str
    state: str
    transaction_at: str | None = None
    since: str | None = None
    file_count: int = 0
    deleted_file_count: int = 0
    uncounted_file_count: int = 0
    expected_count: int = 0
    received_count: int = 0
    deleted_count: int = 0
    reexport_count: int = 0
    poll_count: int = 0
    issues: Mapping[str, int] = field(default_factory=dict)
    failure: str | None = None

    @property
    def said(self) -> str | None:
        """What the server reported, or why nothing was landed."""
        return self.failure or ", ".join(f"{k}: {n}" for k, n in self.issues.items()) or None


def batch_of(
    endpoint: str, options: Mapping[str, Any], exports: DataFrame, moment: Moment, landing: Path
) -> Batch:
    """The export that settings (`fhir_api.export`) ask for; `_since` from ops.bulk_export."""
    filters = tuple(options["types"]), tuple(options["type_filters"])
    scope = Scope(endpoint, options["level"], options["group"], *filters)
    since = last_good(exports, scope, moment.as_of) if options["incremental"] else None
    text = "\x1f".join((scope.scope_id, moment.as_of.isoformat(), moment.run_id))
    id_ = hashlib.sha256(text.encode()).hexdigest()[:16]
    named = ("at_once", "most_reexports")
    numbers = {name: options[name] for name in named}
    return Batch(scope, since, id_, landing, **numbers)


def failed(batch: Batch, reason: str) -> Exported:
    """An export that landed nothing, and why."""
    return Exported(batch.export_id, FAILED, since=_text(batch.since), failure=reason)


def bring(wire: Wire, batch: Batch) -> Exported:
    """Export into `<landing>/bulk-export-<id>`, all files or none.

    A draft that a killed run left is continued under its own id. A stop or the end of patience
    tells the server (DELETE) and forgets the draft; a server that is away leaves it for the next
    run. Raises SourceError where files cannot be had whole, after exporting anew.
    """
    draft = batch.draft
    try:
        state = _whole(wire, batch)
    except BaseException as error:
        is_given_up = wire.pace.is_over or not isinstance(error, Exception)
        if is_given_up:
            cancel(wire, draft)
        raise
    draft.land(batch.landing / f"bulk-export-{state['exported']['export_id']}")
    return Exported(**state["exported"])


def _whole(wire: Wire, batch: Batch) -> dict[str, Any]:
    """The draft's state once every file is there."""
    draft = batch.draft
    state = draft.state()
    if state and "exported" not in state and state["since"] != _text(batch.since):
        cancel(wire, draft)
        state = {}
    state = state or _begun(wire, batch, 0, batch.export_id)
    while "exported" not in state:
        state, problem = _turn(wire, batch, state)
        if problem is None:
            break
        if state["reexports"] >= batch.most_reexports:
            cancel(wire, draft)
            raise SourceError(f"nothing was landed: {problem}; ask the FHIR server's operator")
        cancel(wire, draft)
        state = _begun(wire, batch, state["reexports"] + 1, state["export_id"])
    return state


def _begun(wire: Wire, batch: Batch, reexports: int, id_: str) -> dict[str, Any]:
    state = {
        "export_id": id_,
        "since": _text(batch.since),
        "reexports": reexports,
        "status_url": kick_off(wire, batch.scope, batch.since),
    }
    batch.draft.note(state)
    return state


def _turn(wire: Wire, batch: Batch, state: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Wait, download and judge one export; the new state, and a problem that a new one may cure."""
    draft = batch.draft
    if "pages" not in state:
        waited = wait_for(wire, state["status_url"])
        if waited.failure:
            cancel(wire, draft)  # asking about a failed export again is no use
            raise SourceError(waited.failure)
        if not waited.pages:
            return state, "the export has expired"
        state = {**state, "pages": waited.pages, "polls": waited.polls}
        draft.note(state)
    manifest = manifest_of(tuple(state["pages"]))
    received = download(wire, manifest, draft, batch.at_once)
    if received and received[-1].problem:
        return state, str(received[-1])
    state = {**state, "exported": asdict(_exported(state, draft, manifest, received))}
    draft.announce(manifest, received, f"?{urlencode(batch.scope.parameters(batch.since))}")
    draft.note(state)
    return state, None


def _exported(
    state: Mapping[str, Any], draft: Draft, manifest: Manifest, received: list[Received]
) -> Exported:
    said = issues(draft, manifest)
    data = [one for one in received if one.file.kind == OUTPUT]
    if len(received) != len(manifest.files):
        raise SourceError("nothing was landed: not every file of the manifest was received")
    return Exported(
        export_id=state["export_id"],
        state=PARTIAL if any(name.startswith(_LOST) for name in said) else COMPLETE,
        transaction_at=manifest.transaction_at.isoformat(),
        since=state["since"],
        file_count=len(data),
        deleted_file_count=len(manifest.of_kind(DELETED)),
        uncounted_file_count=sum(one.file.count is None for one in data),
        expected_count=sum(one.file.count or 0 for one in data),
        received_count=sum(one.count for one in data),
        deleted_count=sum(one.count for one in received if one.file.kind == DELETED),
        reexport_count=state["reexports"],
        poll_count=state.get("polls", 0),
        issues=said,
    )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def cancel(wire: Wire, draft: Draft) -> None:
    """Tell the server that its export is not needed (any more), and forget the draft."""
    status_url = draft.state().get("status_url")
    if status_url:
        wire.drop(status_url)
    draft.clear()


def row_of(batch: Batch, result: Exported, moment: Moment) -> dict[str, Any]:
    """The export's row of ops.bulk_export."""
    moments = {
        name: datetime.fromisoformat(text) if text else None
        for name, text in (("transaction_at", result.transaction_at), ("since_at", result.since))
    }
    scope = batch.scope
    counts = {name: n for name, n in asdict(result).items() if name.endswith("_count")}
    return {
        "export_id": result.export_id,
        "scope_id": scope.scope_id,
        "level": scope.level,
        "parameters": json.dumps(scope.parameters(moments["since_at"])),
        **moments,
        "state": result.state,
        **counts,
        "issue_count": sum(result.issues.values()),
        "issues": result.said,
        "as_of": moment.as_of,
        "run_id": moment.run_id,
    }


def metrics_of(result: Exported) -> dict[str, int | str]:
    """What a person wants to know of an export."""
    return {
        "state": result.state,
        "since": result.since or "the beginning",
        "files": result.file_count,
        "files_without_count": result.uncounted_file_count,
        "resources_expected": result.expected_count,
        "resources_received": result.received_count,
        "deletion_bundles": result.deleted_count,
        "reexports": result.reexport_count,
        "status_requests": result.poll_count,
        "errors_reported": result.said or "none",
    }


def last_good(exports: DataFrame, scope: Scope, as_of: datetime) -> datetime | None:
    """transactionTime of the scope's last complete export before `as_of`; rows as in
    ops.bulk_export."""
    earlier = F.col("as_of") < F.lit(as_of).cast("timestamp")
    good = exports.filter(earlier & (F.col("state") == COMPLETE) & _is_of(scope))
    micros = good.agg(F.unix_micros(F.max("transaction_at"))).collect()[0][0]
    if micros is None:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def is_settled(exports: DataFrame, scope: Scope, as_of: datetime) -> bool:
    """Has the scope been exported for this `as_of`?"""
    same = (F.col("as_of") == F.lit(as_of).cast("timestamp")) & _is_of(scope)
    return not exports.filter(same & (F.col("state") != FAILED)).isEmpty()


def is_recorded(exports: DataFrame, id_: str | None) -> bool:
    """Does a row say that this export was landed?"""
    own = (F.col("export_id") == F.lit(id_)) & (F.col("state") != FAILED)
    return id_ is not None and not exports.filter(own).isEmpty()


def _is_of(scope: Scope) -> Column:
    return F.col("scope_id") == scope.scope_id
