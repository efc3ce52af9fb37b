"""The age bands by which groups are told apart, in training and in monitoring alike."""

import numpy as np
import pandas as pd

UNKNOWN = "unknown"
_BANDS = ((50, "<50"), (65, "50-64"), (75, "65-74"))
_OLDEST = "75+"


def age_band(ages: pd.Series) -> pd.Series:
    """The band of each age in years; unknown where it is missing."""
    conditions = [ages.isna(), *(ages < limit for limit, _ in _BANDS)]
    bands = np.select(conditions, [UNKNOWN, *(name for _, name in _BANDS)], _OLDEST)
    return pd.Series(bands, index=ages.index)
