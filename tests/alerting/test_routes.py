"""Routes choose receivers and groups as Alertmanager does, judged by the real one."""

import json
import random
import subprocess
import time
from collections import defaultdict

import pytest
import yaml

from clinical_lakehouse.alerting.routing.alertmanager_config import read_routing
from clinical_lakehouse.alerting.routing.matchers import fingerprint, in_braces

from . import random_alerts, real_alertmanager

RECEIVERS = [f"r{number}" for number in range(8)]


def config(route: dict, **more) -> str:
    return yaml.safe_dump({"route": route, "receivers": [{"name": r} for r in RECEIVERS], **more})


def routing(folder, text: str):
    path = folder / "ours.yml"
    path.write_text(text)
    return read_routing(path)


def forest(seed: int, count: int) -> tuple[str, list[dict[str, str]]]:
    """Random trees as children of one root, each for alerts of its own number, and 50 label sets
    for each: so that one process judges them all."""
    rng, trees, alerts = random.Random(seed), [], []
    for number in range(count):
        tree = random_alerts.route(rng, RECEIVERS)
        tree.setdefault("receiver", rng.choice(RECEIVERS))
        own = {key: tree.pop(key) for key in ("match", "match_re", "matchers") if key in tree}
        routes = [{**own, **tree}]
        trees.append({"match": {"tree": str(number)}, "receiver": "r0", "routes": routes})
        drawn = [random_alerts.labels(rng) for _ in range(50)]
        alerts += [{**one, "tree": str(number), "nr": str(nr)} for nr, one in enumerate(drawn)]
    return config({"receiver": "r0", "routes": trees}), alerts


def check_against_the_server(server, folder, seed: int, count: int) -> int:
    text, alerts = forest(seed, count)
    server.reload(text)
    for first in range(0, len(alerts), 5000):
        server.post("api/v2/alerts", [{"labels": one} for one in alerts[first : first + 5000]])
    found = {one["fingerprint"]: one for one in server.get("alerts")}
    root, wrong = routing(folder, text).root, []
    for one in alerts:
        told = found[fingerprint(one)]
        receivers = [route.receiver for route in root.match(one)]
        if [receiver["name"] for receiver in told["receivers"]] != receivers:
            wrong.append((one, receivers, told["receivers"]))
    assert not wrong, wrong[:3]
    return len(alerts)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with real_alertmanager.running(tmp_path_factory.mktemp("am"), config({"receiver": "r0"})) as am:
        yield am


def test_receivers_equal_those_of_a_running_alertmanager(server, tmp_path):
    assert check_against_the_server(server, tmp_path, seed=1, count=100) == 5000


@pytest.mark.soak
def test_receivers_of_a_thousand_trees_equal_those_of_a_running_alertmanager(tmp_path):
    with real_alertmanager.running(tmp_path, config({"receiver": "r0"})) as fresh:
        for seed in range(10):
            check_against_the_server(fresh, tmp_path, 100 + seed, 100)


def test_groups_equal_those_of_a_running_alertmanager(tmp_path):
    text, alerts = forest(seed=2, count=20)
    ours, root = defaultdict(set), routing(tmp_path, text).root
    for one in alerts:
        for route in root.match(one):
            ours[route.receiver, in_braces(route.group_labels(one))].add(fingerprint(one))
    with real_alertmanager.running(tmp_path, text) as fresh:
        fresh.post("api/v2/alerts", [{"labels": one} for one in alerts])
        for _ in range(100):  # the server puts alerts in groups a moment after they came
            theirs = _groups(fresh)
            if ours == theirs:
                break
            time.sleep(0.05)
    assert ours == theirs
    assert len(ours) > 100


def _groups(server) -> dict[tuple[str, str], set[str]]:
    """Fingerprints by receiver and group labels."""
    found = defaultdict(set)
    for group in server.get("alerts/groups"):
        name = (group["receiver"]["name"], in_braces(group["labels"]))
        found[name] |= {alert["fingerprint"] for alert in group["alerts"]}
    return found


def amtool_check(folder, seed: int, sets: int) -> None:
    amtool, rng = real_alertmanager.tool("amtool", "prometheus-alertmanager"), random.Random(seed)
    tree = random_alerts.route(rng, RECEIVERS)
    root = {"receiver": "r0", "routes": [tree, random_alerts.route(rng, RECEIVERS)]}
    ours = routing(folder, config(root)).root
    for _ in range(sets):
        given = random_alerts.labels(rng)
        command = [amtool, "config", "routes", "test", f"--config.file={folder / 'ours.yml'}"]
        pairs = [f"{name}={json.dumps(one, ensure_ascii=False)}" for name, one in given.items()]
        told = subprocess.run([*command, *pairs], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == ",".join(r.receiver for r in ours.match(given)), given


@pytest.mark.parametrize("seed", range(10))
def test_receivers_equal_those_of_amtool(tmp_path, seed):
    amtool_check(tmp_path, seed, sets=4)


@pytest.mark.soak
@pytest.mark.parametrize("hundred", range(10))
def test_receivers_of_a_hundred_trees_equal_those_of_amtool(tmp_path, hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        amtool_check(tmp_path, seed, sets=50)
