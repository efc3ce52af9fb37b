"""Inhibition and silences keep quiet what Alertmanager keeps quiet, judged by the real one."""

import random
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from clinical_lakehouse.alerting.routing.alertmanager_config import read_routing
from clinical_lakehouse.alerting.routing.matchers import Matcher, fingerprint, parse_matchers
from clinical_lakehouse.alerting.routing.suppression import (
    InhibitRule,
    Maintenance,
    Silence,
    Suppressions,
)
from clinical_lakehouse.alerting.routing.time_intervals import TimeInterval
from clinical_lakehouse.errors import UsageError

from . import random_alerts, real_alertmanager

NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)
SETS_A_CONFIG = 50


def config(rng: random.Random) -> str:
    """Random inhibition rules, each within the set of alerts that `set` names."""
    rules = []
    for _ in range(4):
        equal = ["set", *rng.sample(random_alerts.NAMES, rng.randint(0, 2))]
        both = (random_alerts.conditions(rng, "source_"), random_alerts.conditions(rng, "target_"))
        rules.append({**both[0], **both[1], "equal": equal})
    route = {"receiver": "r0", "repeat_interval": "4h"}
    return yaml.safe_dump({"route": route, "receivers": [{"name": "r0"}], "inhibit_rules": rules})


def draw(rng: random.Random, first: int) -> tuple[list[dict], list[dict]]:
    """Alerts (a tenth of them over) and silences of all states, in sets of up to eight."""
    alerts, silences, moment = [], [], datetime.now(UTC)
    for number in range(first, first + SETS_A_CONFIG):
        for nr in range(rng.randint(2, 8)):
            labels = {**random_alerts.labels(rng), "set": str(number), "nr": str(nr)}
            over = {"startsAt": _text(moment, -120), "endsAt": _text(moment, -60)}
            alerts.append({"labels": labels, **(over if rng.random() < 0.1 else {})})
        for _ in range(rng.randint(0, 2)):
            parsed = parse_matchers(f'{{set="{number}", {random_alerts.matcher(rng)}}}')
            starts = rng.choice((1, 3600))
            silences.append(
                {
                    "matchers": [_as_json(matcher) for matcher in parsed],
                    "startsAt": _text(moment, starts if starts > 1 else -1),
                    "endsAt": _text(moment, 7200),
                    "createdBy": "a",
                    "comment": "b",
                }
            )
    return alerts, silences


def _text(moment: datetime, seconds: int) -> str:
    return (moment + timedelta(seconds=seconds)).isoformat()


def _as_json(matcher: Matcher) -> dict:
    operator = matcher.operator
    flags = {"isRegex": "~" in operator, "isEqual": operator in ("=", "=~")}
    return {"name": matcher.name, "value": matcher.value, **flags}


def _silence(told: dict) -> Silence:
    operators = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}
    return Silence(
        told["id"],
        tuple(
            Matcher(m["name"], m["value"], operators[m["isRegex"], m["isEqual"]])
            for m in told["matchers"]
        ),
        datetime.fromisoformat(told["startsAt"]),
        datetime.fromisoformat(told["endsAt"]),
        told["createdBy"],
        told["comment"],
    )


def check_against_the_server(server, folder, seed: int) -> dict[str, int]:
    """50 sets of alerts under random rules; how many alerts were quiet for which reason."""
    rng, path = random.Random(seed), folder / "ours.yml"
    path.write_text(config(rng))
    alerts, silences = draw(rng, seed * SETS_A_CONFIG)
    server.reload(path.read_text())
    server.post("api/v2/alerts", alerts)
    ids = {server.post("api/v2/silences", one)["silenceID"] for one in silences}
    for over in sorted(ids)[::5]:
        server.delete(f"silence/{over}")
    known = tuple(_silence(one) for one in server.get("silences") if one["id"] in ids)
    assert {one.state(datetime.now(UTC)) for one in known} == {"active", "pending", "expired"}
    firing = {fingerprint(a["labels"]): a["labels"] for a in alerts if "endsAt" not in a}
    rules = read_routing(path).inhibit_rules
    expected = Suppressions(rules, known).quiet(firing, datetime.now(UTC))
    for _ in range(40):  # the server's inhibitor learns of new alerts a moment after they came
        wrong = _differences(server, expected)
        if not wrong:
            break
        time.sleep(0.05)
    assert not wrong, wrong[:3]
    quiet = expected.values()
    return {
        "alerts": len(expected),
        "inhibited": sum(bool(one.inhibited_by) for one in quiet),
        "silenced": sum(bool(one.silenced_by) for one in quiet),
    }


