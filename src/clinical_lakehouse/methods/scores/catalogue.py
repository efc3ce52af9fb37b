"""Every score by its name; a new one is a Formula in one of the modules below."""

from clinical_lakehouse.methods.scores.bedside import BEDSIDE_SCORES
from clinical_lakehouse.methods.scores.biomarkers import BIOMARKERS
from clinical_lakehouse.methods.scores.formula import Formula
from clinical_lakehouse.methods.scores.organs import ORGAN_SCORES

FORMULAS: dict[str, Formula] = {
    formula.name: formula for formula in (*BIOMARKERS, *ORGAN_SCORES, *BEDSIDE_SCORES)
}
