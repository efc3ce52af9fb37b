"""The page of quality stays small with 3,000 checks and a year of runs, and says what is so."""

from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.pages import quality_page as page_module
from clinical_lakehouse.pages.asking import Answer
from clinical_lakehouse.pages.quality_page import quality_page, write_quality_page
from clinical_lakehouse.pages.quality_sections import steps
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.tables import ops, ops_quality
from tests.builders import rows

AT = datetime(2024, 6, 30, 4, tzinfo=UTC)
CHECKS, RUNS, TABLES, SITES = 3000, 365, 150, 120
MOST_BYTES = 500_000
_KEYS = ['{"observation_key":1234567890123456789,"component_index":3}'] * 5
_VALUES = {"run": "r0", "until": "2024-06-30 04:00:00", "since": "2023-06-28 04:00:00"}


def _check(number):
    """A failing check with names as long as names are."""
    return {
        "table_name": f"silver.a_table_of_a_long_name_{number % TABLES:03}",
        "check_name": f"a_check_whose_name_says_what_a_good_row_does_{number:04}",
        "severity": ("fatal", "error", "warn")[number % 3], "kind": "cross_field",
        "category": "plausibility", "state": "failed", "row_count": 1_000_000,
        "failed_count": number, "passed_ratio": 1 - number / 1e6, "max_failed_ratio": 0.0,
        "owner": "data-engineering", "rule_version": "0123456789ab", "sample_keys": _KEYS,
        "all_count": CHECKS, "measured": 1.5, "against": None, "low": 0.0, "high": 1.0,
        "detail": "new: colour", "dimension": "table", "slice": "silver.a_table", "value": 0.5,
        "usual": 0.1, "spread": 0.01, "point_count": 80,
    }  # fmt: skip


def _answers():
    """What the questions give for the largest lake: as many rows as each of them lets through."""
    days = [AT - timedelta(days=n) for n in range(RUNS)][::-1]
    places = [("table", f"silver.a_table_of_a_long_name_{n:03}") for n in range(TABLES)]
    places += [("site", f"{7_000_000_000_000_000_000 + n}") for n in range(SITES)]
    found = {
        "scores": [{"dimension": d, "slice": s, "score": 0.9, "check_count": 20,
                    "failed_check_count": 20} for d, s in places],
        "states": [{"category": "plausibility", "kind": f"kind_{k}", "state": "failed",
                    "check_count": CHECKS // 13} for k in range(13)],
        "failing": [_check(n) for n in range(40)],
        "whole": [_check(n) for n in range(80)],
        "steps": [_check(n) for n in range(60)],
        "runs": [{"run_count": RUNS}],
        "history": [{"dimension": d, "slice": s, "day": day, "score": 0.9}
                    for d, s in (("table", "All tables"), *places[TABLES:]) for day in days],
        "trends": [{"table_name": "silver.a_table", "check_name": f"check_{n}", "day": day,
                    "failed_ratio": 0.01} for n in range(6) for day in days],
        "open": [{"owner": f"owner-{n}", "severity": "error", "row_count": 9, "oldest_at": AT,
                  "check_count": 9} for n in range(60)],
    }  # fmt: skip
    questions = page_module._QUESTIONS
    return {name: Answer(questions[name], tuple(given), _VALUES) for name, given in found.items()}


def test_every_answer_at_its_largest_makes_a_page_of_at_most_500_kb():
    answers = _answers()
    assert set(answers) == set(page_module._QUESTIONS)
    page = render(quality_page({"run_id": "r0", "checked_at": AT}, answers, 0.95))
    assert 100_000 < len(page) <= MOST_BYTES
    assert b"2,960 more fail" in page


@pytest.mark.parametrize(
    ("ran", "said"), [(0, "0 so far"), (8, "8 so far"), (9, "Nothing left its usual range")]
)
def test_no_step_after_too_few_runs_is_no_good_news(ran, said):
    questions = page_module._QUESTIONS
    none = Answer(questions["steps"], (), _VALUES)
    section = steps(none, Answer(questions["runs"], ({"run_count": ran},), _VALUES))
    (notice,) = section.blocks[0].notices
    assert said in notice.title and (notice.tone == "good") == (ran == 9)


@pytest.mark.soak
def test_a_year_of_3000_checks_in_delta_is_a_page_of_at_most_500_kb(spark, tmp_path, run):
    """1.1 million results of checks, as the job would have kept them."""
    lake, n, day = run.lake, F.col("id") % CHECKS, F.floor(F.col("id") / CHECKS)
    run_id, at = F.concat(F.lit("r"), day), F.lit(AT) - F.make_interval(days=day.cast("int"))
    known = {
        "run_id": run_id, "checked_at": at, "table_name": F.concat(F.lit("silver.t"), n % TABLES),
        "check_name": F.concat(F.lit("check_"), n), "severity": F.lit("error"),
        "state": F.when(n % 3 == 0, "failed").otherwise("passed"), "kind": F.lit("validity"),
        "category": F.lit("conformance"), "row_count": F.lit(1000), "failed_count": n % 3,
        "passed_ratio": F.lit(0.9), "max_failed_ratio": F.lit(0.0), "rule_version": F.lit("v"),
        "owner": F.lit("data-engineering"),
    }  # fmt: skip
    table = ops.QUALITY_RESULT
    columns = [known.get(c.name, F.lit(None)).cast(c.type).alias(c.name) for c in table.columns]
    lake.append(table, spark.range(CHECKS * RUNS).select(*columns))
    scores = [
        {"run_id": f"r{d}", "dimension": kind, "slice": f"{kind}{n}", "score": 0.9,
         "check_count": 20, "failed_check_count": 7, "checked_at": AT - timedelta(days=d)}
        for d in range(RUNS) for kind, many in (("table", 20), ("site", 20)) for n in range(many)
    ]  # fmt: skip
    lake.append(ops_quality.QUALITY_SCORE, rows(lake, ops_quality.QUALITY_SCORE, *scores))
    page = write_quality_page(lake, 0.95, tmp_path / "page.html").read_bytes()
    assert len(page) <= MOST_BYTES
    assert b"check_0" in page and b"960 more fail" in page
