"""The trial report says what the tables say, shows nobody, and is one small file."""

import json
import re
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.pages import operation_sections, trial_sections
from clinical_lakehouse.pages.asking import Answer, Question
from clinical_lakehouse.pages.trial_questions import FIRST, OF_VERSION
from clinical_lakehouse.pages.trial_report import write_report
from clinical_lakehouse.rendering import figures
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops, silver
from tests.builders import rows
from tests.pages import made_up_trial
from tests.pages.made_up_trial import AS_OF

LINEAGE = [("patient-ingestion-land", ["ops.landing_file"], ["bronze.fhir_resource"])]


def _text(html: str) -> str:
    """The words of a page, markup and style left out, runs of spaces as one."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    plain = re.sub(r"<[^>]+>", " ", body).replace("&lt;", "<").replace("&#39;", "'")
    return re.sub(r"\s+", " ", plain)


@pytest.fixture(scope="module")
def filled(spark, tmp_path_factory) -> Lakehouse:
    """A lake with every table the report reads: 200 sites, 3 years."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("trial") / "lake")
    made_up_trial.fill(lake, people=2400, sites=200, months=36)
    return lake


def _report(lake: Lakehouse, name: str = "report") -> str:
    settings = load_settings("dev", environ={})
    out = write_report(lake, settings, AS_OF, "run-1", lake.root / f"{name}.html", lineage=LINEAGE)
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(filled) -> str:
    return _report(filled)


def test_same_tables_give_the_same_bytes(filled, page):
    assert _report(filled, "again") == page


def test_page_of_200_sites_and_3_years_stays_under_500_kilobytes(page):
    assert len(page.encode()) <= 500_000


def test_page_asks_no_network_and_runs_no_script(page):
    assert not re.search(r"<script|<link|<img|<iframe|@import|src=|javascript:", page)
    assert not [u for u in re.findall(r"https?://[^\s\"'<]+", page) if "w3.org/2000/svg" not in u]
    assert "default-src 'none'" in page


def test_no_treatment_arm_and_no_identifier_is_shown(page):
    assert "Canary" not in page
    assert not any(
        re.search(r"\barm\b", q.statement) for q in (*FIRST.values(), *OF_VERSION.values())
    )


def test_figures_are_those_of_the_tables(page):
    text = _text(page)
    assert "Subjects enrolled 2,400 at 200 sites" in text
    assert "Resources received 69,108 every one accounted for" in text
    assert "AUROC, held out 0.78 0.74 to 0.82; baseline 0.64" in text
    assert "Open alerts 2 2 firing" in text
    assert "missing-required 210" in text
    assert "Race: Asian Observed / expected 1.440 0.500 to 1.600 1.000 130 harm" in text
    assert "Reweighing sex 15.0% 0% −0.010 −0.010 refused" in text
    assert "Hazard ratio of dropout, per SD phq9 baseline 1.800 1.40 to 2.30 – 90 40" in text
    assert "Odd: Northgate Hospital." in text
    assert "AUROC 0.770 0.700 to 0.830 0.600 to 0.900 30%" in text
    assert "Enough people <11 at least 100 indeterminate" in text
    assert "Champion in use Net benefit at the threshold 0.050 0.030 0.020 −0.010 to 0.050" in text


def test_every_figure_names_its_time_its_run_and_its_statement(page):
    sources = re.findall(r'<details class="source">(.*?)</details>', page, re.DOTALL)
    assert len(sources) > 12
    for source in sources:
        assert "As of 30 Jun 2024 12:00 UTC, run run-1." in source
        assert re.search(r"<pre>SELECT", source)


def test_each_chart_has_its_figures_as_a_table_and_a_name(page):
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) >= 10
    for figure in figures:
        assert re.search(r'<svg role="img" aria-label="[^"]+"', figure)
        assert re.search(r'<details class="figures">.*<td', figure, re.DOTALL)


def test_group_of_seven_people_has_no_figures(page):
    cells = re.findall(r"<tr><td[^>]*>Race: Other Race</td>(.*?)</tr>", page, re.DOTALL)
    assert len(cells) == 4
    assert all(_text(row).split()[-4:] == ["–", "–", "<11", "<11"] for row in cells)
    assert all("Other Race" not in svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL))


def test_windows_over_their_limit_are_marked(filled, page):
    over = filled.query("SELECT count(*) AS n FROM gold.model_metric WHERE is_over_limit")
    number = over.collect()[0].n
    assert number > 3
    assert page.count(">over limit</span>") == number


