"""ACTG175 (Hammer et al., NEJM 1996;335:1081) as labelled rows: what was known at the start of
treatment, and whether CD4 fell by half, AIDS came or the person died within two years."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clinical_lakehouse.methods.outcomes import EVENT, FOLLOWED_TO_THE_END
from clinical_lakehouse.training.attrition import Step
from clinical_lakehouse.training.families import Offer
from clinical_lakehouse.training.population import NOT_KNOWN_YET

HORIZON_DAYS = 730
# At the start of treatment; cd420, cd820, cd496, r and offtrt are known only later.
INPUTS = (
    *("age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "z30", "preanti", "race"),
    *("gender", "strat", "symptom", "treat", "cd40", "cd80"),
)
CORE = ("age", "karnof", "symptom", "treat", "cd40", "cd80")
_WAVES = 10


@dataclass(frozen=True)
class Trial:
    """Labelled rows, one a person, and who fell at which step."""

    rows: pd.DataFrame
    steps: tuple[Step, ...]


def read_trial(path: Path) -> Trial:
    """The people whose two years are known. The copy has no dates of enrolment: people are in ten
    waves by their number, which is the only order that it has."""
    people = pd.read_csv(path).sort_values("pidnum", ignore_index=True)
    had = (people["cens"] == 1) & (people["days"] <= HORIZON_DAYS)
    known = had | (people["days"] >= HORIZON_DAYS)
    wave = np.arange(len(people)) * _WAVES // len(people)
    rows = (
        people[list(INPUTS)]
        .astype(float)
        .assign(
            subject_key=people["pidnum"],
            research_subject_key=people["pidnum"],
            organization_key=1,
            index_date=pd.to_datetime("1991-12-02") + pd.to_timedelta(28 * wave, "D"),
            is_event=had,
            followed_days=people["days"].clip(upper=HORIZON_DAYS),
            cause=np.where(had, EVENT, FOLLOWED_TO_THE_END),
        )
    )
    kept, left = int(known.sum()), len(people)
    return Trial(rows[known], (Step(NOT_KNOWN_YET, left, left - kept, kept),))


def offer(names: tuple[str, ...]) -> Offer:
    """These families on the trial's inputs, the plain score being the CD4 count."""
    return Offer(INPUTS, CORE, "cd40", names)
