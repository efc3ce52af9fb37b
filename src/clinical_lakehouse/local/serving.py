"""A server of the version in use: risks over HTTP, as `mlflow models serve` takes and gives them.

Each request asks the registry which versions answer, so that after a rollback no answer comes from
the version that was taken back; without the registry it answers 503, never with what may be bad.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from clinical_lakehouse.errors import LakehouseError, ModelError, UsageError
from clinical_lakehouse.local.answer_log import AnswerLog
from clinical_lakehouse.local.listening import listening_at
from clinical_lakehouse.methods.lots import is_held_out
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.clock import new_run_id, wall_clock
from clinical_lakehouse.training.canary import bucket_of
from clinical_lakehouse.training.inputs import as_inputs, blanks, risks

SUBJECT = "research_subject_key"
_MOST_BYTES, _MOST_ROWS = 16_000_000, 10_000
Answer = dict[str, Any]


@dataclass(frozen=True)
class Shelf:
    """A lake as far as a server goes: the folder of its registry, and the share of subjects whose
    risks are marked as not to be acted on."""

    root: Path
    catalog: str | None = None
    hold_out_ratio: float = 0.0


@dataclass(frozen=True)
class Server:
    """Answers for one model; a version once loaded is kept."""

    shelf: Shelf
    model_name: str
    log: AnswerLog
    loaded: dict[int, tuple[Any, dict[str, str]]] = field(default_factory=dict)
    loading: Lock = field(default_factory=Lock)

    def answer(self, rows: pd.DataFrame) -> Answer:
        """The risk of each row and the version that gave it; subjects of an open canary's share are
        answered by its version, or where that fails by the version in use."""
        began, request_id = time.perf_counter(), new_run_id()
        now = self.in_use()
        rows = rows.assign(**{SUBJECT: pd.Series(_subjects(rows), rows.index, dtype=object)})
        asked = [self._version_for(subject, now) for subject in rows[SUBJECT]]
        given: list[Answer | None] = [None] * len(rows)
        notes: list[Answer] = []
        for version in sorted(set(asked)):
            places = [place for place, one in enumerate(asked) if one == version]
            found = self._asked(version, rows.iloc[places], places)
            notes += found
            if version != now.champion and any(one["risk"] is None for one in found):
                found = self._asked(now.champion, rows.iloc[places], places)
                notes += [{**one, "position": len(rows) + one["position"]} for one in found]
            for place, one in zip(places, found, strict=True):
                told = {name: one[name] for name in ("risk", "model_version")}
                given[place] = {**told, **self._marked(one[SUBJECT])}
        self._note(request_id, notes, began)
        if any(one is None or one["risk"] is None for one in given):
            raise ModelError(f"version {now.champion} could not answer; see gold.served_answer")
        return {"request_id": request_id, "model_name": self.model_name, "predictions": given}

    def in_use(self) -> tracking.InUse:
        """Which versions answer now. ModelError where none does, or the registry does not say."""
        try:
            return tracking.in_use(self.shelf, self.model_name)
        except LakehouseError:
            raise
        except Exception as error:
            raise ModelError(f"the registry cannot be asked: {type(error).__name__}") from None

    def version(self, number: int) -> tuple[Any, dict[str, str]]:
        """A version's estimator and its inputs, loaded once."""
        with self.loading:
            if number not in self.loaded:
                self.loaded[number] = tracking.load_version(self.shelf, self.model_name, number)
            return self.loaded[number]

    def _version_for(self, subject: int | None, now: tracking.InUse) -> int:
        if now.challenger is None or subject is None:
            return now.champion
        is_taken = bucket_of(subject, self.model_name, now.challenger) < now.share
        return now.challenger if is_taken else now.champion

    def _marked(self, subject: int | None) -> Answer:
        """What an answer says besides of somebody held out by lot: not to be acted on."""
        ratio = self.shelf.hold_out_ratio
        is_one = subject is not None and is_held_out(subject, self.model_name, ratio)
        return {"is_held_out": True} if is_one else {}

    def _asked(self, number: int, rows: pd.DataFrame, places: Sequence[int]) -> list[Answer]:
        """What a version says of rows: gold.served_answer rows, without a risk where it failed."""
        try:
            model, kinds = self.version(number)
            inputs = as_inputs(rows, kinds)
            found: list[float | None] = [float(risk) for risk in risks(model, inputs)]
            counts = blanks(inputs)
        except UsageError:
            raise
        except Exception:  # a model may fail in any way; which, no caller can mend
            found, counts = [None] * len(rows), [0] * len(rows)
        told = zip(places, rows[SUBJECT], found, counts, strict=True)
        return [
            {"position": place, "model_name": self.model_name, "model_version": number,
             SUBJECT: subject, "risk": risk, "blank_count": count}
            for place, subject, risk, count in told
        ]  # fmt: skip

    def _note(self, request_id: str, rows: Sequence[Answer], began: float) -> None:
        spent = round((time.perf_counter() - began) * 1000, 3)
        same = {"request_id": request_id, "latency_ms": spent, "answered_at": wall_clock()}
        self.log.write([{**row, **same} for row in rows])


