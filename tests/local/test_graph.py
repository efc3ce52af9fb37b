"""Order, cycles and run_if as Databricks documents them."""

from itertools import product

import pytest

from clinical_lakehouse.local.graph import RunIf, State, cycle, in_order, job_state, verdict

ENDS = [s for s in State if s.is_done]


def test_every_task_comes_after_those_it_depends_on():
    edges = {"d": ("b", "c"), "b": ("a",), "c": ("a",), "a": (), "e": ()}
    assert in_order(edges) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({"a": (), "b": ("a",), "c": ("a", "b")}, []),
        ({"a": ("a",)}, ["a", "a"]),
        ({"a": ("b",), "b": ("c",), "c": ("a",), "d": ()}, ["a", "b", "c", "a"]),
        ({"x": ("a",), "a": ("b",), "b": ("a",)}, ["a", "b", "a"]),
    ],
)
def test_a_cycle_is_found_and_named(edges, found):
    assert cycle(edges) == found


def test_a_long_chain_is_no_cycle():
    chain = {str(n): (str(n + 1),) for n in range(5000)}
    assert cycle({**chain, "5000": ()}) == []


def expected(run_if: RunIf, ends: tuple[State, ...]) -> State:
    """The documented rules, written down a second time as plain sentences about the ends."""
    succeeded = sum(e is State.SUCCESS for e in ends)
    excluded = sum(e is State.EXCLUDED for e in ends)
    failed = len(ends) - succeeded - excluded
    if excluded == len(ends):
        return State.EXCLUDED
    match run_if.value:
        case "ALL_DONE":
            return State.RUNNING
        case "ALL_SUCCESS" | "NONE_FAILED":
            return State.RUNNING if failed == 0 else State.UPSTREAM_FAILED
        case "AT_LEAST_ONE_SUCCESS":
            return State.RUNNING if succeeded else State.UPSTREAM_FAILED
        case "ALL_FAILED":
            return State.RUNNING if failed == len(ends) else State.EXCLUDED
        case "AT_LEAST_ONE_FAILED":
            return State.RUNNING if failed else State.EXCLUDED
    raise AssertionError(run_if)


@pytest.mark.parametrize("run_if", RunIf)
def test_run_if_agrees_with_the_documented_rules_for_all_ends(run_if):
    for count in (1, 2, 3):
        for ends in product(ENDS, repeat=count):
            assert verdict(run_if, ends) is expected(run_if, ends), (run_if, ends)


def test_a_task_waits_until_all_dependencies_are_done():
    assert verdict(RunIf.AT_LEAST_ONE_FAILED, [State.FAILED, State.RUNNING]) is State.WAITING
    assert verdict(RunIf.ALL_SUCCESS, []) is State.RUNNING


def test_leaf_tasks_decide_a_jobs_state():
    edges = {"a": (), "b": ("a",)}
    assert job_state({"a": State.FAILED, "b": State.SUCCESS}, edges) is State.SUCCESS
    assert job_state({"a": State.SUCCESS, "b": State.EXCLUDED}, edges) is State.SUCCESS
    assert job_state({"a": State.FAILED, "b": State.UPSTREAM_FAILED}, edges) is State.FAILED
    assert job_state({"a": State.SUCCESS, "b": State.CANCELLED}, edges) is State.CANCELLED
