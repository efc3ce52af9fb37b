"""A trial that never was, with the truth written down: FHIR R4 files and planted faults."""

from clinical_lakehouse.simulation.plan import TrialPlan
from clinical_lakehouse.simulation.trial import SimulationSummary, simulate

__all__ = ["SimulationSummary", "TrialPlan", "simulate"]