def _differences(server, expected: dict) -> list:
    """Where the server's state of an alert is not ours; it names one inhibitor, we name all."""
    told = {one["fingerprint"]: one["status"] for one in server.get("alerts")}
    wrong = []
    for name, quiet in expected.items():
        status = told[name]
        same = (
            status["state"] == ("suppressed" if quiet else "active")
            and set(status["silencedBy"]) == {one.silence_id for one in quiet.silenced_by}
            and set(status["inhibitedBy"]) <= set(quiet.inhibited_by)
            and bool(status["inhibitedBy"]) == bool(quiet.inhibited_by)
        )
        wrong += [] if same else [(name, quiet, status)]
    return wrong


def check(folder, seeds: range) -> None:
    with real_alertmanager.running(folder, config(random.Random(0))) as server:
        counts = [check_against_the_server(server, folder, seed) for seed in seeds]
    for reason in ("inhibited", "silenced"):
        share = sum(count[reason] for count in counts) / sum(count["alerts"] for count in counts)
        assert 0.05 < share < 0.8, f"{reason}: {share}, the sets test too little"


def test_state_of_a_hundred_random_sets_equals_that_of_a_running_alertmanager(tmp_path):
    check(tmp_path, range(1, 3))


@pytest.mark.soak
def test_state_of_five_hundred_random_sets_equals_that_of_a_running_alertmanager(tmp_path):
    check(tmp_path, range(1, 11))


def silence(matchers: str = '{site="1"}', hours: int = 1, **changed) -> Silence:
    given = {"created_by": "ada", "reason": "moving the server", **changed}
    return Silence("s", parse_matchers(matchers), NOW, NOW + timedelta(hours=hours), **given)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"created_by": " "}, "who made it and why"),
        ({"reason": ""}, "who made it and why"),
        ({"hours": -1}, "must not end before it starts"),
        ({"matchers": "{}"}, "needs a matcher"),
        ({"matchers": '{site=""}'}, "needs a matcher"),
    ],
)
def test_silence_without_author_reason_end_or_matcher_is_refused(changed, said):
    with pytest.raises(UsageError, match=said):
        silence(**changed)


def test_silence_holds_from_its_start_up_to_its_end():
    moments = (NOW - timedelta(seconds=1), NOW, NOW + timedelta(minutes=59, seconds=59))
    assert [silence().state(at) for at in moments] == ["pending", "active", "active"]
    assert silence().state(NOW + timedelta(hours=1)) == "expired"


def test_dead_cluster_silences_its_jobs_and_no_other_clusters():
    source, target = parse_matchers('{kind="cluster_down"}'), parse_matchers('{kind="job_failed"}')
    rules = (InhibitRule(source, target, ("cluster",)),)
    alerts = {
        "down": {"kind": "cluster_down", "cluster": "a"},
        "job a": {"kind": "job_failed", "cluster": "a"},
        "job b": {"kind": "job_failed", "cluster": "b"},
    }
    quiet = Suppressions(rules).quiet(alerts, NOW)
    assert {name: one.inhibited_by for name, one in quiet.items()} == {
        "down": (),
        "job a": ("down",),
        "job b": (),
    }


def test_maintenance_keeps_quiet_during_its_window_only():
    sunday_night = TimeInterval(times=((0, 120),), weekdays=((0, 0),))
    work = Maintenance("patching", parse_matchers('{site="1"}'), ("night",), "monthly patches")
    rules = Suppressions(maintenance=(work,), intervals={"night": (sunday_night,)})
    alerts = {"one": {"site": "1"}, "two": {"site": "2"}}
    during, after = (datetime(2024, 6, 30, hour, 30, tzinfo=UTC) for hour in (1, 2))
    assert rules.quiet(alerts, during)["one"].maintained_by == (work,)
    assert not rules.quiet(alerts, during)["two"]
    assert not rules.quiet(alerts, after)["one"]


def test_safety_alert_is_kept_quiet_by_nothing_but_a_silence_that_names_it():
    protected = parse_matchers('{domain="safety"}')
    labels = {"domain": "safety", "site": "1"}
    alerts = {"safety": labels, "data": {"domain": "data", "site": "1"}}
    rule = InhibitRule(parse_matchers('{domain="data"}'), parse_matchers('{site="1"}'))
    broad = Suppressions((rule,), (silence(),), protected=protected).quiet(alerts, NOW)
    assert not broad["safety"]
    assert broad["data"].silenced_by
    named = silence('{domain="safety", site="1"}')
    assert Suppressions((), (named,), protected=protected).quiet(alerts, NOW)["safety"]
    every = silence('{domain=~".+"}')
    assert not Suppressions((), (every,), protected=protected).quiet(alerts, NOW)["safety"]