def test_lake_without_tables_says_what_makes_them(lake):
    text = _text(_report(lake))
    assert "No study is in the lake yet" in text
    for job in ("patient_ingestion", "data_quality", "model_evaluation"):
        assert f"clinical-lakehouse run {job}" in text
    assert "ops.landing_file is not made yet" in text
    assert "Nothing is known to need a person" in text


def test_site_with_few_people_is_hidden_and_cannot_be_worked_out(lake):
    lake.append(silver.ORGANIZATION, rows(lake, silver.ORGANIZATION,
        {"organization_key": 1, "name": "Large"}, {"organization_key": 2, "name": "Small"},
        {"organization_key": 3, "name": "Middle"}))  # fmt: skip
    at = datetime(2024, 1, 5, tzinfo=UTC)
    subjects = [
        {"research_subject_key": 100 * site + n, "organization_key": site, "started_at": at,
         "status": "withdrawn" if n < left else "on-study"}
        for site, number, left in ((1, 60, 25), (2, 6, 1), (3, 30, 12)) for n in range(number)
    ]  # fmt: skip
    lake.append(silver.SUBJECT, rows(lake, silver.SUBJECT, *subjects))
    html = _report(lake)
    found = re.findall(r"<tr><td[^>]*>(Large|Small|Middle)</td>(.*?)</tr>", html, re.DOTALL)
    row = {name: _text(cells).split() for name, cells in found}
    assert row["Large"] == ["60", "35", "25", "41.7%"]
    assert row["Small"] == ["<11", "<11", "<11", "–"]
    assert row["Middle"] == ["–", "–", "–", "–"]
    assert "Small" not in "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))


def test_site_name_that_is_markup_stays_text(lake):
    name = '<script>alert(1)</script> & "Sons"'
    lake.append(silver.ORGANIZATION, rows(lake, silver.ORGANIZATION,
                                          {"organization_key": 1, "name": name}))  # fmt: skip
    at = datetime(2024, 1, 5, tzinfo=UTC)
    subjects = [{"research_subject_key": n, "organization_key": 1, "status": "on-study",
                 "started_at": at.replace(day=1 + n)} for n in range(20)]  # fmt: skip
    lake.append(silver.SUBJECT, rows(lake, silver.SUBJECT, *subjects))
    html = _report(lake)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;Sons&#34;" in html


def _answer(*given: dict, job: str = "job") -> Answer:
    return Answer(Question(job, "SELECT 1"), given, {})


def _needs(**answers: Answer) -> str:
    parts = ("alerts", "tasks", "gates", "received", "quality")
    section = operation_sections.needs_a_person(*(answers.get(p, _answer()) for p in parts))
    return " ".join(f"{n.tone}:{n.title} {n.text}" for n in section.blocks[0].notices)


def test_what_needs_a_person_comes_worst_first():
    task = {"job": "j", "task": "t", "state": "failed", "message": "no disk", "attempt": 2,
            "recorded_at": AS_OF}  # fmt: skip
    gate = {"model_version": 3, "is_passed": False, "reason": "AUROC 0.6 is below 0.65."}
    lost = {"resource_type": "Patient", "received_count": 9, "loaded_count": 7,
            "duplicate_count": 1, "quarantined_count": 0}  # fmt: skip
    said = _needs(tasks=_answer(task), gates=_answer(gate), received=_answer(lost))
    assert said.startswith("bad:j.t failed. No disk.")
    assert "bad:Patient does not add up." in said
    assert said.endswith("watch:Model version 3 was refused. AUROC 0.6 is below 0.65.")
    assert _needs() == "good:Nothing needs a person. No open alert, no failed task."


def test_words_a_task_returned_are_not_shown():
    metrics = json.dumps({"rows": 1200, "outcome": "Jane Doe", "auroc": 0.8, "flag": True})
    assert operation_sections._metrics(metrics) == "rows 1,200, auroc 0.800"
    assert operation_sections._metrics("no json") == ""


def test_quality_score_is_the_one_that_is_kept_and_alerts(page):
    given = [{"table_name": "a", "score": 0.9}, {"table_name": "a", "score": 0.9}]
    assert trial_sections.scores(given) == {"a": 0.9}
    # omop.measurement: three error checks (2) and a warning (1), of which 1,000 and 20 rows fail.
    assert figures.percent((2 + 2 + (1 - 20 / 4000) + 2 * 0.75) / 7, 2) in _text(page)


def test_version_in_use_is_the_one_that_scored_last(filled, page):
    assert "Champion model v2" in _text(page)
    assert ops.ALERT.name in page
