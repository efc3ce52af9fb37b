"""ACES labels: the rows, windows and labels that es-aces 0.7.3 gives on the public sample data."""

import csv
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.training.aces_labels import label_triggers, steps
from clinical_lakehouse.training.aces_task import read_task
from clinical_lakehouse.training.attrition import counted, only_labelled
from tests.conftest import PUBLIC_DATA

# Of the shard held_out, and of the CSV: rows, rows with a label over 0, and the first
# 16 digits of the SHA-256 of the sorted rows
# (subject, trigger, index, label and each window's start and end in Unix seconds), as es-aces
# 0.7.3 from PyPI gave them in an environment of its own.
MEDS = {
    "inhospital_mortality": (18, 0, "4dec124db8214630"),
    "long_term_recurrence": (29, 0, "b434d41b101a185c"),
    "readmission_risk": (29, 3, "9833e2afe2a6a427"),
    "deterioration": (44, 11, "f1c0821b9547d3b8"),
}
PREDICATES = {
    "imminent_mortality": (50, 6, "e2f6ee6c2fdc1804"),
    "inhospital_mortality": (1, 0, "1768f79cc8c00a28"),
    "long_term_recurrence": (2, 1, "af470781c170a581"),
    "readmission_risk": (3, 0, "fc7746895353df05"),
}
# What the CSV's columns of counts are called as codes.
CODES = {
    "male": "SEX//male",
    "female": "SEX//female",
    "admission": "ADMISSION//X",
    "discharge": "DISCHARGE//X",
    "death": "DEATH",
    "diagnosis_ICD9CM_41071": "diagnosis//ICD9CM_41071",
    "diagnosis_ICD10CM_I214": "diagnosis//ICD10CM_I214",
}
EVENT = "subject_id BIGINT, time TIMESTAMP_NTZ, code STRING, numeric_value DOUBLE"
ASKED_TWICE = "deterioration"
APART = 1_000_000  # subjects of the CSV are told from those of the MEDS folder


def _task_file(folder: Path, name: str) -> tuple[Path, Path]:
    """The task and its root: the public ones, and one of our own with what they do not use."""
    own = Path(__file__).parent / f"{name}.yaml"
    return (own, own.parent) if own.exists() else (folder / f"sample_configs/{name}.yaml", folder)


def _csv_events(path: Path):
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            subject = int(row.pop("subject_id")) + APART
            when = row.pop("timestamp")
            time = datetime.strptime(when, "%m/%d/%Y %H:%M") if when else None
            counts = {name: int(count) for name, count in row.items()}
            # A moment at which nothing of the columns happened is a moment all the same.
            counts = counts if any(counts.values()) else {"moment": 1}
            for name, count in counts.items():
                yield from [(subject, time, CODES.get(name, name), None)] * count


