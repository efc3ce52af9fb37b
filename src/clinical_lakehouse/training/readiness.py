"""Is there enough to learn from: information by Riley's criteria, not rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from clinical_lakehouse.methods.sample_size import (
    Enough,
    SampleSize,
    binary_sample_size,
    enough_yet,
)

NOT_ENOUGH = "not enough yet"
_RECENT_WEEKS = 12


@dataclass(frozen=True)
class Readiness:
    """People and events there are, what Riley's criteria ask for, and when that will be there."""

    people: int
    event_people: int
    parameters: int
    criteria: SampleSize | None
    enough: Enough
    has_rows: bool = True

    @property
    def is_enough(self) -> bool:
        """Train now?"""
        return self.criteria is not None and self.enough.is_enough and self.has_rows

    @property
    def sentence(self) -> str:
        """For people: what there is, what is wanted, how long to wait."""
        if self.criteria is None:
            return "Not enough yet: the outcome has not been seen, or nothing else has been."
        if self.is_enough:
            share = self.people / self.criteria.people
            return f"Enough people to train; {share:.0%} of what Riley's criteria ask for."
        if self.enough.is_enough:
            return "Not enough yet: too few rows, or too few of one outcome, to fit any model."
        weeks = self.enough.weeks
        wait = "nobody new is coming" if weeks is None else f"about {weeks} more weeks"
        return f"Not enough yet: {self.people} people of {self.enough.needed} wanted, {wait}."

    def row(self) -> Mapping[str, Any]:
        """The columns of gold.training_decision it knows."""
        needed = self.criteria
        return {
            "person_count": self.people,
            "event_person_count": self.event_people,
            "parameter_count": self.parameters,
            "needed_person_count": needed.people if needed else None,
            "events_per_parameter": self.event_people / self.parameters,
            "needed_events_per_parameter": needed.events_per_parameter if needed else None,
            "weeks_to_go": self.enough.weeks,
            "sentence": self.sentence,
        }


def readiness(
    rows: pd.DataFrame, parameters: int, expected_r2: float, share: float = 1.0
) -> Readiness:
    """Judge labelled rows (subject_key, index_date, is_event) by people, not rows.

    `expected_r2` is what share of the largest possible R2 (Cox-Snell) the model is expected to
    explain, 0.15 where nothing is known (Riley et al., BMJ 2020;368:m441); `share` of the
    criteria's people is enough.
    """
    people = rows["subject_key"].nunique()
    event_people = rows.loc[rows["is_event"].astype(bool), "subject_key"].nunique()
    prevalence = float(rows["is_event"].mean()) if len(rows) else 0.0
    if not 0 < prevalence < 1:
        return Readiness(people, event_people, parameters, None, Enough(False, people, 0, None))
    likelihood = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    largest = 1 - math.exp(2 * likelihood)
    criteria = binary_sample_size(parameters, prevalence, expected_r2 * largest)
    needed = math.ceil(share * criteria.people)
    enough = enough_yet(people, needed, _people_per_week(rows))
    return Readiness(people, event_people, parameters, criteria, enough)


def _people_per_week(rows: pd.DataFrame) -> float:
    """New people a week over the last weeks of index dates."""
    first = pd.to_datetime(rows.groupby("subject_key")["index_date"].min())
    last = pd.to_datetime(rows["index_date"]).max()
    recent = first > last - pd.Timedelta(weeks=_RECENT_WEEKS)
    return float(recent.sum()) / _RECENT_WEEKS
