"""The dashboard of Databricks asks what the lake can answer, and shows what was asked."""

import json

import pytest

from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.conf import conf_dir
from tests.builders import rows

FILE = conf_dir() / "bundle" / "dashboards" / "model_monitoring.lvdash.json"
WHOLE = json.loads(FILE.read_text(encoding="utf-8"))
DATASETS = {one["name"]: "".join(one["queryLines"]) for one in WHOLE["datasets"]}
PLACED = [(page["name"], one) for page in WHOLE["pages"] for one in page["layout"]]
WIDGETS = [one["widget"] for _, one in PLACED]
# Versions of the specification as AI/BI dashboards are exported.
VERSIONS = {"line": 3, "bar": 3, "table": 1, "filter-single-select": 2}


def _queries():
    return [q["query"] for widget in WIDGETS for q in widget.get("queries", ())]


@pytest.fixture
def answers(lake):
    """Column names of each dataset's answer on a lake with one row a table, and the rows."""
    for name, table in all_tables().items():
        if any(f"{name}\n" in text or f"{name} " in text for text in DATASETS.values()):
            given = {c.name: 20 for c in table.columns if c.name in ("row_count", "person_count")}
            lake.append(table, rows(lake, table, {"value": 0.5, "state": "drift", **given}
                                    if "value" in table.column_names else
                                    {"state": "drift", **given}
                                    if "state" in table.column_names else given))  # fmt: skip
    return {name: lake.query(text) for name, text in DATASETS.items()}


def test_every_question_is_answered_by_the_lake_and_every_field_is_among_the_answers(answers):
    for query in _queries():
        columns = answers[query["datasetName"]].columns
        for field in query["fields"]:
            assert field["name"] in (*columns, "model_name_associativity")
    assert all(len(found.collect()) == 1 for found in answers.values())


def test_every_encoding_shows_a_field_that_is_asked_for():
    for widget in WIDGETS:
        if "spec" not in widget:
            continue
        spec = widget["spec"]
        assert spec["version"] == VERSIONS[spec["widgetType"]], widget["name"]
        asked = {f["name"] for q in widget["queries"] for f in q["query"]["fields"]}
        encodings = spec["encodings"]
        shown = [encodings[axis] for axis in ("x", "y", "color") if axis in encodings]
        shown += encodings.get("columns", []) + encodings.get("fields", [])
        assert shown and {one["fieldName"] for one in shown} <= asked


def test_the_model_is_chosen_once_for_all_questions():
    (chosen,) = [w for w in WIDGETS if w.get("spec", {}).get("widgetType", "").startswith("filter")]
    assert {q["query"]["datasetName"] for q in chosen["queries"]} == set(DATASETS)


def test_widgets_lie_side_by_side_on_a_grid_of_six():
    taken = set()
    for page, one in PLACED:
        place = one["position"]
        cells = {
            (page, place["x"] + right, place["y"] + down)
            for right in range(place["width"])
            for down in range(place["height"])
        }
        assert place["x"] + place["width"] <= 6
        assert not cells & taken, one["widget"]["name"]
        taken |= cells
    names = [widget["name"] for widget in WIDGETS]
    assert len(names) == len(set(names))


def test_small_groups_are_not_shown():
    for name in ("performance", "groups", "verdicts", "drift", "fairness"):
        assert ">= 11" in DATASETS[name]
