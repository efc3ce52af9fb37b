"""Random jobs end as an independent reading of Databricks' rules says they must.

The rules, of "Configure task dependencies" and "Add branching logic" in Databricks' documentation,
are written here a second time, as a table per condition and without sharing code with the engine.
"""

import random

import pytest

from tests.local.stand_ins import Stand, job, make_bundle, wheel

FINE, FAILED, EXCLUDED, UPSTREAM = "success", "failed", "excluded", "upstream_failed"
CONDITIONS = (
    "ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED",
    "AT_LEAST_ONE_FAILED",
)  # fmt: skip
OK = {FINE, EXCLUDED}
FIRST = {  # a job must have a task that reads its parameters
    "needs": [], "run_if": "ALL_SUCCESS", "wanted": {}, "condition": None, "failures": 0,
    "retries": 0, "disabled": False,
}  # fmt: skip


def random_job(rng):
    """Tasks by key, in an order in which each depends on earlier ones only."""
    tasks = {}
    for n in range(rng.randint(1, 12)):
        earlier = list(tasks)
        needed = rng.sample(earlier, rng.randint(0, min(3, len(earlier))))
        is_condition = rng.random() < 0.2
        tasks[f"t{n}"] = {
            "needs": needed,
            "run_if": rng.choice(CONDITIONS),
            "wanted": {
                d: rng.choice(("true", "false"))
                for d in needed
                if tasks[d]["condition"] is not None and rng.random() < 0.7
            },
            "condition": rng.choice(("true", "false")) if is_condition else None,
            "failures": rng.choice((0, 0, 0, 1, 2, 9)),
            "retries": rng.choice((0, 0, 1, 2)),
            "disabled": not is_condition and rng.random() < 0.1,
        }
    return tasks


def expected(tasks):
    """The end state of each task."""
    ends = {}
    for key, task in tasks.items():
        ends[key] = end(task, [ends[d] for d in task["needs"]], ends, tasks)
    return ends


def end(task, needed, ends, tasks):
    for other, wanted in task["wanted"].items():
        if ends[other] == FINE and tasks[other]["condition"] != wanted:
            return EXCLUDED
    if needed and set(needed) == {EXCLUDED}:
        return EXCLUDED
    good = sum(state in OK for state in needed)
    ran_well = needed.count(FINE)
    runs, otherwise = {
        "ALL_SUCCESS": (good == len(needed), UPSTREAM),
        "NONE_FAILED": (good == len(needed), UPSTREAM),
        "ALL_DONE": (True, UPSTREAM),
        "AT_LEAST_ONE_SUCCESS": (not needed or ran_well > 0, UPSTREAM),
        "ALL_FAILED": (not needed or good == 0, EXCLUDED),
        "AT_LEAST_ONE_FAILED": (not needed or good < len(needed), EXCLUDED),
    }[task["run_if"]]
    if not runs:
        return otherwise
    if task["disabled"]:
        return EXCLUDED
    if task["condition"] is not None:
        return FINE
    return FINE if task["failures"] <= task["retries"] else FAILED


def definition(key, task):
    """The task as its file would have it."""
    needs = [
        {"task_key": d, **({"outcome": task["wanted"][d]} if d in task["wanted"] else {})}
        for d in task["needs"]
    ]
    if task["condition"] is not None:
        content = {
            "left": "x",
            "op": "EQUAL_TO",
            "right": "x" if task["condition"] == "true" else "y",
        }
        made = {"task_key": key, "condition_task": content}
    else:
        made = wheel(key, max_retries=task["retries"])
    return {**made, "depends_on": needs, "run_if": task["run_if"], "disabled": task["disabled"]}


@pytest.mark.parametrize("seed", range(12))
def test_states_equal_an_independent_model_of_the_rules(tmp_path, seed):
    rng = random.Random(seed)
    seen = set()
    for n in range(25):
        tasks = {"first": FIRST, **random_job(rng)}
        tries = dict.fromkeys(tasks, 0)

        def work(run, key, tasks=tasks, tries=tries):
            tries[key] += 1
            if tries[key] <= tasks[key]["failures"]:
                raise ValueError("planted")
            return {}

        stand = Stand(**{key: lambda run, key=key: work(run, key) for key in tasks})
        written = [definition(key, task) for key, task in tasks.items()]
        rng.shuffle(written)
        result = stand.run(make_bundle(tmp_path / str(n), main=job(*written)))
        found = {key: task.state.value for key, task in result.tasks.items()}
        assert found == expected(tasks), tasks
        needed = {d for task in tasks.values() for d in task["needs"]}
        leaves = {state for key, state in found.items() if key not in needed}
        assert (result.state.value == "success") == (leaves <= OK)
        seen |= set(found.values())
    assert seen == {FINE, FAILED, EXCLUDED, UPSTREAM}
