"""Has what risks mean changed: detectors fed window by window, their state kept between runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from clinical_lakehouse.methods.change_detection import (
    Detector,
    adwin,
    ddm,
    hddm_a,
    page_hinkley,
    watch,
)

Row = Mapping[str, Any]
EXCESS_LOSS, ERROR = "excess_loss", "error"
# What each is fed: the squared error beyond what true risks would have, or whether the likelier
# class was wrong. Page-Hinkley's steps are of the size of a lost 0.05 AUROC at a tenth of events.
DETECTORS: tuple[tuple[Detector, str], ...] = (
    (adwin(), EXCESS_LOSS),
    (page_hinkley(delta=0.02, threshold=12.0), EXCESS_LOSS),
    (ddm(drift_level=4.0), ERROR),
    (hddm_a(confidence=0.0001), ERROR),
)
# Simulated (tests/monitoring): of 100 true models over 26 months two signal by these; DDM signals
# by 24, so it is written down and not told.
TOLD = ("adwin", "page_hinkley", "hddm_a")


def advanced(known: Iterable[Row], streams: Sequence[Row]) -> list[dict[str, Any]]:
    """gold.change_detector rows after the windows that a detector has not taken in yet, without the
    model: `streams` are rows of index_date, metric and the list `losses`."""
    before = {row["detector"]: row for row in known}
    rows = []
    for detector, fed in DETECTORS:
        row = dict(before.get(detector.name, {}))
        mine = [one for one in streams if one["metric"] == fed]
        for one in sorted(mine, key=lambda each: each["index_date"]):
            if not row or one["index_date"] > row["last_index_date"]:
                row = _after(detector, row, one)
        if row:
            rows.append(row)
    return rows


def signalled(rows: Iterable[Row]) -> tuple[date, list[str]] | None:
    """The index date of the last signal of a detector that is told of, and which gave one then."""
    found = [row for row in rows if row["detector"] in TOLD and row["signal_date"]]
    if not found:
        return None
    last = max(row["signal_date"] for row in found)
    return last, sorted(row["detector"] for row in found if row["signal_date"] == last)


def _after(detector: Detector, row: Row, stream: Row) -> dict[str, Any]:
    state = json.loads(row["state"]) if row else None
    found = watch(detector, state, stream["losses"])
    day = stream["index_date"]
    return {
        "detector": detector.name,
        "state": json.dumps(found.state),
        "last_index_date": day,
        "value_count": (row["value_count"] if row else 0) + len(stream["losses"]),
        "signal_count": (row["signal_count"] if row else 0) + len(found.signals),
        "signal_date": day if found.signals else (row["signal_date"] if row else None),
    }
