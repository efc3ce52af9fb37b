"""A simulated trial on disk, read back as the tests want it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clinical_lakehouse.simulation import SimulationSummary, TrialPlan, simulate


@dataclass(frozen=True)
class Written:
    """A trial on disk with its truth."""

    folder: Path
    summary: SimulationSummary
    truth: dict[str, Any]
    files: dict[str, list[bytes]]

    def lines(self, resource_type: str) -> list[bytes]:
        """The lines of a type's file, without their ends."""
        return self.files[resource_type]

    def bad(self, resource_type: str) -> set[int]:
        """1-based numbers of the lines that are no valid resource."""
        rows = [*self.truth["invalid"], *self.truth["ignored"]]
        return {row["line"] for row in rows if row["file"] == f"{resource_type}.ndjson"}

    def good(self, resource_type: str) -> list[dict[str, Any]]:
        """The valid resources of a type, every version and repeat, in file order."""
        bad = self.bad(resource_type)
        lines = enumerate(self.lines(resource_type), 1)
        return [orjson.loads(line) for number, line in lines if number not in bad]

    def newest(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """The newest version of each valid resource by id."""
        found: dict[str, dict[str, Any]] = {}
        for made in sorted(self.good(resource_type), key=lambda r: int(r["meta"]["versionId"])):
            found[made["id"]] = made
        return found


def write(folder: Path, plan: TrialPlan) -> Written:
    """Simulate and read the truth back."""
    summary = simulate(folder, plan)
    files = {path.stem: path.read_bytes().split(b"\n")[:-1] for path in folder.glob("*.ndjson")}
    return Written(folder, summary, orjson.loads((folder / "truth.json").read_bytes()), files)
