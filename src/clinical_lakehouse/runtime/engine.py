"""The lake and its one Spark session as the runner's engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from clinical_lakehouse.runtime.failures import frames, one_line
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.order import Order, made_log_folder
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import Settings
from clinical_lakehouse.runtime.task import Done


class Performable(Protocol):
    """A task, as far as engines go."""

    @property
    def name(self) -> str:
        """Its entry-point name."""

    def perform(self, run: Run) -> Done:
        """Run it."""


@dataclass(frozen=True)
class LakeEngine:
    """Tasks run in threads of this process, on one lake and one session."""

    lake: Lakehouse
    settings: Settings

    def perform(self, task: Performable, order: Order) -> Done:
        """Run a task in the calling thread; its lake refuses to write once it is stopped."""
        lake = replace(self.lake, is_stopped=order.is_stopped, written={})
        run = Run(lake, self.settings, order.as_of, order.run_id, order.params)
        with self._tagged(order.tag):
            try:
                return task.perform(run)
            except Exception as error:
                self._leave_log(order, error)
                raise

    def _leave_log(self, order: Order, error: BaseException) -> None:
        """Where it failed, for `runs logs`."""
        if self.lake.catalog is None:
            folder = made_log_folder(self.lake.root, order.run_id)
            lines = [one_line(error), *frames(error), ""]
            (folder / f"{order.tag}.log").write_text("\n".join(lines), encoding="utf-8")

    @contextmanager
    def _tagged(self, tag: str) -> Iterator[None]:
        """Marks the Spark work of the calling thread, so that it can be interrupted."""
        marked = self._marked
        marked.add(tag)
        try:
            yield
        finally:
            marked.remove(tag)

    def interrupt(self, tag: str | None) -> None:
        """Cancels the Spark work so marked, without a tag all of it; a lost session has none."""
        with suppress(Exception):
            self._marked.cancel(tag)

    @property
    def _marked(self) -> "_Marked":
        spark = self.lake.spark
        if type(spark).__module__.startswith("pyspark.sql.connect"):
            return _Marked(spark.addTag, spark.removeTag, spark.interruptTag, spark.interruptAll)
        # A classic session's own tags are known only to the thread that set them.
        jobs = spark.sparkContext

        def add(tag: str) -> None:
            """A pool of its own as well: a short task's jobs do not queue behind a long one's."""
            jobs.addJobTag(tag)
            jobs.setLocalProperty("spark.scheduler.pool", tag)

        return _Marked(add, jobs.removeJobTag, jobs.cancelJobsWithTag, jobs.cancelAllJobs)


@dataclass(frozen=True)
class _Marked:
    """How this kind of session marks and cancels work."""

    add: Callable[[str], None]
    remove: Callable[[str], None]
    cancel_one: Callable[[str], object]
    cancel_all: Callable[[], object]

    def cancel(self, tag: str | None) -> None:
        if tag is None:
            self.cancel_all()
        else:
            self.cancel_one(tag)
