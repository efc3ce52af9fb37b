"""Each notebook runs on a filled lake, imports and shows, and defines nothing."""

import ast
from pathlib import Path

import pytest

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION
from clinical_lakehouse.tables.gold_monitoring import PERFORMANCE_VERDICT
from tests.builders import rows
from tests.pages import made_up_trial

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.py"))
SHOWN = {
    "01_explore_lake": "explore_lake.html",
    "02_model_review": "model_review.html",
    "03_model_monitoring": "model_monitoring.html",
}


@pytest.fixture(scope="module")
def trial(spark, tmp_path_factory) -> Lakehouse:
    """A small lake that has what the notebooks show."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("notebooks") / "lake")
    made_up_trial.fill(lake, people=60)
    people = [{"subject_key": n, "sex": "female", "birth_year": 1960} for n in range(12)]
    lake.append(silver.PATIENT, rows(lake, silver.PATIENT, *people))
    values = [
        {"observation_key": n, "subject_key": n, "component_index": 0, "code": "4548-4",
         "display": "HbA1c", "unit_code": "%", "value_number": 6.0 + n / 10}
        for n in range(12)
    ]  # fmt: skip
    lake.append(silver.OBSERVATION, rows(lake, silver.OBSERVATION, *values))
    model = {"model_name": "dropout_risk", "model_version": 1, "to_version": 1}
    found = {"verdict": "intervention", "row_count": 40, "treated_count": 12, "due_count": 40}
    for table, given in ((MODEL_PROMOTION, {"promotion_number": 1, "reason": "CR-12"}),
                         (PERFORMANCE_VERDICT, found)):  # fmt: skip
        known = {k: v for k, v in {**model, **given}.items() if k in table.column_names}
        lake.append(table, rows(lake, table, known))
    return lake


def test_notebooks_are_those_that_are_tested():
    assert [path.stem for path in NOTEBOOKS] == list(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_in_source_format_and_defines_nothing(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Databricks notebook source\n# MAGIC %md\n")
    assert text.count("\n# COMMAND ----------\n") >= 6
    defined = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, defined)]
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_the_lake(path, trial, monkeypatch, capsys):
    monkeypatch.setenv("CLINICAL_LAKE_ROOT", str(trial.root))
    monkeypatch.delenv("CLINICAL_CATALOG", raising=False)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "notebook"})
    said = capsys.readouterr().out
    wanted = {
        "01_explore_lake": ("silver.subject", "HbA1c", "6.5", "1960"),
        "02_model_review": ("gradient boosting", "auroc", "0.782", "prediction_psi", "firing"),
        "03_model_monitoring": ("version 1 is in use", "CR-12", "intervention"),
    }
    assert not [word for word in wanted[path.stem] if word not in said]
    page = (trial.root / "reports" / SHOWN[path.stem]).read_text(encoding="utf-8")
    assert "<svg" in page or path.stem == "03_model_monitoring"  # one window is no line
    assert made_up_trial.ARM not in said + page


def test_notebook_shows_its_page_where_databricks_can(trial, monkeypatch):
    monkeypatch.setenv("CLINICAL_LAKE_ROOT", str(trial.root))
    shown: list[str] = []
    path = next(p for p in NOTEBOOKS if p.stem == "02_model_review")
    exec(
        compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"displayHTML": shown.append}
    )
    assert len(shown) == 1 and shown[0].startswith("<!doctype html>")
