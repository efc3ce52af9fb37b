"""A server answers as batch does, by the version in use alone; a rollback takes effect at once."""

import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
import uvicorn

from clinical_lakehouse.errors import ModelError, UsageError
from clinical_lakehouse.local.answer_log import AnswerLog
from clinical_lakehouse.local.serving import Server, Shelf, application, serve
from clinical_lakehouse.methods.lots import is_held_out
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.gold_deployment import SERVED_ANSWER
from clinical_lakehouse.training.canary import bucket_of
from clinical_lakehouse.training.canary_rows import bucket
from clinical_lakehouse.training.families import FAMILIES
from clinical_lakehouse.training.inputs import as_inputs
from clinical_lakehouse.training.promotion import Decider, promotion_row
from clinical_lakehouse.training.scoring import predictions
from clinical_lakehouse.training.serving_log import collect
from tests.builders import rows

NAME, PEOPLE = "dropout_risk", 1000
ANA = Decider("ana", "ml_lead", "responsibility", "Because.")


def _people():
    """1,000 people with blanks in every input, and a category the models never saw."""
    draws = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "age_years": draws.normal(60, 10, PEOPLE),
            "hba1c_latest": draws.normal(7, 1, PEOPLE),
            "sex": draws.choice(["male", "female"], PEOPLE),
        }
    ).astype({"sex": object})
    rows.loc[draws.random(PEOPLE) < 0.1, "hba1c_latest"] = np.nan
    rows.loc[draws.random(PEOPLE) < 0.1, "sex"] = None
    outcome = draws.random(PEOPLE) < 1 / (1 + np.exp(-(rows.age_years - 60) / 10))
    trained = rows.copy()
    rows.loc[draws.random(PEOPLE) < 0.05, "sex"] = "other"
    return trained, outcome, rows


TRAINED, OUTCOME, ROWS = _people()


class Broken:
    """A version that fails whatever it is asked."""

    def predict_proba(self, inputs):
        raise RuntimeError("patient 4711")


