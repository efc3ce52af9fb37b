"""`@task`: a function `(run) -> Metrics` that says which tables it reads and writes."""

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.blocks import refuse_blocked
from clinical_lakehouse.runtime.openlineage import TaskRun, tell
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.tables.contract import Table


@dataclass(frozen=True)
class Done:
    """What a task did: its metrics, and the Delta version of every table it wrote and read."""

    metrics: Metrics
    written: Mapping[str, int]
    read: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A declared task. Called with a Run it executes; called with nothing it reads sys.argv, as a
    wheel's entry point must (returns None, raises on failure)."""

    name: str
    function: Callable[[Run], Metrics]
    reads: tuple[Table, ...]
    writes: tuple[Table, ...]
    params: Mapping[str, str]
    is_windowed: bool = False
    is_inspection: bool = False

    @property
    def description(self) -> str:
        """The function's docstring."""
        return (self.function.__doc__ or "").strip()

    @property
    def job(self) -> str:
        """The job it is written for: its module."""
        return self.function.__module__.rsplit(".", 1)[-1]

    @property
    def key(self) -> str:
        """Its task_key in that job: its function."""
        return self.function.__name__

    def execute(self, run: Run) -> Metrics:
        """Run the function on a lake narrowed to the declared tables."""
        return self.perform(run).metrics

    def perform(self, run: Run) -> Done:
        """Execute, and say which tables were written and read, for the run ledger and to
        OpenLineage."""
        lake = run.lake.scoped(self.reads, self.writes)
        this = TaskRun(run, self.job, self.key, self.description, uuid.uuid4())
        tell(this, "START", dict.fromkeys((table.name for table in self.reads), -1), {})
        try:
            if not self.is_inspection:
                refuse_blocked(run.lake, self.reads, self.writes)
            metrics = self.function(run.with_lake(lake))
        except BaseException as error:
            tell(this, "FAIL", lake.seen, lake.written, error)
            raise
        tell(this, "COMPLETE", lake.seen, lake.written)
        return Done(metrics, dict(lake.written), dict(lake.seen))

    def __call__(self, run: Run | None = None) -> Metrics | None:
        if run is not None:
            return self.execute(run)
        from clinical_lakehouse.runtime.entry import run_from_arguments

        run_from_arguments(self, sys.argv[1:])
        return None


def task(
    reads: Sequence[Table] = (),
    writes: Sequence[Table] = (),
    params: Mapping[str, str] | None = None,
    *,
    windowed: bool = False,
    inspects: bool = False,
) -> Callable[[Callable[[Run], Metrics]], Task]:
    """Declare a task: tables read and written, and its own parameters with their defaults.

    `windowed`: it writes only the window that ends at its as_of, from nothing later, so that it may
    be run for past dates in any order (backfill). `inspects`: it looks for what is wrong, so that
    it runs also on tables that a fatal check blocks.

    Its name is `<module>-<function>` in kebab case. Reading or writing a table that is not declared
    raises ContractError.
    """

    def declare(function: Callable[[Run], Metrics]) -> Task:
        module = function.__module__.rsplit(".", 1)[-1]
        name = f"{module}-{function.__name__}".replace("_", "-")
        if not function.__doc__:
            raise UsageError(f"task {name} needs a docstring: it is the task's description")
        own = dict(params or {})
        return Task(name, function, tuple(reads), tuple(writes), own, windowed, inspects)

    return declare
