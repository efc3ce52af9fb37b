"""What a fitted model is asked with: in batch and in a server the same columns, types, blanks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.intervals import Floats

_TEXT = "string"


def risks(model: Any, inputs: pd.DataFrame) -> Floats:
    """The risk (0-1) of each row of `as_inputs`."""
    if inputs.empty:
        return np.empty(0)
    return np.asarray(model.predict_proba(inputs)[:, 1], dtype=float)


def as_inputs(rows: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """The model's columns (`kinds`: name to MLflow type) in its order: numbers as floats, texts as
    text, blanks as the model was trained with them; other columns are left out.

    UsageError names a column that is missing or holds something else; never its value.
    """
    missing = [name for name in kinds if name not in rows.columns]
    if missing:
        raise UsageError(f"inputs are missing: {', '.join(missing)}; null says not known")
    made = {
        name: _texts(name, rows[name]) if kind == _TEXT else _numbers(name, rows[name])
        for name, kind in kinds.items()
    }
    return pd.DataFrame(made, index=rows.index)


def blanks(inputs: pd.DataFrame) -> Sequence[int]:
    """How many inputs of each row are not known."""
    return [int(count) for count in inputs.isna().sum(axis=1)]


def _numbers(name: str, values: pd.Series) -> Floats:
    if values.dtype.kind in "iuf":  # of a type that holds nothing else: a batch's columns
        found = values.to_numpy(dtype=float, na_value=np.nan)
        is_fit = not np.isinf(found).any()
    else:
        known = [np.nan if _is_blank(value) else value for value in values]
        is_fit = all(map(_is_number, known))
        found = np.array(known if is_fit else [], dtype=float)
    if not is_fit:
        raise UsageError(f"{name} must be a finite number or null")
    return found


def _texts(name: str, values: pd.Series) -> np.ndarray:
    found = np.array([None if _is_blank(value) else value for value in values], dtype=object)
    if not all(value is None or isinstance(value, str) for value in found):
        raise UsageError(f"{name} must be a text or null")
    return found


def _is_blank(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    """A finite number, or the one that stands for a blank."""
    is_one = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
    return is_one and not math.isinf(value)