@pytest.fixture(scope="module")
def registry(spark, tmp_path_factory):
    """A lake with two registered versions of different families."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("served") / "lake")
    run = Run(lake, load_settings("dev", environ={}), datetime(2024, 6, 30, tzinfo=UTC), "test")
    build = {family.name: family.build for family in FAMILIES}
    boosted = {"learning_rate": 0.1, "max_iter": 20, "max_leaf_nodes": 4}
    boosted |= {"min_samples_leaf": 20, "l2_regularization": 1.0}
    for name, params in (("logistic_all", {"C": 1.0}), ("gradient_boosting", boosted)):
        model = build[name](list(TRAINED.columns), params, 0).fit(TRAINED, OUTCOME)
        tracking.register(run, NAME, name, tracking.Trained(model, TRAINED, {}, {}))
    return run


@pytest.fixture
def run_with_versions(registry):
    """The first version is in use, no canary is open, nothing has been answered."""
    _put_in_use(registry, None, 1)
    collect.execute(registry)
    registry.lake.replace(SERVED_ANSWER, rows(registry.lake, SERVED_ANSWER))
    return registry


def _put_in_use(run, was, now, action="promoted"):
    last = tracking.last_promotion(run, NAME)
    promotions.record(run, promotion_row(NAME, action, (was, now), last, ANA))


@pytest.fixture
def server(run_with_versions):
    made = Server(Shelf(run_with_versions.lake.root), NAME, AnswerLog(run_with_versions.lake.root))
    yield made
    made.log.close()


@pytest.fixture
def ask(server):
    """Asks the server over HTTP on 127.0.0.1; status and answer."""
    running = uvicorn.Server(uvicorn.Config(application(server), port=0, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        thread.join(0.02)
    port = running.servers[0].sockets[0].getsockname()[1]

    def ask(given, path="invocations"):
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        request = Request(f"http://127.0.0.1:{port}/{path}", body if path != "ping" else None)
        try:
            with urlopen(request) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    yield ask
    running.should_exit = True
    thread.join(10)


def _records(rows):
    return json.loads(rows.to_json(orient="records", double_precision=15))


def _risks(answer):
    return [one["risk"] for one in answer["predictions"]]


def _versions_of(answer):
    return {one["model_version"] for one in answer["predictions"]}


def test_batch_and_server_give_1000_subjects_the_same_risk(run_with_versions, ask):
    run = run_with_versions
    keyed = ROWS.assign(research_subject_key=range(PEOPLE), index_date=datetime(2024, 1, 1).date())
    keyed = keyed.assign(feature_version="v1", organization_key=1)
    schema = "age_years DOUBLE, hba1c_latest DOUBLE, sex STRING, research_subject_key BIGINT, "
    schema += "index_date DATE, feature_version STRING, organization_key BIGINT"
    frame = run.lake.spark.createDataFrame(keyed, schema)
    for number in (1, 2):
        _put_in_use(run, None, number)
        version = {"model_name": NAME, "model_version": number}
        model, kinds = tracking.load_version(run.lake, NAME, number)
        made = predictions(frame, model, kinds, version, run.as_of).toPandas()
        batch = made.sort_values("research_subject_key").score.to_numpy()
        status, answer = ask({"dataframe_records": _records(ROWS[ROWS.columns[::-1]])})
        assert (status, _versions_of(answer)) == (200, {number})
        np.testing.assert_allclose(_risks(answer), batch, rtol=0, atol=1e-9)
        assert len(set(batch)) > 20


def test_after_a_rollback_none_of_1000_requests_is_answered_by_the_bad_version(
    run_with_versions, server
):
    _put_in_use(run_with_versions, 1, 2)
    assert _versions_of(server.answer(ROWS[:3])) == {2}  # warm, and with the bad version loaded
    _put_in_use(run_with_versions, 2, 1, "rolled_back")
    asked = [server.answer(ROWS[place : place + 1]) for place in range(PEOPLE)]
    assert set().union(*map(_versions_of, asked)) == {1}


def test_a_canary_answers_its_share_of_the_subjects_and_each_always_by_one_version(
    run_with_versions, server
):
    tracking.shadow_canary(run_with_versions, NAME, 2, 0.25)
    keyed = ROWS.assign(research_subject_key=range(PEOPLE))
    first, again = (server.answer(keyed)["predictions"] for _ in range(2))
    assert first == again
    taken = [one["model_version"] == 2 for one in first]
    assert taken == [bucket_of(key, NAME, 2) < 0.25 for key in range(PEOPLE)]
    assert 0.2 < np.mean(taken) < 0.3
    assert _versions_of(server.answer(ROWS)) == {1}  # nobody is known: the version in use
    _put_in_use(run_with_versions, 1, 1, "rolled_back")
    assert _versions_of(server.answer(keyed)) == {1}  # a canary ends with what it was held against


def test_a_subject_has_the_same_place_in_batch_and_in_a_server(spark):
    places = spark.range(500).select("id", bucket("id", NAME, 3).alias("place")).collect()
    assert all(row["place"] == bucket_of(row["id"], NAME, 3) for row in places)


def test_a_canary_that_fails_costs_nobody_an_answer_and_is_written_down(run_with_versions, server):
    tracking.shadow_canary(run_with_versions, NAME, 2, 1.0)
    server.loaded[2] = (Broken(), server.version(2)[1])
    answer = server.answer(ROWS[:5].assign(research_subject_key=range(5)))
    assert _versions_of(answer) == {1}
    assert collect.execute(run_with_versions) == {"answers_noted": 10}
    noted = run_with_versions.lake.read(SERVED_ANSWER).toPandas()
    assert list(noted[noted.model_version == 2].risk.isna()) == [True] * 5
    assert sorted(noted[noted.model_version == 1].risk) == sorted(_risks(answer))


def test_every_answer_is_taken_into_the_table_once(run_with_versions, server):
    answers = [server.answer(ROWS[:2]) for _ in range(3)]
    assert collect.execute(run_with_versions)["answers_noted"] == 6  # the server still runs
    server.log.opened_at -= timedelta(hours=1)
    answers.append(server.answer(ROWS[2:4]))
    assert collect.execute(run_with_versions)["answers_noted"] == 8
    server.log.close()
    collect.execute(run_with_versions)
    assert collect.execute(run_with_versions)["answers_noted"] == 0
    table = run_with_versions.lake.read(SERVED_ANSWER).toPandas()
    assert len(table) == 8
    assert set(table.request_id) == {one["request_id"] for one in answers}
    assert sorted(table.risk) == sorted(sum(map(_risks, answers), []))
    assert table.latency_ms.min() > 0


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (b"{", 400, "no JSON of"),
        ({"rows": []}, 400, "send dataframe_records"),
        ({"dataframe_records": []}, 400, "send 1 to"),
        ({"dataframe_records": [{"age_years": 4711}]}, 400, "missing: hba1c_latest, sex"),
        ({"dataframe_records": [{"age_years": "4711", "hba1c_latest": 7, "sex": None}]}, 400,
         "age_years must be a finite number"),
        ({"dataframe_records": [{"age_years": True, "hba1c_latest": 7, "sex": None}]}, 400,
         "age_years must be a finite number"),
        ({"dataframe_records": [{"age_years": [4711], "hba1c_latest": 7, "sex": None}]}, 400,
         "age_years must be a finite number"),
        ({"dataframe_records": [{"age_years": 60, "hba1c_latest": 7, "sex": 4711}]}, 400,
         "sex must be a text"),
        ({"dataframe_records": [{"research_subject_key": "4711", "age_years": 6, "hba1c_latest": 7,
                                 "sex": None}]}, 400, "research_subject_key must be"),
        (b" " * 16_000_001, 413, "at most"),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_what_to_change_and_not_what_it_held(ask, sent, status, said):
    got, answer = ask(sent)
    assert got == status
    assert said in answer["message"]
    assert "4711" not in answer["message"]


def test_blanks_new_categories_and_split_rows_are_answered(ask):
    blank = {"age_years": None, "hba1c_latest": None, "sex": None}
    columns = ["sex", "age_years", "hba1c_latest", "extra"]
    split = {"columns": columns, "data": [["unheard of", 60, 7, 1], [None, None, None, 1]]}
    status, answer = ask({"dataframe_split": split})
    assert status == 200
    assert _risks(answer)[1] == _risks(ask({"dataframe_records": [blank]})[1])[0]
    assert 0 < _risks(answer)[0] < 1
    assert ask({}, "ping") == (200, {"model_name": NAME, "model_version": 1})


def test_without_a_version_or_a_registry_nothing_is_answered(server, ask, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="does not know the model"):
        serve(Shelf(tmp_path), NAME, ("127.0.0.1", 0), print)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")
    status, answer = ask({"dataframe_records": _records(ROWS[:1])})
    assert status == 503
    assert "registry" in answer["message"]


def test_inputs_keep_the_types_that_training_had():
    kinds = {"b": "double", "a": "string"}
    given = pd.DataFrame({"a": ["x", None], "b": pd.array([1, None], dtype="Int64"), "c": [1, 2]})
    made = as_inputs(given, kinds)
    assert list(made.columns) == ["b", "a"]
    assert made.b.dtype == float
    assert made.a.tolist() == ["x", None]
    with pytest.raises(UsageError, match="b must be a finite number"):
        as_inputs(given.assign(b=[1.0, float("inf")]), kinds)


def test_who_is_held_out_by_lot_is_marked_in_the_answer(run_with_versions):
    root = run_with_versions.lake.root
    answers = {}
    for ratio in (0.0, 0.5):
        server = Server(Shelf(root, hold_out_ratio=ratio), NAME, AnswerLog(root))
        asked = ROWS[:20].assign(research_subject_key=range(20))
        answers[ratio] = server.answer(asked)["predictions"]
        server.log.close()
    marks = [one.get("is_held_out", False) for one in answers[0.5]]
    assert marks == [is_held_out(key, NAME, 0.5) for key in range(20)]
    assert True in marks and False in marks
    assert all(set(one) == {"risk", "model_version"} for one in answers[0.0])


def test_an_address_that_is_taken_is_one_line(run_with_versions, tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = taken.getsockname()
        with pytest.raises(UsageError, match="choose --port"):
            serve(Shelf(run_with_versions.lake.root), NAME, place, print)
