"""After 200 random corrections silver, omop and features are what a full rebuild makes of them."""

import shutil

import pytest

from clinical_lakehouse.runtime.lake import Lakehouse
from tests.ingestion.chain import TASKS, new_lake, write_lines
from tests.scenarios.random_corrections import KINDS, Edits, read_trial
from tests.scenarios.small_trial import DERIVED, MAPPED, content, step, with_concepts

pytestmark = pytest.mark.soak

SEEDS = range(20)
CORRECTIONS, DELIVERIES = 200, 3


@pytest.mark.parametrize("seed", SEEDS)
def test_corrections_in_increments_leave_what_a_full_rebuild_leaves(
    small_trial, spark, tmp_path, seed
):
    shutil.copytree(small_trial, tmp_path / "grown")
    landing, lake = tmp_path / "grown" / "landing", Lakehouse(spark, tmp_path / "grown" / "lake")
    edits = Edits(seed, read_trial(landing / "0"), DELIVERIES).make(CORRECTIONS)
    assert all(edits.counts[kind] for kind in KINDS)
    for day, delivery in enumerate(edits.deliveries, 1):
        write_lines(landing / str(day) / "all.ndjson", *delivery)
        said = step(lake, landing, day, (*TASKS, *MAPPED))
        assert said["map_events"]["records_restated"] > 0, "an increment, not all anew"
    step(lake, landing, DELIVERIES, DERIVED)
    full = with_concepts(new_lake(spark, tmp_path / "full"))
    step(full, landing, DELIVERIES, (*TASKS, *MAPPED, *DERIVED))
    grown = content(lake)
    differing = {n for n, h in content(full).items() if grown.get(n) != h}
    assert differing == set()
