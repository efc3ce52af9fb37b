"""The lake and its one Spark session as the runner's engine."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import Settings


@dataclass(frozen=True)
class LakeEngine:
    """Tasks run in threads of this process, on one lake and one session."""

    lake: Lakehouse
    settings: Settings

    def make_run(
        self,
        as_of: datetime,
        run_id: str,
        params: Mapping[str, str],
        is_stopped: Callable[[], bool],
    ) -> Run:
        """The Run handed to a task."""
        lake = replace(self.lake, is_stopped=is_stopped, written={})
        return Run(lake, self.settings, as_of, run_id, params)

    @contextmanager
    def tagged(self, tag: str) -> Iterator[None]:
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
        return _Marked(
            jobs.addJobTag, jobs.removeJobTag, jobs.cancelJobsWithTag, jobs.cancelAllJobs
        )


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
