"""One flipped bit, a removed, moved or added row is found with its place; a drop is provable."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import LakeError, UsageError
from clinical_lakehouse.governance import audit_trail
from clinical_lakehouse.governance.audit_alignment import row_faults
from clinical_lakehouse.governance.audit_segments import (
    ORIGIN,
    Signer,
    dropped_segment,
    log_faults,
    sealed_segment,
    segment_entry,
)
from clinical_lakehouse.methods.merkle import is_included, leaf_hash
from clinical_lakehouse.methods.signed_notes import read_checkpoint, text_of, verifier_of
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.secrets import audit_seed
from clinical_lakehouse.tables.ops_audit import AUDIT, AUDIT_SEGMENT

SEED = bytes(range(32))
VERIFIER = verifier_of(ORIGIN, SEED)
DAYS = [date(2024, 6, day) for day in (3, 4, 6)]
ROWS = {day: [leaf_hash(f"{day} {n}".encode()) for n in range(6)] for day in DAYS}


def _found(days):
    return [(f.kind, f.segment_date, f.position) for f in row_faults(ROWS, days)]


def _with(day, rows):
    return {**ROWS, day: rows}


def test_rows_as_they_were_sealed_have_no_fault():
    assert _found(ROWS) == []
    assert _found({**ROWS, date(2024, 6, 7): [leaf_hash(b"not sealed yet")]}) == []


@pytest.mark.parametrize("at", range(6))
def test_one_flipped_bit_is_found_with_its_position(at):
    day, rows = DAYS[1], list(ROWS[DAYS[1]])
    rows[at] = bytes([rows[at][0] ^ 1, *rows[at][1:]])
    assert _found(_with(day, rows)) == [("row-altered", day, at)]


@pytest.mark.parametrize("at", range(6))
def test_a_removed_row_is_found_and_what_closes_up_is_not(at):
    day = DAYS[0]
    rows = ROWS[day][:at] + ROWS[day][at + 1 :]
    assert _found(_with(day, rows)) == [("row-removed", day, at)]


def test_a_row_moved_within_its_day_or_to_another_is_found_at_its_place():
    first, second, last = (ROWS[day] for day in DAYS)
    moved = [*second[:1], *second[2:5], second[1], second[5]]
    assert _found(_with(DAYS[1], moved)) == [("row-moved", DAYS[1], 1)]
    elsewhere = {DAYS[0]: first[:5], DAYS[1]: second, DAYS[2]: [first[5], *last]}
    assert _found(elsewhere) == [("row-moved", DAYS[0], 5)]


def test_an_added_row_and_a_whole_lost_day_are_found():
    added = [*ROWS[DAYS[2]][:3], leaf_hash(b"forged"), *ROWS[DAYS[2]][3:]]
    assert _found(_with(DAYS[2], added)) == [("row-added", DAYS[2], 3)]
    assert _found(_with(DAYS[2], [])) == [("row-removed", DAYS[2], n) for n in range(6)]


def test_many_edits_at_once_are_each_found_once():
    chance = random.Random(11)
    leaves = [leaf_hash(str(n).encode()) for n in range(400)]
    for _ in range(20):
        gone = set(chance.sample(range(400), 7))
        flipped = set(chance.sample(sorted(set(range(400)) - gone), 5))
        now = [leaf_hash(bytes(leaf)) if n in flipped else leaf
               for n, leaf in enumerate(leaves) if n not in gone]  # fmt: skip
        faults = row_faults({DAYS[0]: leaves}, {DAYS[0]: now})
        assert {fault.position for fault in faults} == gone | flipped
        kinds = [fault.kind for fault in faults]
        assert (kinds.count("row-altered"), kinds.count("row-removed"), len(kinds)) == (5, 7, 12)


def _log():
    rows = []
    for day in DAYS:
        row = sealed_segment(rows, day, ROWS[day], Signer(SEED))
        rows.append({**row, "sealed_at": datetime(2024, 7, 1, tzinfo=UTC), "run_id": "r"})
    return rows


def _kinds(rows, kept=None):
    return [(fault.kind, fault.position) for fault in log_faults(rows, VERIFIER, kept)]


def test_the_log_of_segments_is_whole_and_continues_a_kept_checkpoint():
    rows = _log()
    assert _kinds(rows) == []
    assert _kinds(rows, rows[1]["checkpoint"]) == []


def test_an_altered_removed_or_unsigned_segment_is_found():
    rows = _log()
    assert _kinds([rows[0], {**rows[1], "row_count": 5}, rows[2]]) == [
        ("segment-altered", 1),
        ("segment-altered", 2),
    ]
    assert _kinds([rows[0], rows[2]]) == [("segment-removed", 1)]
    assert _kinds([rows[0], {**rows[1], "leaf_hashes": None}, rows[2]]) == [("segment-dropped", 1)]
    forged = sealed_segment(rows[:2], DAYS[2], ROWS[DAYS[0]], Signer(bytes(32)))
    assert _kinds([*rows[:2], forged]) == [("signature", 2)]


def test_a_log_rewritten_or_cut_by_the_holder_of_the_key_shows_by_a_kept_checkpoint():
    rows = _log()
    again = sealed_segment(rows[:2], DAYS[2], ROWS[DAYS[0]], Signer(SEED))
    assert _kinds([*rows[:2], again]) == []
    assert _kinds([*rows[:2], again], rows[2]["checkpoint"]) == [("log-rewritten", 3)]
    assert _kinds(rows[:2], rows[2]["checkpoint"]) == [("log-rewritten", 3)]


def test_a_dropped_segment_leaves_the_rest_verifiable_and_the_drop_provable():
    rows = _log()
    dropped = dropped_segment(rows[0], datetime(2031, 6, 3, tzinfo=UTC), 2555, Signer(SEED))
    assert dropped["leaf_hashes"] is None
    assert _kinds([dropped, *rows[1:]]) == []
    other = {**rows[1], "leaf_hashes": None, "drop_note": dropped["drop_note"]}
    assert _kinds([dropped, other, rows[2]]) == [("segment-dropped", 1)]


def _changes(count):
    return [
        Change(f"e{n}", "update", "bronze.fhir_resource", f"k{n}", "typo") for n in range(count)
    ]


def _on(run, days):
    return replace(run, as_of=wall_clock() + timedelta(days=days), run_id=f"run+{days}")


def test_recorded_sealed_proved_edited_and_found_end_to_end(run):
    assert record(run, "t", "maria", _changes(4)) == 4
    record(replace(run, run_id="again"), "t", "maria", _changes(4))  # begun again after a kill
    assert run.lake.read(AUDIT).count() == 4
    assert audit_trail.seal.execute(_on(run, 0))["days_sealed"] == 0  # today has not ended
    assert audit_trail.seal.execute(_on(run, 1)) == {"days_sealed": 1, "rows_sealed": 4}
    assert audit_trail.verify.execute(_on(run, 1)) == {"days_verified": 1, "rows_verified": 4}
    _prove(run)
    rows = run.lake.read(AUDIT).withColumn(
        "actor", F.when(F.col("object_key") == "k2", "somebody").otherwise(F.col("actor"))
    )
    run.lake.replace(AUDIT, run.lake.frame(AUDIT, [row.asDict() for row in rows.collect()]))
    with pytest.raises(LakeError, match=r"tampered with: \d{4}-\d\d-\d\d row 2 is not what"):
        audit_trail.verify.execute(_on(run, 1))
    with pytest.raises(LakeError, match="past its retention but not as it was sealed"):
        audit_trail.expire.execute(_on(run, 2600))


def _prove(run):
    one = run.lake.read(AUDIT).filter("object_key = 'k3'").collect()[0]
    proof = audit_trail.proof_of(run, one["audit_id"])
    root = bytes.fromhex(proof["segment_root"])
    place = (proof["position"], proof["row_count"])
    assert is_included(proof["leaf_hash"], *place, proof["row_path"], root)
    text = text_of(proof["checkpoint"], verifier_of(ORIGIN, audit_seed(run)))
    size, log_root = read_checkpoint(text, ORIGIN)
    entry = segment_entry(proof["ordinal"], proof["segment_date"], 4, proof["segment_root"])
    path = proof["segment_path"]
    assert is_included(leaf_hash(entry), proof["ordinal"], size, path, log_root)
    with pytest.raises(UsageError, match="no sealed row"):
        audit_trail.proof_of(run, "none")


@pytest.mark.soak
def test_a_day_past_its_retention_goes_once_and_its_root_stays(run):
    record(run, "t", "maria", _changes(3))
    audit_trail.seal.execute(_on(run, 1))
    assert audit_trail.expire.execute(_on(run, 2000))["days_dropped"] == 0
    assert audit_trail.expire.execute(_on(run, 2600))["days_dropped"] == 1
    assert audit_trail.expire.execute(_on(run, 2600))["days_dropped"] == 0
    left = run.lake.read(AUDIT).collect()
    assert [row["action"] for row in left] == ["drop-segment"]
    assert run.lake.read(AUDIT_SEGMENT).collect()[0]["leaf_hashes"] is None
    run.lake.replace(AUDIT, run.lake.frame(AUDIT, []))
    assert audit_trail.verify.execute(_on(run, 2600))["days_verified"] == 1


@pytest.mark.soak
def test_an_audit_that_is_off_writes_and_seals_nothing(run):
    retention = run.settings.retention.model_copy(update={"audit_log_enabled": False})
    off = replace(run, settings=run.settings.model_copy(update={"retention": retention}))
    assert record(off, "t", "maria", _changes(2)) == 0
    assert not run.lake.exists(AUDIT)
    assert audit_trail.seal.execute(_on(off, 1)) == {"days_sealed": 0, "rows_sealed": 0}
