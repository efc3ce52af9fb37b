"""The files: repeatable, independent of size, splittable by time, counted, valid FHIR R4."""

import tracemalloc
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import orjson
import pytest
from fhir.resources.R4B import get_fhir_model_class

from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.simulation.landing import RESOURCE_TYPES
from tests.simulation.written import Written

_SAMPLE = 60


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _lines(folder: Path) -> Counter[bytes]:
    """Every landing line with its file, as a bag."""
    return Counter(
        path.name.encode() + b":" + line
        for path in folder.glob("*.ndjson")
        for line in path.read_bytes().split(b"\n")[:-1]
    )


def test_same_seed_gives_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        simulate(tmp_path / name, TrialPlan(patients=8, seed=seed))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    assert _bytes(tmp_path / "one") != _bytes(tmp_path / "three")


def test_a_subject_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    simulate(tmp_path / "five", TrialPlan(patients=5))
    simulate(tmp_path / "nine", TrialPlan(patients=9))
    five, nine = _lines(tmp_path / "five"), _lines(tmp_path / "nine")
    assert not five - nine
    truth = [orjson.loads((tmp_path / n / "truth.json").read_bytes()) for n in ("five", "nine")]
    assert truth[0]["subjects"] == truth[1]["subjects"][:5]
    patient = truth[0]["subjects"][3]["patient_id"].encode()
    theirs = [Counter({k: n for k, n in bag.items() if patient in k}) for bag in (five, nine)]
    assert theirs[0] == theirs[1] and theirs[0].total() > 50


def test_windows_together_are_the_whole(tmp_path: Path) -> None:
    plan = TrialPlan(patients=12, seed=5)
    simulate(tmp_path / "whole", plan)
    cuts = [None, *(plan.start + timedelta(days=30 * n) for n in range(1, 14)), None]
    parts: Counter[bytes] = Counter()
    for number, (low, high) in enumerate(zip(cuts, cuts[1:], strict=False)):
        part = TrialPlan(patients=12, seed=5, window_from=low, window_to=high)
        simulate(tmp_path / str(number), part)
        parts += _lines(tmp_path / str(number))
    assert parts == _lines(tmp_path / "whole")


def test_a_window_holds_only_what_was_updated_in_it(tmp_path: Path) -> None:
    low, high = date(2024, 6, 3), date(2024, 6, 10)
    simulate(tmp_path, TrialPlan(patients=40, window_from=low, window_to=high))
    truth = orjson.loads((tmp_path / "truth.json").read_bytes())
    bad = {(row["file"], row["line"]) for row in [*truth["invalid"], *truth["ignored"]]}
    for path in tmp_path.glob("*.ndjson"):
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            if (path.name, number) not in bad:
                updated = orjson.loads(line)["meta"]["lastUpdated"]
                assert low.isoformat() <= updated < high.isoformat()
    assert len(truth["subjects"]) == 40


def test_an_earlier_run_leaves_no_file_behind(tmp_path: Path) -> None:
    simulate(tmp_path, TrialPlan(patients=3))
    early = TrialPlan(patients=3, window_to=date(2024, 1, 2))
    assert set(simulate(tmp_path, early).files) == {p.name for p in tmp_path.glob("*.ndjson")}


def test_counts_equal_the_files(trial: Written) -> None:
    assert set(trial.summary.files) == {f"{name}.ndjson" for name in RESOURCE_TYPES}
    for resource_type in RESOURCE_TYPES:
        counts = dict(trial.truth["counts"][f"{resource_type}.ndjson"])
        total = counts.pop("lines")
        assert total == len(trial.lines(resource_type)) == sum(counts.values())
        assert total == trial.summary.files[f"{resource_type}.ndjson"]
        good = trial.good(resource_type)
        assert len(good) == total - counts.get("invalid", 0) - counts.get("ignored", 0)
        assert len({made["id"] for made in good}) == counts["resource"]
    assert trial.summary.invalid == len(trial.truth["invalid"])
    assert 180 <= trial.summary.lines / 400 <= 240


@pytest.mark.parametrize("resource_type", RESOURCE_TYPES)
def test_valid_lines_are_valid_r4(trial: Written, resource_type: str) -> None:
    model = get_fhir_model_class(resource_type)
    good = trial.good(resource_type)
    chosen = good[:: max(len(good) // _SAMPLE, 1)]
    later = [made for made in good if made["meta"]["versionId"] != "1"][:10]
    for made in [*chosen, *later]:
        assert made["resourceType"] == resource_type
        assert made["meta"]["lastUpdated"].endswith("Z")
        model.model_validate(made)


@pytest.mark.soak
def test_references_of_valid_resources_lead_somewhere(trial: Written) -> None:
    ids = {t: {made["id"] for made in trial.good(t)} for t in RESOURCE_TYPES}

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["reference"]] if "reference" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [f for value in node for f in references(value)] if isinstance(node, list) else []

    for resource_type in RESOURCE_TYPES:
        for made in trial.good(resource_type)[::7]:
            for reference in references(made):
                target, _, target_id = reference.partition("/")
                assert target_id in ids[target]


@pytest.mark.soak
def test_memory_does_not_grow_with_the_number_of_subjects(tmp_path: Path) -> None:
    peaks = []
    for patients in (70, 280):
        tracemalloc.start()
        simulate(tmp_path / str(patients), TrialPlan(patients=patients))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


def test_progress_is_told_after_every_subject(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate(tmp_path, TrialPlan(patients=3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("months", [1, 3, 24])
def test_other_lengths_and_a_single_site_work(tmp_path: Path, months: int) -> None:
    summary = simulate(tmp_path, TrialPlan(patients=4, sites=1, months=months))
    assert summary.patients == 4


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"patients": 0}, {"sites": 0}, {"months": 0}, {"start": date(1, 1, 1)}):
        with pytest.raises(UsageError):
            TrialPlan(**wrong)
    with pytest.raises(UsageError):
        TrialPlan(window_from=date(2024, 2, 1), window_to=date(2024, 2, 1))


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SourceError, match="--out"):
        simulate(tmp_path / "taken", TrialPlan(patients=1))