@pytest.fixture(scope="module")
def labelled(spark):
    """Per task: (rows with their drop) of both sources, computed once."""
    folder = PUBLIC_DATA / "aces_tasks"
    if not folder.exists():
        pytest.skip("public data aces_tasks is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    meds = spark.read.parquet(str(folder / "sample_data/meds_sample/held_out/*.parquet"))
    given = list(_csv_events(folder / "sample_data/sample_data.csv"))
    events = meds.unionByName(spark.createDataFrame(given, EVENT))
    found = {}
    for name in {**MEDS, **PREDICATES}:
        task = read_task(*_task_file(folder, name))
        rows = events if name in MEDS else events.filter(f"subject_id >= {APART}")
        made = label_triggers(task, rows)
        found[name] = task, made.cache() if name == ASKED_TWICE else made
    yield found
    found[ASKED_TWICE][1].unpersist()


def _figures(rows, windows, is_meds):
    """Rows, positives and fingerprint of one source's labelled rows."""
    kept = [r for r in rows if (r.subject_id < APART) == is_meds]
    lines = sorted(",".join(map(str, _line(r, windows))) for r in kept)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return len(kept), sum(r.label > 0 for r in kept), digest


def _line(row, windows):
    times = [row.trigger_at, row.index_at]
    bounds = [row[f"{w}_{side}_at"] for w in windows for side in ("start", "end")]
    seconds = [int(t.replace(tzinfo=UTC).timestamp()) for t in (*times, *bounds)]
    return [row.subject_id % APART, *seconds[:2], row.label, *seconds[2:]]


@pytest.mark.parametrize("name", sorted({**MEDS, **PREDICATES}))
def test_rows_windows_and_labels_are_those_of_es_aces(labelled, name):
    task, triggers = labelled[name]
    rows = only_labelled(triggers).collect()
    # In the order of the file, as es-aces tells them.
    windows = [w for w in ("history", "input", "stay", "gap", "target", "after")
               if w in {one.name for one in task.windows}]  # fmt: skip
    if name in MEDS:
        assert _figures(rows, windows, True) == MEDS[name]
    if name in PREDICATES:
        assert _figures(rows, windows, False) == PREDICATES[name]


def test_attrition_is_counted_at_every_step_and_adds_up(labelled):
    task, triggers = labelled[ASKED_TWICE]
    told = counted(steps(task), triggers)
    assert [step.name for step in told] == [
        "patient_demographics",
        "history: no start or end",
        "history: 1 <= labs",
        "stay: no start or end",
        "stay: discharge <= 0",
        "target: no start or end",
        "after: no start or end",
        "after: 2 <= _ANY_EVENT",
    ]
    assert told[-1].after == 44
    assert all(step.before - step.dropped == step.after for step in told)
    assert all(a.after == b.before for a, b in zip(told, told[1:], strict=False))
    assert sum(step.dropped for step in told) == told[0].before - 44
    assert told[0].dropped > 0 and told[2].dropped > 0


BOUNDED = """\
predicates:
  a: {{code: A}}
  b: {{code: B}}
trigger: a
windows:
  next:
    start: trigger
    end: start -> b
    start_inclusive: false
    end_inclusive: {inclusive}
    label: b
    index_timestamp: end
  last:
    start: end <- b
    end: trigger
    start_inclusive: {inclusive}
    end_inclusive: true
"""


@pytest.mark.parametrize(("inclusive", "hours"), [("true", (4, 4)), ("false", (6, 0))])
def test_an_event_at_the_same_moment_bounds_a_window_only_if_that_edge_is_inclusive(
    spark, tmp_path, inclusive, hours
):
    # B at 0, 4 and 6 o'clock, A at 4; es-aces 0.7.3 gives these edges and labels
    (tmp_path / "task.yaml").write_text(BOUNDED.format(inclusive=inclusive), encoding="utf-8")
    given = [
        (1, datetime(2024, 1, 1, hour), code, None)
        for hour, code in ((0, "B"), (4, "A"), (4, "B"), (6, "B"))
    ]
    task = read_task(tmp_path / "task.yaml", tmp_path)
    (row,) = label_triggers(task, spark.createDataFrame(given, EVENT)).collect()
    assert (row.index_at.hour, row.last_start_at.hour) == hours
    assert (row.label, row.dropped_by) == (0, None)


GOOD = """\
predicates:
  a: {code: A}
  b: {code: {regex: "B.*"}}
  ab: {expr: "or(a, b)"}
trigger: a
windows:
  w:
    start: trigger
    end: start + 2 days
    start_inclusive: true
    end_inclusive: true
    has: {b: "(None, 1)"}
    label: b
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trigger: a", "trigger: c", "task.yaml:5 the trigger 'c' is no predicate of this task"),
        ("(None, 1)", "(2, 1)", "task.yaml:12 b must be (least, most), e.g. (1, None)"),
        ("(None, 1)", "(None, None)", "task.yaml:12 b must be (least, most), e.g. (1, None)"),
        ("{b: ", "{c: ", "task.yaml:12 names 'c', which is no predicate of this task"),
        ("label: b", "label: c", "task.yaml:13 the label 'c' is no predicate of this task"),
        ("label: b", "labels: b", "task.yaml:13 has an unknown field 'labels'; known: end, "
         "end_inclusive, has, index_timestamp, label, start, start_inclusive"),
        ("start + 2 days", "start + 2 moons",
         "task.yaml:9 end must be like 'trigger + 24h' or 'end - 30 days'"),
        ("start + 2 days", "start - 2 days",
         "task.yaml:9 the window must start before it ends"),
        ("start + 2 days", "trigger + 2 days",
         "task.yaml:7 exactly one of start and end must refer to the other"),
        ("start: trigger", "start: x.end",
         "task.yaml:8 start refers to 'x.end', which is neither trigger nor an edge"),
        ("start: trigger", "start: w.end", "task.yaml:7 refers to itself in a circle"),
        ("start + 2 days", "start -> c",
         "task.yaml:9 end names 'c', which is no predicate of this task"),
        ("or(a, b)", "a + b", "task.yaml:4 expr must be and(a, b, ...) or or(a, b, ...)"),
        ("trigger: a", "trigger: ab\nextra: 1",
         "task.yaml:6 has an unknown field 'extra'; known: description, metadata, "
         "patient_demographics, predicates, trigger, windows"),
        ('{regex: "B.*"}', '{regex: "("}', "task.yaml:3 regex is no regular expression"),
        ("{code: A}", "{code: {like: A}}",
         "task.yaml:2 code must be a code, {regex: ...} or {any: [...]}"),
        ('or(a, b)"}\ntrigger: a', 'or(a, ab)"}\ntrigger: ab',
         "task.yaml:4 ab is derived from itself"),
        ("    start_inclusive: true\n", "", "task.yaml:7 needs the field 'start_inclusive'"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_read_is_refused_with_file_and_line(tmp_path, old, new, said):
    path = tmp_path / "task.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        read_task(path, tmp_path)
    assert str(refused.value) == said


def test_the_good_task_is_read(tmp_path):
    (tmp_path / "task.yaml").write_text(GOOD, encoding="utf-8")
    task = read_task(tmp_path / "task.yaml", tmp_path)
    assert (task.trigger, task.counted, list(task.predicates)) == ("a", ("b",), ["a", "b"])
    assert task.windows[0].end.seconds == 2 * 86400
