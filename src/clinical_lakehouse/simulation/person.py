"""Who takes part: one subject's traits and course, drawn from (seed, index) alone."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from hashlib import blake2b
from math import ceil, exp

from clinical_lakehouse.simulation.codes import BIASED_RACE, RACES
from clinical_lakehouse.simulation.fhir import Json, instant, ref
from clinical_lakehouse.simulation.hazard import (
    AFTER_CONCEPT_DRIFT,
    BEFORE_CONCEPT_DRIFT,
    Covariates,
)
from clinical_lakehouse.simulation.plan import SCREENING_DAYS, TrialPlan
from clinical_lakehouse.simulation.sites import ACTIVE, CONTROL, Site

DRIFT_AGE_YEARS = 14
DRIFT_PHQ9_POINTS = 5
PHQ9_BIAS_POINTS = -4
OLDEST_EVERY = 50  # every 50th subject is over 89 (45 CFR 164.514(b)(2)(i)(C))
_OLDEST_AT = 7

Record = Callable[[str, Json], None]


@dataclass(frozen=True)
class Person:
    """A subject as they are, not as they are recorded; dates are true."""

    seed: int
    index: int
    id: str
    site: Site
    arm: str
    sex: str
    race: tuple[str, str]
    hispanic: bool
    birth_date: date
    screened: date
    randomised: date
    true: Covariates
    measured: Covariates
    dropout: date | None
    death: date | None
    end: date

    @property
    def last_day(self) -> date:
        """The last day on study: dropout, death or the day before the period's end."""
        return self.dropout or self.death or self.end - timedelta(days=1)

    @property
    def is_biased(self) -> bool:
        """Is this subject's PHQ-9 recorded too low?"""
        return self.race[0] == BIASED_RACE

    @property
    def subject_id(self) -> str:
        """The ResearchSubject's id."""
        return self.id_of("subject")

    @property
    def reference(self) -> Json:
        """A reference to the Patient."""
        return ref("Patient", self.id)

    def id_of(self, *parts: object) -> str:
        """A logical id that depends on the seed, the subject and the parts alone."""
        text = "/".join(map(str, (self.seed, self.index, *parts)))
        return blake2b(text.encode(), digest_size=10).hexdigest()

    def draws(self, purpose: str) -> random.Random:
        """An own random stream for one purpose, so that one change does not move the others."""
        return random.Random(f"{self.seed}/{self.index}/{purpose}")

    def moment(self, day: date, draws: random.Random) -> datetime:
        """A time between 8:00 and 16:00 on a day."""
        return datetime.combine(day, time(8)) + timedelta(minutes=int(draws.random() * 480))

    def entered(self, moment: datetime, draws: random.Random) -> str:
        """When the site has entered what happened: one to 72 hours later, or 45 days more."""
        delay = timedelta(hours=1 + draws.random() * 71, days=self.site.entry_delay_days)
        return instant(moment + delay)

    def entered_centrally(self, moment: datetime, draws: random.Random) -> str:
        """When the randomisation system has entered what happened: within a day, at any site."""
        return instant(moment + timedelta(hours=1 + draws.random() * 22))


def draw_person(
    plan: TrialPlan, sites: tuple[Site, ...], days: tuple[date, ...], index: int
) -> Person:
    """Draw subject `index`; depends on seed, sites and calendar, never on the number of others."""
    draws = random.Random(f"{plan.seed}/{index}/person")
    randomised = draws.choice(days)
    race = draws.choices(RACES, [share for _, _, share in RACES])[0]
    true = _draw_covariates(plan, draws, randomised, index)
    dropout, death = _draw_course(plan, draws, randomised, true)
    return Person(
        seed=plan.seed,
        index=index,
        id=blake2b(f"{plan.seed}/{index}".encode(), digest_size=8).hexdigest(),
        site=draws.choices(sites, [(1 + site.number) ** -0.3 for site in sites])[0],
        arm=draws.choice((ACTIVE, CONTROL)),
        sex=draws.choice(("female", "male")),
        race=race[:2],
        hispanic=draws.random() < 0.17,
        birth_date=_birth_date(randomised, true.age, draws),
        screened=randomised - timedelta(days=SCREENING_DAYS - int(draws.random() * 5)),
        randomised=randomised,
        true=true,
        measured=_measure(true, race[0] == BIASED_RACE, draws),
        dropout=dropout,
        death=death,
        end=plan.end,
    )


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _draw_covariates(
    plan: TrialPlan, draws: random.Random, randomised: date, index: int
) -> Covariates:
    low, high = plan.drift_interval
    drifted = low <= randomised < high
    age = round(_clip(draws.gauss(60, 10), 30, 88))
    if drifted:
        age = min(age + DRIFT_AGE_YEARS, 89)
    if index % OLDEST_EVERY == _OLDEST_AT:
        age = draws.randint(90, 96)
    phq9 = draws.gauss(8, 5) + (DRIFT_PHQ9_POINTS if drifted else 0)
    hba1c = _clip(draws.gauss(8, 1), 6.5, 13)
    chance = _clip(2 + 0.04 * (age - 60), 0.3, 4) / 8
    comorbidities = sum(draws.random() < chance for _ in range(8))
    return Covariates(age, round(_clip(phq9, 0, 27)), round(hba1c, 1), comorbidities)


def _measure(true: Covariates, is_biased: bool, draws: random.Random) -> Covariates:
    phq9 = max(0, true.phq9 + PHQ9_BIAS_POINTS) if is_biased else true.phq9
    hba1c = round(true.hba1c + draws.gauss(0, 0.05), 1)
    return Covariates(true.age, phq9, hba1c, true.comorbidities)


def _birth_date(randomised: date, age: int, draws: random.Random) -> date:
    """A birth date that makes the subject `age` completed years old when randomised."""
    day = min(randomised.day, 28)
    last = date(randomised.year - age, randomised.month, day)
    return last - timedelta(days=int(draws.random() * 360))


def _draw_course(
    plan: TrialPlan, draws: random.Random, randomised: date, true: Covariates
) -> tuple[date | None, date | None]:
    """Dates of dropout and death, at most one of them; whichever comes first hides the other."""
    before = BEFORE_CONCEPT_DRIFT.hazard(true)
    after = AFTER_CONCEPT_DRIFT.hazard(true)
    days_before = max((plan.concept_from - randomised).days, 0)
    exposure = draws.expovariate(1)
    if exposure < before * days_before:
        wait = exposure / before
    else:
        wait = days_before + (exposure - before * days_before) / after
    death_wait = draws.expovariate(0.012 / 365.25 * exp(0.08 * (true.age - 60)))
    horizon = (plan.end - randomised).days - 1
    dropout_day, death_day = ceil(min(wait, 1e5)), ceil(min(death_wait, 1e5))
    if min(dropout_day, death_day) > horizon:
        return None, None
    if dropout_day <= death_day:
        return randomised + timedelta(days=max(dropout_day, 1)), None
    return None, randomised + timedelta(days=max(death_day, 1))
