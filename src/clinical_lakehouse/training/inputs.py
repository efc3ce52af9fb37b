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


def _numbers(name: str, values: pd.Series) -> pd.Series:
    is_plain = pd.api.types.is_integer_dtype(values)
    if not is_plain and not all(map(_is_number, _known(values))):
        raise UsageError(f"{name} must be a finite number or null")
    return pd.to_numeric(values.astype(object).where(values.notna(), np.nan)).astype(float)


def _texts(name: str, values: pd.Series) -> pd.Series:
    if not all(isinstance(value, str) for value in _known(values)):
        raise UsageError(f"{name} must be a text or null")
    return values.astype(object).where(values.notna(), None)


def _known(values: pd.Series) -> list[Any]:
    return [value for value in values if not _is_blank(value)]


def _is_blank(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
    return is_one and math.isfinite(value)
