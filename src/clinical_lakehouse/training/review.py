"""What is asked of a fitted model beside its figures: leaks, other sites, refits, mitigations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from clinical_lakehouse.methods.fairness_mitigation import Mitigation
from clinical_lakehouse.training.leakage import Leak, leaks
from clinical_lakehouse.training.mitigation import mitigations
from clinical_lakehouse.training.site_validation import SiteFigure, leave_site_out
from clinical_lakehouse.training.stability import Stability, stability


@dataclass(frozen=True)
class Review:
    """Everything found by looking at the recipe again on the same rows."""

    leaks: Sequence[Leak]
    sites: Sequence[SiteFigure]
    mitigations: Sequence[Mitigation]
    stability: Stability | None

    def figures(self) -> dict[str, float | None]:
        """How stable it is, as metrics of gold.model_evaluation; None where it cannot be said."""
        found = self.stability
        return {
            "risk_instability": found.moved if found else None,
            "risk_instability_95": found.moved_95 if found else None,
            "decision_instability": found.crossed if found else None,
            "stability_refits": float(found.refits) if found else None,
        }

    def leak_rows(self) -> list[Mapping[str, Any]]:
        """Rows of gold.leakage_finding, without key and time."""
        return [
            {"kind": o.kind, "feature": o.feature, "value": o.value, "limit_value": o.limit}
            for o in self.leaks
        ]


def review(
    rows: pd.DataFrame, model: Any, names: Sequence[str], threshold: float, refits: int
) -> Review:
    """Review a fitted model on labelled rows with `is_test`; each part says when it finds nothing
    to look at."""
    # One thread: small fits wait for one another, and sums in another order are other sums.
    with threadpool_limits(limits=1):
        return Review(
            leaks(rows, names),
            leave_site_out(rows, model, names),
            mitigations(rows, model, names, threshold),
            stability(rows, model, names, threshold, refits),
        )
