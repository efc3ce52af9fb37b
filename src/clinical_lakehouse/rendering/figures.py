"""Figures as people read them: counts, percentages, intervals, durations and days."""

from datetime import date, datetime

NOT_KNOWN = "–"
SUPPRESSED = "<11"


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return NOT_KNOWN if value is None else f"{round(value):,}"


def percent(value: float | None, digits: int = 1) -> str:
    """A ratio (0-1) as a percentage; 100% and 0% only where nothing was rounded away."""
    if value is None:
        return NOT_KNOWN
    if value in (0, 1):
        return f"{value:.0%}"
    shown = f"{value:.{digits}%}"
    if float(shown[:-1]) in (0, 100):
        edge = 10**-digits
        return f"<{edge:g}%" if value < 0.5 else f">{100 - edge:g}%"
    return shown


def number(value: float | None, digits: int = 2) -> str:
    """A figure with a fixed number of decimals."""
    if value is None:
        return NOT_KNOWN
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Two limits, e.g. 0.71 to 0.79."""
    if low is None or high is None:
        return NOT_KNOWN
    return f"{number(low, digits)} to {number(high, digits)}"


def percent_interval(low: float | None, high: float | None, digits: int = 0) -> str:
    """Two limits as percentages, e.g. 12% to 19%."""
    if low is None or high is None:
        return NOT_KNOWN
    return f"{low:.{digits}%} to {high:.{digits}%}"


def duration(seconds: float | None) -> str:
    """Seconds as 0.4 s, 12 s, 3 min 05 s or 2 h 10 min."""
    if seconds is None:
        return NOT_KNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def day(value: date | None) -> str:
    """A day, e.g. 5 Mar 2024."""
    return NOT_KNOWN if value is None else f"{value.day} {value:%b %Y}"


def moment(value: datetime | None) -> str:
    """A moment in UTC, e.g. 5 Mar 2024 06:00 UTC."""
    return NOT_KNOWN if value is None else f"{day(value)} {value:%H:%M} UTC"


def people(value: int | None, smallest: int = 11) -> str:
    """A number of people; 1 to 10 are not shown, because they may be recognised."""
    if value is not None and 0 < value < smallest:
        return SUPPRESSED
    return count(value)
