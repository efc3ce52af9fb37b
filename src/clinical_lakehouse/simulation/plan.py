"""What to simulate: size, seed and calendar of the trial."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from clinical_lakehouse.errors import UsageError

SCREENING_DAYS = 14
DAYS_BETWEEN_VISITS = 28
RUSH_FOLD = 8  # how dense enrolment is in the first quarter, against the last months of it
WAVE_FOLD = 8  # how dense it is in the drift month


def months_after(day: date, months: int) -> date:
    """The same day of the month `months` later, or that month's last day."""
    year, month0 = divmod(day.month - 1 + months, 12)
    year += day.year
    return date(year, month0 + 1, min(day.day, monthrange(year, month0 + 1)[1]))


@dataclass(frozen=True)
class TrialPlan:
    """A trial's size, seed and calendar.

    `window_from` and `window_to` write only the resources whose `meta.lastUpdated` lies in
    [from, to); None leaves that side open. The union of adjoining windows is the whole trial.
    """

    patients: int = 300
    sites: int = 6
    months: int = 12
    seed: int = 7
    start: date = date(2024, 1, 1)
    window_from: date | None = None
    window_to: date | None = None

    def __post_init__(self) -> None:
        if self.patients < 1 or not 1 <= self.sites <= 99 or not 1 <= self.months <= 120:
            raise UsageError("simulate takes patients >= 1, sites 1 to 99 and months 1 to 120")
        if not date(1950, 1, 1) <= self.start <= date(2100, 1, 1):
            raise UsageError("simulate takes a start between 1950 and 2100")
        if self.window_from and self.window_to and self.window_from >= self.window_to:
            raise UsageError("simulate takes a window whose --from lies before its --to")

    @property
    def end(self) -> date:
        """The first day after the simulated period."""
        return months_after(self.start, self.months)

    @property
    def drift_month(self) -> int:
        """0-based trial month in which other people are enrolled (population drift)."""
        return round(0.58 * self.months)

    @property
    def concept_month(self) -> int:
        """0-based trial month from whose first day dropout has other causes (concept drift)."""
        return round(0.75 * self.months)

    @property
    def concept_from(self) -> date:
        """The first day on which the dropout hazard uses the reversed coefficients."""
        return months_after(self.start, self.concept_month)

    @property
    def drift_interval(self) -> tuple[date, date]:
        """First day of the drift month and first day after it."""
        return (
            months_after(self.start, self.drift_month),
            months_after(self.start, self.drift_month + 1),
        )

    def enrolment_days(self) -> tuple[date, ...]:
        """The days on which somebody may be randomised: most in the trial's first quarter.

        A day stands as often as it is likely: RUSH_FOLD times in the first quarter, twice until
        half of the trial, once until three quarters, and WAVE_FOLD times in the drift month (a
        second wave, of other people).
        """
        first = self.start + timedelta(days=SCREENING_DAYS)
        whole = (self.end - self.start).days
        span = max(int(whole * 0.75), SCREENING_DAYS + 1) - SCREENING_DAYS
        low, high = self.drift_interval
        days: list[date] = []
        for day in (first + timedelta(days=d) for d in range(span)):
            progress = (day - self.start).days / whole
            usual = RUSH_FOLD if progress < 0.25 else 2 if progress < 0.5 else 1
            days.extend([day] * (WAVE_FOLD if low <= day < high else usual))
        return tuple(days)


def keep_to_one_trial(root: Path, plan: TrialPlan) -> None:
    """A lake holds one simulated trial; another one beside it would be two trials in one."""
    marker, wanted = root / "landing" / ".plan", repr(plan)
    if marker.exists() and marker.read_text(encoding="utf-8") != wanted:
        raise UsageError(f"{root} holds another simulated trial; choose another --root")
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(wanted, encoding="utf-8")
