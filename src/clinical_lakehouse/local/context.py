"""What the runner works with: an engine for tasks, a recorder, a listener and places for runs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from clinical_lakehouse.local.events import Event
from clinical_lakehouse.local.interrupts import stop_requests
from clinical_lakehouse.local.record import Recorder
from clinical_lakehouse.local.request import Parametrised
from clinical_lakehouse.local.slots import Slots
from clinical_lakehouse.runtime.clock import new_run_id
from clinical_lakehouse.runtime.order import Order


class Engine(Protocol):
    """What tasks run on: a lake and its Spark session, processes, or a test's stand-in."""

    def perform(self, task: Any, order: Order) -> Any:
        """Run a task to its end; the result has `metrics` and `written`."""

    def interrupt(self, tag: str | None) -> None:
        """Cancels the work of the order so tagged, without a tag all of it."""


@dataclass(frozen=True)
class Context:
    """Where a run takes place, who records it and who watches."""

    engine: Engine
    tasks: Mapping[str, Parametrised]
    recorder: Recorder
    listen: Callable[[Event], None] = lambda event: None
    parallel: int = 2
    new_run_id: Callable[[], str] = new_run_id
    slots: Slots = Slots()
    # Who asks the run to stop, and whether it has the session for itself: beside other runs, only
    # work with its own marks is cancelled.
    stops: Callable[[Callable[[], None]], AbstractContextManager[None]] = stop_requests
    is_alone: bool = True
