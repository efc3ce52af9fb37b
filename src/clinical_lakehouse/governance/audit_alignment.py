"""Rows of the audit against what was sealed: which were altered, removed, added or moved, where."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from clinical_lakehouse.governance.audit_segments import Fault

Days = Mapping[date, Sequence[bytes]]


def row_faults(sealed: Days, found: Days) -> list[Fault]:
    """Every row that is not as it was sealed, by day and position from 0.

    `sealed` and `found` are leaf hashes in order. Of days that are not sealed only rows that stem
    from a sealed day are judged; a row that has closed up behind a removed one is none.
    """
    homes = {leaf: (day, at) for day, leaves in sealed.items() for at, leaf in enumerate(leaves)}
    there = {leaf for leaves in found.values() for leaf in leaves}
    faults: list[Fault] = []
    for day, leaves in found.items():
        for at, leaf in enumerate(leaves):
            home = homes.get(leaf)
            if home is not None and home[0] != day:
                faults.append(_moved(*home, day, at))
    for day, leaves in sealed.items():
        now = [leaf for leaf in found.get(day, ()) if homes.get(leaf, (day,))[0] == day]
        faults += _of_day(day, leaves, now, there)
    return sorted(faults, key=lambda fault: (str(fault.segment_date), fault.position or 0))


def _of_day(
    day: date, before: Sequence[bytes], now: Sequence[bytes], there: set[bytes]
) -> Iterator[Fault]:
    places = {leaf: at for at, leaf in enumerate(before)}
    kept = _in_order([places[leaf] for leaf in now if leaf in places])
    added: dict[int, list[int]] = defaultdict(list)  # by the last kept row before them
    last = -1
    for at, leaf in enumerate(now):
        place = places.get(leaf)
        if place is None:
            added[last].append(at)
        elif place in kept:
            last = place
        else:
            yield _moved(day, place, day, at)
    last = -1
    for place, leaf in enumerate(before):
        if place in kept:
            last = place
        elif leaf not in there and added[last]:
            added[last].pop(0)
            yield Fault("row-altered", day, place, f"{day} row {place} is not what was sealed")
        elif leaf not in there:
            yield Fault("row-removed", day, place, f"{day} row {place} is gone")
    for at in (at for places_ in added.values() for at in places_):
        yield Fault("row-added", day, at, f"{day} row {at} was not sealed")


def _moved(day: date, place: int, other: date, at: int) -> Fault:
    text = f"the row sealed as {day} row {place} stands at {other} row {at}"
    return Fault("row-moved", day, place, text)


def _in_order(places: Sequence[int]) -> set[int]:
    """The longest increasing subsequence (Fredman 1975): what stayed where it was."""
    ends: list[int] = []
    links: list[tuple[int, int]] = []  # per place: its rank, and itself
    for place in places:
        rank = bisect_left(ends, place)
        ends[rank : rank + 1] = [place]
        links.append((rank, place))
    kept: set[int] = set()
    wanted, limit = len(ends) - 1, None
    for rank, place in reversed(links):
        if rank == wanted and (limit is None or place < limit):
            kept.add(place)
            wanted, limit = wanted - 1, place
    return kept
