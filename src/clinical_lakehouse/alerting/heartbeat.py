"""A sign of life to a healthchecks-compatible URL, or to a file: started, succeeded, failed."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests

from clinical_lakehouse.errors import SettingsError, SourceError

Event = Literal["start", "success", "fail"]

_PATHS: dict[str, str] = {"start": "/start", "success": "", "fail": "/fail"}
# Names run ids that are no UUID; the service accepts only UUIDs.
_NAMESPACE = uuid.UUID("6f2c1a3e-8f0b-5d57-9c55-3d7e0a3b9d10")


def heartbeat_url(base: str, event: Event, run_id: str) -> str:
    """The URL that tells the event of one run (healthchecks.io pinging API: /start, none for
    success, /fail, and ?rid= with a UUID so that start and end are of one run)."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
        raise SettingsError("the heartbeat's URL must be http(s)://host/path without a query")
    return f"{base.rstrip('/')}{_PATHS[event]}?rid={run_uuid(run_id)}"


def run_uuid(run_id: str) -> str:
    """The run's id as a UUID: itself where it is one, else always the same one made from it."""
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, run_id))


@contextmanager
def alive(target: str, run_id: str, at: datetime) -> Iterator[dict[str, str]]:
    """Tells of the block's start and how it ended; without a target, nobody.

    What the block does matters more than that somebody hears of it: where nobody does, the
    dictionary says so under `heartbeat`.
    """
    trouble: dict[str, str] = {}

    def tell(event: Event) -> None:
        try:
            if target:
                beat(target, event, run_id, at)
        except (SourceError, SettingsError, OSError) as error:
            trouble["heartbeat"] = str(error)

    tell("start")
    try:
        yield trouble
    except BaseException:
        with suppress(Exception):
            tell("fail")
        raise
    tell("success")


def beat(target: str, event: Event, run_id: str, at: datetime, seconds: float = 10) -> None:
    """Tell the event, once; a target without http(s):// is a file that holds the last event.

    SourceError if nobody took it; the address is not told, for it holds the check's secret.
    """
    if "://" not in target:
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{at.isoformat()} {event} {run_id}\n", encoding="utf-8")
        return
    try:
        answer = requests.get(heartbeat_url(target, event, run_id), timeout=seconds)
    except requests.RequestException as error:
        raise SourceError(f"the heartbeat was not taken: {type(error).__name__}") from None
    if not answer.ok:
        raise SourceError(f"the heartbeat was not taken: HTTP {answer.status_code}")
