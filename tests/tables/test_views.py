"""Silver's contracts come from its views; a view that could let an identifier out is refused."""

import json

import pytest

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Phi
from clinical_lakehouse.tables.views import Step, silver_views, views_of

OWN = "clinical-lakehouse/"
KEY = {"name": "goal_key", "path": "getResourceKey()", "tag": [{"name": f"{OWN}key", "value": "x"}]}
PERSON = {"name": "subject_key", "path": "subject.getReferenceKey(Patient)"}


def goal(*columns, **more):
    """A view of Goal with its key, its person and these columns; each gets what it may lack."""
    given = {"type": "id", "description": "What it is."}
    listed = [{**given, **column} for column in (KEY, PERSON, *columns)]
    head = {"name": "goal", "resource": "Goal", "description": "One row per goal."}
    return {**head, "select": [{"column": listed}], **more}


def tagged(step, **column):
    return {**column, "tag": [{"name": f"{OWN}deidentify", "value": step}]}


def made(folder, document):
    file = folder / "goal.json"
    file.write_text(json.dumps(document))
    (view,) = views_of([file])
    return view


STATUS = {"name": "status", "path": "lifecycleStatus", "type": "code"}
START = {"name": "start_date", "path": "start.ofType(date)", "type": "date"}


def test_contract_has_the_views_columns_types_and_classes(tmp_path):
    unit = {"name": "ucum/unit", "value": "mg"}
    amount = {"name": "amount", "path": "x", "type": "decimal", "tag": [unit]}
    table = made(tmp_path, goal(STATUS, START, amount)).table
    assert (table.name, table.key) == ("silver.goal", ("goal_key",))
    assert table.comment == "One row per goal."
    assert [(c.name, c.type, c.nullable, c.phi, c.unit) for c in table.columns] == [
        ("goal_key", "BIGINT", False, Phi.PSEUDONYM, None),
        ("subject_key", "BIGINT", False, Phi.PSEUDONYM, None),
        ("status", "STRING", True, Phi.NONE, None),
        ("start_date", "DATE", True, Phi.PSEUDONYM, None),
        ("amount", "DOUBLE", True, Phi.NONE, "mg"),
    ]


def test_owner_clustering_retention_and_checks_come_from_the_view(tmp_path):
    tags = [
        {"system": f"{OWN}owner", "code": "safety"},
        {"system": f"{OWN}cluster-by", "code": "subject_key"},
        {"system": f"{OWN}retention-days", "code": "30"},
    ]
    checked = [
        {"name": f"{OWN}between", "value": "0..500"},
        {"name": f"{OWN}not-after", "value": "amount"},
        {"name": f"{OWN}refers-to", "value": "silver.goal"},
        {"name": f"{OWN}one-of", "value": "1|2"},
    ]
    amount = {"name": "amount", "path": "x", "type": "decimal", "tag": checked}
    table = made(tmp_path, goal(amount, meta={"tag": tags})).table
    assert (table.owner, table.cluster_by, table.retention_days) == ("safety", ("subject_key",), 30)
    assert {check.name for check in table.checks} == {
        "amount_between_0_0_and_500_0",
        "amount_not_after_amount",
        "amount_in_goal",
        "amount_is_one_of",
    }


def test_a_dropped_column_is_not_in_the_table(tmp_path):
    text = tagged("drop", name="text", path="description.text", type="string")
    view = made(tmp_path, goal(text))
    assert view.steps["text"] is Step.DROP
    assert "text" not in view.table.column_names


REFUSED = [
    (goal({"name": "a", "path": "description.text", "type": "string"}), "may hold an identifier"),
    (goal({"name": "a", "path": "identifier.value", "type": "id"}), "may hold an identifier"),
    (goal(tagged("kep", name="a", path="b", type="string")), "no step 'kep'"),
    (goal(tagged("keep", **START)), "a person's dates are shifted; remove the step 'keep'"),
    (goal(tagged("scrub", **START)), "dates are shifted"),
    (goal(tagged("keep", **{**PERSON, "name": "a"})), "an id becomes a surrogate key"),
    (goal(tagged("shift-date", **STATUS)), "fits neither"),
    (goal({"name": "a", "path": "x.getReferenceKey(Patient)"}), "only the resource's own person"),
    (goal({"name": "a", "path": "x.getReferenceKey()"}), "name the type"),
    (goal({"name": "a", "path": "b", "type": "colour"}), "give `type`"),
    (goal({**STATUS, "description": ""}), "give `description`"),
    (goal({**STATUS, "tag": [{"name": f"{OWN}phi", "value": "direct"}]}), "must be none"),
    (goal({**STATUS, "tag": [{"name": "ansi/type", "value": "BLOB"}]}), "no type Spark has"),
    (goal({**START, "collection": True}), "kept as they are"),
    (goal({**STATUS, "tag": [{"name": f"{OWN}refers-to", "value": "silver.x"}]}), "no such view"),
    ({**goal(), "select": [{"column": goal()["select"][0]["column"][:1]}]}, "the person"),
    ({**goal(), "select": [{**goal(STATUS)["select"][0], "forEach": "target"}]}, "several rows"),
    ({**goal(), "name": "a b"}, "letters, digits"),
    (goal({**STATUS, "tag": [{"name": f"{OWN}between", "value": "0-5"}]}), "must be like 0..500"),
    (goal(meta={"tag": [{"system": f"{OWN}retention-days", "code": "x"}]}), "no ViewDefinition"),
    (goal(meta={"tag": [{"system": f"{OWN}cluster-by", "code": "x"}]}), "unknown column"),
    ({"select": 5}, "is no ViewDefinition"),
    ({**goal(), "select": [{"column": goal()["select"][0]["column"][1:]}]}, "getResourceKey"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_view_that_could_let_something_out_is_refused_in_one_line(tmp_path, document, said):
    with pytest.raises(UsageError, match=said) as refused:
        made(tmp_path, document)
    assert str(refused.value).startswith("goal.json") and "\n" not in str(refused.value)


def test_two_views_of_one_table_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(goal()))
    with pytest.raises(UsageError, match=r"b.json: another view makes silver.goal"):
        views_of(sorted(tmp_path.glob("*.json")))


def test_branches_of_a_union_must_agree_on_a_columns_step(tmp_path):
    other = tagged("keep", name="status", path="description.text", type="string")
    union = [{"column": [{"description": "x", **c}]} for c in (STATUS, other)]
    document = goal()
    document["select"].append({"unionAll": union})
    with pytest.raises(UsageError, match="differs in two branches"):
        made(tmp_path, document)


def test_observation_rows_are_keyed_by_resource_and_component():
    table = silver.OBSERVATION
    assert table.key == ("observation_key", "component_index")
    types = {c.name: c.type for c in table.columns}
    assert types["effective_at"] == "TIMESTAMP" and types["value_number"] == "DOUBLE"
    assert types["component_index"] == "INT" and types["has_value"] == "BOOLEAN"
    assert [check.name for check in table.checks] == ["subject_key_in_patient"]


def test_no_silver_column_is_a_direct_identifier_and_every_person_is_a_key():
    views = silver_views()
    assert len(views) >= 21
    for view in views:
        assert {c.phi for c in view.table.columns} <= {Phi.NONE, Phi.PSEUDONYM, Phi.QUASI}
        dates = [c for c in view.table.columns if c.type in ("DATE", "TIMESTAMP")]
        if view.is_personal:
            assert all(c.phi is Phi.PSEUDONYM for c in dates), view.table.name
