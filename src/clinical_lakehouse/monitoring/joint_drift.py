"""All inputs at once: can a classifier tell the people now from those trained on."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from clinical_lakehouse.methods.domain_classifier import separation
from clinical_lakehouse.monitoring.drift_judgement import ALL, DRIFT, STABLE
from clinical_lakehouse.monitoring.feature_profiles import CURRENT, TRAINING

# A separation below is no reason to act, whatever its p value.
_LEAST_AUROC = 0.6
_ALPHA = 0.05


def joint_rows(people: pd.DataFrame, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """The gold.data_drift row of all inputs together, for rows with period, research_subject_key
    and inputs; none where there are too few people."""
    known = people[people["period"].isin([CURRENT, TRAINING])]
    now = (known["period"] == CURRENT).to_numpy()
    if not len(inputs):
        return []
    values = known[list(inputs)].to_numpy(dtype=float, na_value=float("nan"))
    found = separation(values, now, known["research_subject_key"])
    if found is None:
        return []
    is_drift = found.p_value <= _ALPHA and found.auroc >= _LEAST_AUROC
    said = "A classifier tells the people now from those trained on with an AUROC of"
    return [
        {
            "reference": TRAINING,
            "feature_name": "joint",
            "site": ALL,
            "state": DRIFT if is_drift else STABLE,
            "kind": "joint",
            "psi": found.auroc,
            "p_value": found.p_value,
            "is_model_input": True,
            "reference_count": int((~now).sum()),
            "row_count": int(now.sum()),
            "explanation": f"{said} {found.auroc:.2f}.",
        }
    ]
