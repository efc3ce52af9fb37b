"""A made-up trial's measurements with faults planted in known rows, by a seeded generator."""

import math
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

SITES, PEOPLE, VISITS = 6, 16, 8
START = date(2024, 1, 1)
# LOINC: unit, mean, spread between people and within a person (as simulation/codes.py), decimals.
TESTS = {
    "2345-7": ("mg/dL", 110, 15, 9, 0),
    "2160-0": ("mg/dL", 0.95, 0.2, 0.06, 2),
    "1742-6": ("U/L", 28, 9, 4, 0),
    "718-7": ("g/dL", 13.8, 1.2, 0.4, 1),
    "2823-3": ("mmol/L", 4.3, 0.3, 0.2, 1),
    "2093-3": ("mg/dL", 185, 30, 10, 0),
    "8480-6": ("mm[Hg]", 134, 11, 6, 0),
    "29463-7": ("kg", 88, 15, 0.6, 1),
}
MIXED_UP = {"2345-7": 1 / 18.016, "2160-0": 88.42, "2093-3": 1 / 38.67, "29463-7": 2.2046}
COPIED = (100102, 100204)
PREFERRED_SITE, SHIFTED_SITE, FROZEN_SITE = 2, 3, 4


@dataclass
class Planted:
    """Rows of the series, and by fault the ids of the measurements that were made wrong."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


def plant(seed: int = 11, with_faults: bool = True) -> Planted:
    """Everybody's visits; each fault in rows of its own."""
    draws, made = random.Random(seed), Planted()
    for site in range(1, SITES + 1):
        for one in range(PEOPLE):
            _person(made, draws, site, site * 1000 + one)
    if with_faults:
        _visit_faults(made)
        _site_faults(made, draws)
        _scale_faults(made, draws)
    return made


def _person(made: Planted, draws: random.Random, site: int, person: int) -> None:
    own = {code: draws.gauss(t[1], t[2]) for code, t in TESTS.items()}
    own = {code: max(level, TESTS[code][1] * 0.4) for code, level in own.items()}
    first = START + timedelta(days=draws.randint(0, 60))
    for visit in range(VISITS):
        day = first + timedelta(days=28 * visit + draws.randint(-2, 2))
        at = datetime.combine(day, time(8, tzinfo=UTC)) + timedelta(minutes=draws.randint(0, 480))
        for code, (unit, _, _, within, decimals) in TESTS.items():
            value = round(max(draws.gauss(own[code], within), 0.2 * own[code]), decimals)
            made.rows.append(
                {
                    "measurement_id": len(made.rows) + 1,
                    "person_id": person,
                    "site_key": site,
                    "loinc": code,
                    "unit_flag": None,
                    "day": day,
                    "at": at,
                    "visit_occurrence_id": person * 100 + visit,
                    "visit_start_date": day,
                    "visit_end_date": day,
                    "value": float(value),
                    "level": float(value),
                    "unit": unit,
                }
            )


def _set(row: dict[str, Any], value: float) -> None:
    row["value"] = row["level"] = value


def _of(made: Planted, person: int, visit: int) -> list[dict[str, Any]]:
    return [r for r in made.rows if r["visit_occurrence_id"] == person * 100 + visit]


def _scale_faults(made: Planted, draws: random.Random) -> None:
    """Of rows without another fault some in another unit, some ten times or a tenth."""
    for row in made.rows:
        if row["visit_occurrence_id"] in COPIED or _is_faulty(made, row):
            continue
        fate, decimals = draws.random(), TESTS[row["loinc"]][4]
        if fate < 0.02 and row["loinc"] in MIXED_UP:
            _set(row, round(row["value"] * MIXED_UP[row["loinc"]], 1))
            made.faults["unit_mixup"].add(row["measurement_id"])
        elif 0.02 <= fate < 0.03:
            factor = draws.choice((10, 0.1))
            _set(row, round(row["value"] * factor, decimals + 1))
            made.faults["decimal_slip"].add(row["measurement_id"])


def _is_faulty(made: Planted, row: dict[str, Any]) -> bool:
    return any(row["measurement_id"] in rows for rows in made.faults.values())


def _visit_faults(made: Planted) -> None:
    """A visit copied from the one before, one copied from another person, two people swapped, a
    date a year early and one three weeks late."""
    for source, target in (((1001, 2), (1001, 3)), ((1002, 4), (1003, 5))):
        for old, new in zip(_of(made, *source), _of(made, *target), strict=True):
            _set(new, old["value"])
            made.faults["copied_visit"].add(new["measurement_id"])
    one, other = _of(made, 5001, 3), _of(made, 5002, 3)
    for a, b in zip(one, other, strict=True):
        for row in (a, b):
            row["day"], row["at"] = a["day"], a["at"]
            row["visit_start_date"] = row["visit_end_date"] = a["day"]
            made.faults["swapped_subject"].add(row["measurement_id"])
        a_value, b_value = a["value"], b["value"]
        _set(a, b_value)
        _set(b, a_value)
    for place, days in (((6001, 2), -366), ((6002, 2), 21)):
        for row in _of(made, *place):
            row["day"] += timedelta(days=days)
            made.faults["date_shift"].add(row["measurement_id"])


def _site_faults(made: Planted, draws: random.Random) -> None:
    """A site that reads blood pressure in tens, one whose cholesterol rises by 12% half way, one
    whose potassium stands still for twelve values."""
    frozen = [r for r in made.rows if (r["site_key"], r["loinc"]) == (FROZEN_SITE, "2823-3")]
    frozen.sort(key=lambda row: (row["at"], row["measurement_id"]))
    for row in frozen[40:52]:
        _set(row, 4.1)
        made.faults["frozen_device"].add(row["measurement_id"])
    for row in made.rows:
        place = (row["site_key"], row["loinc"])
        if place == (PREFERRED_SITE, "8480-6") and draws.random() < 0.7:
            _set(row, float(round(row["value"], -1)))
        if place == (SHIFTED_SITE, "2093-3") and row["day"] >= START + timedelta(days=130):
            _set(row, float(math.ceil(row["value"] * 1.12)))