def read_rows(body: bytes) -> pd.DataFrame:
    """The rows of a request: MLflow's `dataframe_records` or `dataframe_split`.

    UsageError says what to send; it never repeats what was sent.
    """
    try:
        given = json.loads(body)
        records = given.get("dataframe_records") if isinstance(given, dict) else None
        split = given.get("dataframe_split") if isinstance(given, dict) else None
        rows = pd.DataFrame(records) if split is None else pd.DataFrame(
            split["data"], columns=split["columns"], dtype=object)  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError("the request is no JSON of dataframe_records or dataframe_split") from None
    if records is None and split is None:
        raise UsageError("send dataframe_records (a list of rows) or dataframe_split")
    if not 0 < len(rows) <= _MOST_ROWS:
        raise UsageError(f"send 1 to {_MOST_ROWS} rows in a request")
    if not rows.columns.is_unique:
        raise UsageError("a column stands twice in the request")
    return rows


def application(server: Server) -> Starlette:
    """POST /invocations asks for risks, GET /ping says whether an answer could be given."""

    async def invocations(request: Request) -> JSONResponse:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return _said(413, f"send at most {_MOST_BYTES} bytes in a request")
        return await run_in_threadpool(_respond, lambda: server.answer(read_rows(bytes(body))))

    async def ping(_: Request) -> JSONResponse:
        return await run_in_threadpool(_respond, lambda: _standing(server))

    routes = [Route("/invocations", invocations, methods=["POST"]), Route("/ping", ping)]
    return Starlette(routes=routes)


def serve(shelf: Shelf, model_name: str, place: tuple[str, int],
          ready: Callable[[str], None]) -> None:  # fmt: skip
    """Answer until Ctrl-C; `ready` is told the address once the version in use is loaded.

    ModelError where no version is in use, UsageError where the address is taken.
    """
    import uvicorn

    server = Server(shelf, model_name, AnswerLog(shelf.root))
    _standing(server)
    # By name, or asyncio does not know it for TCP and leaves 40 ms of delayed acknowledgement in.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with listening_at(place):
            listening.bind(place)
        ready(f"http://{place[0]}:{listening.getsockname()[1]}")
        config = uvicorn.Config(application(server), log_level="error", access_log=False)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            server.log.close()


def _standing(server: Server) -> Mapping[str, Any]:
    now = server.in_use()
    server.version(now.champion)
    return {"model_name": server.model_name, "model_version": now.champion}


def _respond(way: Callable[[], Mapping[str, Any]]) -> JSONResponse:
    try:
        return JSONResponse(dict(way()))
    except UsageError as error:
        return _said(400, str(error))
    except LakehouseError as error:
        return _said(503, str(error))


def _said(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status_code=status)


def _subjects(rows: pd.DataFrame) -> list[int | None]:
    """The subject of each row, where the request names it."""
    if SUBJECT not in rows.columns:
        return [None] * len(rows)
    kept = [None if value is None or value != value else value for value in rows[SUBJECT]]
    if not all(value is None or _is_key(value) for value in kept):
        raise UsageError(f"{SUBJECT} must be a whole number or null")
    return [None if value is None else int(value) for value in kept]


def _is_key(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and value == int(value)
