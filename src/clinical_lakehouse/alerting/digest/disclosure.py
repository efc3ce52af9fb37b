"""Figures as an audience may see them: small numbers hidden, and what would tell them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from clinical_lakehouse.alerting.digest.content import Figure, Group, Series
from clinical_lakehouse.alerting.messages.labels import visible
from clinical_lakehouse.methods.small_cells import hidden, is_small
from clinical_lakehouse.rendering import figures

MINUS = "−"


@dataclass(frozen=True)
class Sight:
    """What an audience may see."""

    hides_small: bool

    def is_hidden(self, value: float | None, unit: str) -> bool:
        """May this number not be shown?"""
        is_people = self.hides_small and unit == "people"
        return is_people and value is not None and is_small(round(value))

    def shown(self, value: float | None, unit: str) -> str:
        """The number as text."""
        if self.is_hidden(value, unit):
            return figures.SUPPRESSED
        if unit == "number":
            return figures.number(value)
        return figures.percent(value) if unit == "ratio" else figures.count(value)

    def change(self, figure: Figure) -> str:
        """By how much it changed; empty where that is nothing, not known, or may not be shown."""
        if figure.value is None or figure.before is None or figure.value == figure.before:
            return ""
        if any(self.is_hidden(v, figure.unit) for v in (figure.value, figure.before)):
            return ""
        return _signed(figure.value - figure.before, figure.unit)

    def rows(self, group: Group) -> Iterator[tuple[str, str, str, str]]:
        """Each group's number now, before, and the change, as text; a dash stands for a number that
        would give another one away."""
        gone = [
            hidden(side) if self.hides_small else frozenset() for side in (group.now, group.before)
        ]
        for name in sorted({*group.now, *group.before}):
            values = (group.now.get(name, 0), group.before.get(name, 0))
            texts = [
                self._cell(value, name in side) for value, side in zip(values, gone, strict=True)
            ]
            if not group.before:  # the first digest of an audience has nothing to compare with
                texts[1] = figures.NOT_KNOWN
            is_open = bool(group.before) and not any(name in side for side in gone)
            change = _signed(values[0] - values[1], "people") if is_open else figures.NOT_KNOWN
            shown = visible({"name": name}, {"name": "word"})["name"] or figures.NOT_KNOWN
            yield shown, texts[0], texts[1], change

    def _cell(self, value: int, is_gone: bool) -> str:
        if not is_gone:
            return figures.count(value)
        return figures.SUPPRESSED if is_small(value) else figures.NOT_KNOWN

    def points(self, series: Series) -> list[tuple[date, float]]:
        """The points that may be drawn; a small number would be read off the axis."""
        return [(x, y) for x, y in series.points if not self.is_hidden(y, series.unit)]


def _signed(change: float, unit: str) -> str:
    if unit == "ratio":
        points = round(change * 100, 1)
        return f"{'+' if points > 0 else MINUS if points < 0 else '±'}{abs(points):.1f} pp"
    if unit == "number":
        return f"{'+' if change > 0 else MINUS}{abs(change):.2f}"
    whole = round(change)
    return f"{'+' if whole > 0 else MINUS if whole < 0 else '±'}{abs(whole):,}"
