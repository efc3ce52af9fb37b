"""Small cells: numbers of people below 11 are not shown, nor what would give them away."""

from collections.abc import Mapping

SMALLEST_CELL = 11  # CMS cell size suppression policy: 1 to 10 people may be recognised


def is_small(people: int) -> bool:
    """1 to 10 people: may not be shown; nobody at all may."""
    return 0 < people < SMALLEST_CELL


def hidden(people: Mapping[str, int]) -> frozenset[str]:
    """Groups whose number may not be shown beside the sum of all groups.

    A single small group is the sum less the others, so the smallest other one goes with it.
    """
    small = {group for group, number in people.items() if is_small(number)}
    others = {g: n for g, n in people.items() if g not in small and n > 0}
    if len(small) == 1 and others:
        small.add(min(others, key=lambda group: (others[group], group)))
    return frozenset(small)
