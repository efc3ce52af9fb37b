"""What a task is given: lake, settings, clock, run id and parameters."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.locks import exclusive
from clinical_lakehouse.runtime.settings import Model, Settings

Metrics = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Run:
    """One execution: `as_of` is the only clock a task may look at."""

    lake: Lakehouse
    settings: Settings
    as_of: datetime
    run_id: str
    params: Mapping[str, str] = field(default_factory=dict)

    def with_lake(self, lake: Lakehouse) -> "Run":
        """The same run on a narrowed lake."""
        return replace(self, lake=lake)

    def alone(self, what: str) -> AbstractContextManager[None]:
        """While the block runs nobody else does this on a local lake; in a catalog the job's
        max_concurrent_runs sees to it."""
        lake = self.lake
        return nullcontext() if lake.catalog else exclusive(lake.root / ".locks" / what)

    @property
    def landing(self) -> Path:
        """The folder of what sites and systems deliver: parameter `landing`, else the lake's."""
        return Path(self.params.get("landing") or self.lake.root / "landing")

    @property
    def model(self) -> Model:
        """The declared model that the parameter `model` names, else the default one."""
        return self.settings.model_for(self.params.get("model", ""))

    def param(self, name: str, default: str | None = None) -> str:
        """A parameter's value; without one and without a default a UsageError names it."""
        value = self.params.get(name) or default
        if value is None:
            raise UsageError(f"parameter {name!r} is missing; give --param {name}=VALUE")
        return value
