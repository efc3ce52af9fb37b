"""The order of a job's tasks: cycles, and whether a task runs once its dependencies are done."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from heapq import heapify, heappop, heappush


class State(StrEnum):
    """How a task or job stands; the ledger knows `excluded` and `upstream_failed` as skipped."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    EXCLUDED = "excluded"
    UPSTREAM_FAILED = "upstream_failed"

    @property
    def is_done(self) -> bool:
        """Will it change no more?"""
        return self not in (State.WAITING, State.RUNNING)

    @property
    def is_well(self) -> bool:
        """Succeeded, or not needed: Databricks treats excluded tasks as successful."""
        return self in (State.SUCCESS, State.EXCLUDED)

    @property
    def told(self) -> str:
        """Databricks' word for it, as `{{tasks.x.result_state}}` gives it."""
        return {State.CANCELLED: "canceled", State.TIMED_OUT: "timedout"}.get(self, self.value)

    @property
    def recorded(self) -> str:
        """The state's word in ops.job_run and ops.task_run."""
        skipped = self in (State.EXCLUDED, State.UPSTREAM_FAILED)
        return "skipped" if skipped else self.value


class RunIf(StrEnum):
    """When a task runs, judged once all its dependencies are done."""

    ALL_SUCCESS = "ALL_SUCCESS"
    ALL_DONE = "ALL_DONE"
    NONE_FAILED = "NONE_FAILED"
    AT_LEAST_ONE_SUCCESS = "AT_LEAST_ONE_SUCCESS"
    ALL_FAILED = "ALL_FAILED"
    AT_LEAST_ONE_FAILED = "AT_LEAST_ONE_FAILED"


# Tasks that handle failure are merely not needed where nothing failed.
_HANDLERS = (RunIf.ALL_FAILED, RunIf.AT_LEAST_ONE_FAILED)


def verdict(run_if: RunIf, dependencies: Collection[State]) -> State:
    """RUNNING: start it; WAITING: not yet; EXCLUDED or UPSTREAM_FAILED: it will never run.

    The rules are those of the Databricks documentation ("Configure task dependencies"): excluded
    counts as success, cancelled and timed out as failed, and a task whose dependencies are all
    excluded is excluded whatever its condition.
    """
    if not all(state.is_done for state in dependencies):
        return State.WAITING
    if not dependencies or run_if is RunIf.ALL_DONE and _any_ran(dependencies):
        return State.RUNNING
    if not _any_ran(dependencies):
        return State.EXCLUDED
    well = [state.is_well for state in dependencies]
    does_hold = {
        RunIf.ALL_SUCCESS: all(well),
        RunIf.NONE_FAILED: all(well),
        RunIf.AT_LEAST_ONE_SUCCESS: State.SUCCESS in dependencies,
        RunIf.ALL_FAILED: not any(well),
        RunIf.AT_LEAST_ONE_FAILED: not all(well),
    }[run_if]
    if does_hold:
        return State.RUNNING
    return State.EXCLUDED if run_if in _HANDLERS else State.UPSTREAM_FAILED


def job_state(states: Mapping[str, State], edges: Mapping[str, Sequence[str]]) -> State:
    """A job succeeds when all its leaf tasks (nothing depends on them) did, as on Databricks."""
    needed = {key for dependencies in edges.values() for key in dependencies}
    leaves = [state for key, state in states.items() if key not in needed]
    if all(state.is_well for state in leaves):
        return State.SUCCESS
    return State.CANCELLED if State.CANCELLED in leaves else State.FAILED


def cycle(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks of one cycle, first one repeated at the end; empty where there is none."""
    cleared: set[str] = set()
    for start in edges:
        path = _search(start, edges, cleared)
        if path:
            return path
    return []


def in_order(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """Every task after those it depends on, otherwise as written; needs a graph without cycle."""
    place = {key: at for at, key in enumerate(edges)}
    lacking = {key: {d for d in needed if d in edges} for key, needed in edges.items()}
    followers: dict[str, list[str]] = {key: [] for key in edges}
    for key, needed in lacking.items():
        for dependency in needed:
            followers[dependency].append(key)
    ready = [place[key] for key, needed in lacking.items() if not needed]
    heapify(ready)
    keys = list(edges)
    ordered: list[str] = []
    while ready:
        key = keys[heappop(ready)]
        ordered.append(key)
        for follower in followers[key]:
            lacking[follower].discard(key)
            if not lacking[follower]:
                heappush(ready, place[follower])
    if len(ordered) < len(edges):
        raise ValueError("the graph has a cycle")
    return ordered


def _any_ran(dependencies: Collection[State]) -> bool:
    return any(state is not State.EXCLUDED for state in dependencies)


def _search(start: str, edges: Mapping[str, Sequence[str]], cleared: set[str]) -> list[str]:
    """Depth first without recursion, so that a long chain is no problem."""
    path, branches = [start], [iter(edges.get(start, ()))]
    while path:
        following = next(branches[-1], None)
        if following is None:
            cleared.add(path.pop())
            branches.pop()
        elif following in path:
            return [*path[path.index(following) :], following]
        elif following not in cleared:
            path.append(following)
            branches.append(iter(edges.get(following, ())))
    return []
