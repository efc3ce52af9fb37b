"""Each row asked gives one row, with what had happened and was known by then, and nothing else.

Random events and moments, judged by tests/features/slow_features.py, which shares no code with the
engine.
"""

import random
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from clinical_lakehouse.features.groups import read_group
from clinical_lakehouse.features.point_in_time import as_columns, as_maps, point_in_time
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.gold_feature_store import FEATURE_EVENT
from tests.builders import rows
from tests.features.slow_features import slow_features

START = datetime(2024, 1, 1, tzinfo=UTC)
NUMERIC = ["latest", "first", "count", "mean", "min", "max", "slope", "sd", "days_since"]
DECLARED = {
    "group": "all",
    "owner": "o",
    "meaning": "Every aggregation of every kind of source.",
    "features": {
        "a": {"source": "lab", "codes": ["A"], "unit": "mg", "plausible": [0, 50],
              "normal": [5, 20], "windows": ["10d", "30d", "ever"], "meaning": "m",
              "aggregations": [*NUMERIC, "days_abnormal"]},
        "ab": {"source": "lab", "codes": ["A", "B"], "unit": "mg", "windows": ["20d"],
               "aggregations": ["trend_change", "missing_ratio", "mean"], "meaning": "m"},
        "drug": {"source": "drug", "codes": ["D"], "windows": ["30d", "ever"], "meaning": "m",
                 "aggregations": ["is_active", "exposure_days", "count", "missing_ratio"][:3]},
        "visit": {"source": "visit", "windows": ["30d"], "meaning": "m",
                  "aggregations": ["adherence", "count", "days_since"]},
    },
}  # fmt: skip


def _moment(chance, days):
    """A moment of the first `days`; often one of a few, so that there are ties."""
    hours = chance.choice((0, 12)) if chance.random() < 0.5 else chance.random() * 24
    return START + timedelta(days=chance.randrange(days), hours=hours)


def _made_events(chance):
    made = [_person(subject, START) for subject in (1, 2, 3)]
    made.append({**_person(4, START), "known_until": START + timedelta(days=40)})
    for key in range(400):
        source = chance.choice(("lab", "lab", "lab", "drug", "visit"))
        at = None if chance.random() < 0.03 else _moment(chance, 70)
        known = START + timedelta(days=chance.choice((0, 20, 40, 60)))
        until = None if chance.random() < 0.7 else known + timedelta(days=chance.choice((0, 15)))
        event = {"source": source, "record_key": key, "content_hash": 0, "event_at": at,
                 "subject_key": chance.choice((1, 1, 2, 2, 3, 4, 5)), "known_from": known,
                 "known_until": until, "code": chance.choice(("A", "A", "B", None)),
                 "end_at": None, "value": None, "unit": None, "why_no_value": None}  # fmt: skip
        made.append({**event, **_content(chance, source, at)})
    return made


def _person(subject, known_from):
    return {"source": "person", "record_key": subject, "content_hash": 0, "subject_key": subject,
            "event_at": None, "known_from": known_from, "known_until": None}  # fmt: skip


def _content(chance, source, at):
    if source == "drug":
        lasting = timedelta(days=chance.choice((-1, 0, 1, 3, 30)), hours=chance.choice((0, 5)))
        end = None if at is None or chance.random() < 0.1 else at + lasting
        return {"code": chance.choice(("D", "D", "E")), "end_at": end}
    if source == "visit":
        return {"value": float(chance.random() < 0.7)}
    if chance.random() < 0.1:
        return {"unit": "", "why_no_value": chance.choice(("no-value", "unit-unknown"))}
    value = chance.choice((4.0, 5.0, 20.0, 20.1, 60.0, round(chance.random() * 30, 3)))
    return {"value": value, "unit": chance.choice(("mg", "mg", "mg", "mg", "g"))}


def _made_questions(chance):
    asked = [(chance.choice((1, 2, 3, 4, 5, 6)), _moment(chance, 90), _moment(chance, 90))
             for _ in range(120)]  # fmt: skip
    asked += asked[:10]  # repeated keys
    asked += [(None, START, START), (1, None, START), (1, START, None), (None, None, None)] * 2
    return [(number, *one) for number, one in enumerate(asked)]


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A group with every aggregation."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "all.yml").write_text(yaml.safe_dump(DECLARED, sort_keys=False))
    return read_group(folder / "all.yml", folder)


@pytest.fixture(scope="module")
def answered(spark, tmp_path_factory, group):
    """Events, questions, and the engine's answers: as maps and as columns, by question."""
    chance, lake = random.Random(20240630), Lakehouse(spark, tmp_path_factory.mktemp("pit"))
    made, asked = _made_events(chance), _made_questions(chance)
    events = rows(lake, FEATURE_EVENT, *made)
    kinds = "question INT, subject_key BIGINT, at TIMESTAMP, known_at TIMESTAMP"
    found = point_in_time(spark.createDataFrame(asked, kinds), events, group).localCheckpoint()
    maps = {row["question"]: row.asDict() for row in as_maps(found, group).collect()}
    columns = {row["question"]: row.asDict() for row in as_columns(found, group).collect()}
    return made, asked, [row["question"] for row in found.collect()], maps, columns


def test_each_row_asked_gives_one_row_with_repeated_and_null_keys_and_ties(answered):
    _, asked, questions, _, _ = answered
    assert sorted(questions) == [number for number, *_ in asked]


def test_every_value_and_reason_is_what_plain_python_finds(answered, group):
    made, asked, _, maps, columns = answered
    seen = set()
    for number, *question in asked:
        row, expected = maps[number], slow_features(group, made, *question)
        for name, (value, why) in expected.items():
            told = (row["feature_values"][name], row["null_reasons"].get(name))
            assert told == (pytest.approx(value, abs=2e-6), why), (name, question)
            assert columns[number][name] == row["feature_values"][name]
            seen.add(why)
    assert seen >= {None, "never", "outside-window", "too-few", "no-value", "unit-unknown",
                    "implausible", "no-subject", "no-time", "not-consented"}  # fmt: skip


def test_repeated_questions_have_the_same_answers(answered):
    maps = answered[3]
    for number in range(10):
        one, other = maps[number], maps[120 + number]
        assert {**one, "question": 0} == {**other, "question": 0}
