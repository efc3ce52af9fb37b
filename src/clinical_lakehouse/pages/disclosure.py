"""What pages say of small cells; which cells those are, `methods.small_cells` knows."""

from clinical_lakehouse.methods.small_cells import SMALLEST_CELL, hidden, is_small

__all__ = ["CAPTION", "SMALLEST_CELL", "hidden", "is_small"]

CAPTION = (
    "Numbers below 11 people are not shown (<11); a dash stands where a number would give "
    "another one away."
)
