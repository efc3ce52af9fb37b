"""A simulated trial taken through the whole chain once; the scenarios look at what it left."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clinical_lakehouse.ingestion.identity import opened
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.execution import JobResult
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.workspace import Workspace, open_workspace
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.simulation.plan import months_after
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.vault import SUBJECT
from tests.ingestion.chain import hashes as table_hashes
from tests.scenarios.small_trial import make_first

AS_OF = datetime(2024, 6, 30, tzinfo=UTC)
LAYERS = ("silver", "omop", "gold")


@dataclass(frozen=True)
class Trial:
    """A trial's landing folder, its truth, and the workspace it was run in."""

    plan: TrialPlan
    landing: Path
    truth: dict[str, Any]
    workspace: Workspace

    def run(self, job: str = "trial_to_model", **more: str) -> JobResult:
        """The job on this trial, at its end; the model knows nothing of the concept drift."""
        trained = months_after(self.plan.start, self.plan.drift_month + 1)
        parameters = {"as_of": self.plan.end.isoformat(), "landing": str(self.landing), **more}
        if job == "trial_to_model":
            parameters["training_until"] = trained.isoformat()
        return self.workspace.run(Request(job, parameters))

    @property
    def secret(self) -> bytes:
        """The secret its keys and date offsets come from."""
        return (self.workspace.lake.root / "vault" / "vault.key").read_bytes()

    def sql(self, statement: str) -> list[Any]:
        """Rows of a SELECT on the lake."""
        return self.workspace.lake.query(statement).collect()


def make_trial(folder: Path, plan: TrialPlan) -> Trial:
    """Simulate, and open a lake beside it."""
    landing = folder / "landing"
    simulate(landing, plan)
    truth = json.loads((landing / "truth.json").read_text())
    workspace = open_comparable(folder / "lake")
    return Trial(plan, landing, truth, workspace)


def open_comparable(root: Path) -> Workspace:
    """A lake whose keys and offsets are derived: one secret and the same files give the same."""
    workspace = open_workspace(load_bundle("dev"), root, lambda event: None)
    privacy = workspace.settings.privacy.model_copy(update={"surrogate_keys": "derived"})
    settings = workspace.settings.model_copy(update={"privacy": privacy})
    return replace(workspace, settings=settings)


def people(workspace: Workspace) -> list[Any]:
    """Rows of vault.subject, opened."""
    run = Run(workspace.lake, workspace.settings, AS_OF, "people")
    return opened(workspace.lake.read(SUBJECT), vault_keys(run).seals).collect()


def hashes(workspace: Workspace, layers: tuple[str, ...] = LAYERS) -> dict[str, str]:
    """Content hash of every table made in these layers."""
    lake = workspace.lake
    made = [t for t in all_tables().values() if t.schema_name in layers and lake.exists(t)]
    return table_hashes(lake, made)


def failures(result: JobResult) -> list[str]:
    """Why a run is not well, down to the called jobs."""
    said = [f"{t.key}: {t.state} {t.message}" for t in result.tasks.values() if not t.state.is_well]
    called = [task.child for task in result.tasks.values() if task.child]
    return said + [line for child in called for line in failures(child)]


def give_secret(root: Path, secret: bytes) -> None:
    """Put a vault secret into a lake not yet run, so that two lakes can be compared."""
    key = root / "vault" / "vault.key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_bytes(secret)
    key.chmod(0o600)


@pytest.fixture(scope="session")
def trial(spark, tmp_path_factory) -> Trial:
    """150 patients, the whole chain run once and well. The secret is fixed: another one moves
    every date differently, and with few patients that decides whether there is enough to train on.
    """
    made = make_trial(tmp_path_factory.mktemp("trial"), TrialPlan(patients=150, seed=11))
    give_secret(made.workspace.lake.root, bytes(range(32)))
    result = made.run()
    assert result.ok, failures(result)
    return made


@pytest.fixture(scope="session")
def small_trial(spark, tmp_path_factory) -> Path:
    """Six people in OMOP (`lake`) and what they came from (`landing`), for tests to copy."""
    return make_first(spark, tmp_path_factory.mktemp("small_trial"))
