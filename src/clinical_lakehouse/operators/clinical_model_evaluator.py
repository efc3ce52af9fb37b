"""ClinicalModelEvaluator: judges a model version on rows held out from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.methods.model_comparison import (
    MORE_COMPLEX,
    SIMPLER,
    Compared,
    compared,
)
from clinical_lakehouse.methods.model_figures import curves, figures
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_model_review import MODEL_COMPARISON
from clinical_lakehouse.tables.gold_models import MODEL_CURVE, MODEL_EVALUATION


@dataclass(frozen=True)
class ClinicalModelEvaluator:
    """Judges `version` (its name and number) on `held`: discrimination, calibration, decisions, the
    same by group, and compared with the baseline and with `held.others`. `more` are figures of all
    rows that somebody else made."""

    version: Mapping[str, Any]
    held: HeldOut
    more: Mapping[str, float | None] = field(default_factory=dict)

    def execute(self, run: Run) -> Metrics:
        """Replace the version's rows of gold.model_evaluation, model_curve and model_comparison;
        the task declares the three."""
        rows = figures(self.held)
        whole = next(row for row in rows if row["group_name"] == "all")
        nothing = dict.fromkeys(("low", "high", "baseline"))
        rows += [{**whole, **nothing, "metric": m, "value": v} for m, v in self.more.items()]
        found = [{**row, "evaluated_at": run.as_of} for row in rows]
        against = [self._compared(run, one) for one in compared(self.held)]
        kept = f"compared_with NOT IN ('{SIMPLER}', '{MORE_COMPLEX}')"  # by training, and kept
        in_two_threads(
            [
                lambda: self.store(run, MODEL_EVALUATION, found),
                lambda: self.store(run, MODEL_CURVE, curves(self.held)),
                lambda: self.store(run, MODEL_COMPARISON, against, kept),
            ]
        )
        overall = {row["metric"]: row["value"] for row in found if row["group_name"] == "all"}
        return {"row_count": len(self.held.outcomes), "auroc": overall["auroc"]}

    def store(self, run: Run, table: Table, rows: list[dict[str, Any]], only: str = "true") -> None:
        """Put rows in place of those an earlier evaluation of the version left."""
        name, number = self.version["model_name"], int(self.version["model_version"])
        key = {"model_name": name, "model_version": number}
        where = f"model_name = '{name}' AND model_version = {number} AND {only}"
        run.lake.replace(table, [{**key, **row} for row in rows], where)

    def _compared(self, run: Run, found: Compared) -> dict[str, Any]:
        gap = found.difference
        return {
            **vars(found),
            "difference": gap.value,
            "low": gap.low,
            "high": gap.high,
            "row_count": int(self.held.outcomes.size),
            "person_count": len(np.unique(self.held.people)),
            "compared_at": run.as_of,
        }
