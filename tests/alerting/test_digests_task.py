"""Digests go out once a day or week, say what changed since the last one, and hide few people."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clinical_lakehouse.alerting.digest.gather import Gathered, digest_data, ends_at, told
from clinical_lakehouse.alerting.digests import compose
from clinical_lakehouse.alerting.notifications import deliver
from clinical_lakehouse.tables.ops import JOB_RUN
from clinical_lakehouse.tables.ops_notifications import DIGEST
from clinical_lakehouse.tables.ops_quality import QUALITY_SCORE
from clinical_lakehouse.tables.silver import SUBJECT
from tests.alerting.conftest import mails
from tests.builders import rows

MONDAY = datetime(2024, 7, 1, 6, tzinfo=UTC)
MIDNIGHT = datetime(2024, 7, 1, tzinfo=UTC)


def gathered(**changes) -> Gathered:
    """Rows of which some lie outside any day or week."""
    hours = lambda n: MIDNIGHT - timedelta(hours=n)  # noqa: E731
    alert = {"fingerprint": "f", "kind": "quality_score", "severity": "warning", "labels": "{}",
             "acknowledged_by": None, "ends_at": None}  # fmt: skip
    fields = {
        "runs": [
            {"state": "success", "recorded_at": hours(1)},
            {"state": "failed", "recorded_at": hours(2)},
            {"state": "cancelled", "recorded_at": hours(30)},
            {"state": "success", "recorded_at": hours(-1)},
        ],
        "scores": [
            {"checked_at": hours(40), "passed_ratio": 0.99},
            {"checked_at": hours(3), "passed_ratio": 0.91},
            {"checked_at": hours(-2), "passed_ratio": 0.5},
        ],
        "alerts": [
            {**alert, "starts_at": hours(5), "labels": '{"table": "silver.patient"}'},
            {**alert, "starts_at": hours(50), "ends_at": hours(4)},
            {**alert, "starts_at": hours(90), "ends_at": hours(60)},
            {**alert, "starts_at": hours(60), "acknowledged_by": "ana"},
            {**alert, "starts_at": hours(-1)},
        ],
        "people": [{"site": "North", "people_count": 40}, {"site": "South", "people_count": 3}],
        "aurocs": [{"model_name": "dropout_risk", "value": 0.78}],
        "refused_count": 4,
        "quality_score_min": 0.95,
    }
    return Gathered(**{**fields, **changes})


def test_a_day_and_a_week_end_at_midnight():
    wednesday = datetime(2024, 7, 3, 6, 30, tzinfo=UTC)
    assert ends_at("daily", wednesday) == datetime(2024, 7, 3, tzinfo=UTC)
    assert ends_at("weekly", wednesday) == MIDNIGHT == ends_at("weekly", MONDAY)


def test_a_day_tells_of_what_ended_in_it_and_of_what_is_open():
    data = digest_data("data_manager", "daily", MIDNIGHT, gathered(), None)
    assert (data.runs, data.failed_runs) == (2, 1)
    said = [(one.state, one.is_new, one.where) for one in data.alerts]
    assert said == [("acknowledged", False, ""), ("resolved", False, ""),
                    ("firing", True, "silver.patient")]  # fmt: skip
    assert {one.name: one.value for one in data.figures} == {
        "Quality score": 0.91, "People on study": 43, "AUROC of dropout_risk": 0.78,
        "Resources in quarantine": 4, "Open alerts": 2,
    }  # fmt: skip
    assert all(one.before is None for one in data.figures)
    week = digest_data("sponsor", "weekly", MIDNIGHT, gathered(), None)
    assert (week.runs, len(week.alerts)) == (3, 4)


def test_the_next_one_compares_with_what_the_last_one_told():
    figures, groups = told(gathered(), MIDNIGHT)
    import json

    last = {"figures": json.dumps(figures), "groups": json.dumps(groups)}
    more = gathered(people=[{"site": "North", "people_count": 44}])
    data = digest_data("sponsor", "daily", MIDNIGHT + timedelta(days=1), more, last)
    found = {one.name: (one.before, one.value) for one in data.figures}
    assert found["People on study"] == (43, 44)
    assert data.groups[0].before == {"North": 40, "South": 3}


def _fill(run) -> None:
    """Twelve people at one site and three at another, a failed run and a low score."""
    given = {
        JOB_RUN: [
            {"run_id": name, "job": "data_quality", "state": state,
             "recorded_at": MIDNIGHT - timedelta(hours=2)}
            for name, state in (("a", "success"), ("b", "failed"))
        ],
        QUALITY_SCORE: [{
            "run_id": "a", "dimension": "table", "slice": "silver.patient", "score": 0.91,
            "checked_at": MIDNIGHT - timedelta(hours=3),
        }],
        SUBJECT: [
            {"research_subject_key": n, "subject_key": n, "status": "on-study",
             "organization_key": 880001 if n < 12 else 880002}
            for n in range(15)
        ],
    }  # fmt: skip
    for table, some in given.items():
        run.lake.append(table, rows(run.lake, table, *some))


def test_each_audience_gets_its_digest_once(run, office):
    _fill(run)
    monday = replace(run, as_of=MONDAY, run_id="monday")
    assert compose.execute(monday) == {"digests": 2, "messages_new": 2}
    assert compose.execute(monday)["messages_new"] == 0
    deliver.execute(monday)
    found = {
        subject.split()[0]: text for _, subject, text in mails(office) if " digest " in subject
    }
    assert set(found) == {"Daily", "Weekly"}
    assert "2 runs, 1 failed" in found["Daily"] and "91.0%" in found["Daily"]
    sponsor = found["Weekly"]
    assert "site_0001" in sponsor and "site_0002" in sponsor
    assert "<11" in sponsor or "&lt;11" in sponsor, "three people are few"
    assert run.lake.read(DIGEST).count() == 2
