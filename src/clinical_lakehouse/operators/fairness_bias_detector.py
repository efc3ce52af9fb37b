"""FairnessBiasDetector: are groups harmed by a model version, and what would mitigation cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.methods.fairness_mitigation import REFUSED, Cost, Mitigation, costs
from clinical_lakehouse.methods.group_fairness import (
    GroupFigure,
    Judged,
    harmed,
    judge_groups,
    with_intersections,
)
from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_fairness import FAIRNESS_FINDING, FAIRNESS_MITIGATION


@dataclass(frozen=True)
class FairnessBiasDetector:
    """Judges `version` (its name and number) on `held` by each of its groups and their pairs, and
    weighs `mitigations` against their cost."""

    version: Mapping[str, Any]
    held: HeldOut
    mitigations: Sequence[Mitigation] = ()

    def execute(self, run: Run) -> Metrics:
        """Replace the version's rows of gold.fairness_finding and gold.fairness_mitigation; the
        task declares the two."""
        found, weighed = self.findings(), self.weighed()
        in_two_threads(
            [
                lambda: self._store(run, FAIRNESS_FINDING, found),
                lambda: self._store(run, FAIRNESS_MITIGATION, weighed),
            ]
        )
        refused = {(one.mitigation, one.attribute) for one in weighed if one.verdict == REFUSED}
        return {"harm_findings": len(list(harmed(found))), "mitigations_refused": len(refused)}

    def findings(self) -> list[GroupFigure]:
        """Every figure of every group, without a lake."""
        held = self.held
        if not 0 < held.threshold < 1:
            return []
        judged = Judged(held.outcomes, held.scores, held.people, held.threshold)
        groups = with_intersections(held.groups).items()
        return [one for name, labels in groups for one in judge_groups(judged, name, labels)]

    def weighed(self) -> list[Cost]:
        """Every group before and after every mitigation, without a lake."""
        held = self.held
        if not held.outcomes.size or not 0 < held.threshold < 1:
            return []
        before = held.scores >= held.threshold
        context = held.people, held.threshold
        return [
            cost
            for one in self.mitigations
            for cost in costs(one, held.groups[one.attribute], held.outcomes, before, context)
        ]

    def _store(self, run: Run, table: Table, found: Sequence[GroupFigure | Cost]) -> None:
        name, number = self.version["model_name"], int(self.version["model_version"])
        where = f"model_name = '{name}' AND model_version = {number}"
        key = {"model_name": name, "model_version": number, "judged_at": run.as_of}
        rows = [{**key, **vars(one), "group_value": one.group} for one in found]
        run.lake.replace(table, rows, where)
