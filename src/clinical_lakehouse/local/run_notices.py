"""What Databricks sends of its own when a job starts, ends or is slow, put into the outbox here.

Mail goes by the first smtp channel of conf/alerting/channels.yml, a destination by the channel of
its id; the job notifications hands both over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from clinical_lakehouse.alerting.messages.compose import run_message
from clinical_lakehouse.alerting.office import Office, load_office
from clinical_lakehouse.alerting.outbox.message import Message
from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.local.events import (
    Event,
    JobFinished,
    JobStarted,
    Listener,
    Noticed,
    TooLong,
)
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.sinks import START, TOO_LONG
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.ops_notifications import MESSAGE


@dataclass(frozen=True)
class Happened:
    """One thing a job's sinks may want to hear of."""

    job: str
    run_id: str
    occasion: str
    seconds: float
    at: datetime


@dataclass(frozen=True)
class Watch:
    """Listens to runs beside somebody else and remembers what sinks want to hear of."""

    jobs: Mapping[str, Job]
    listen: Listener
    happened: list[Happened] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Pass it on; remember it where the job has somebody to tell."""
        self.listen(event)
        if not isinstance(event, JobStarted | JobFinished | TooLong):
            return
        job = self.jobs.get(event.job)
        found = _occasion(job, event) if job else None
        if job and found and any(job.sinks.told(found[0])):
            self.happened.append(Happened(job.key, event.run_id, *found, wall_clock()))

    def queue(self, lake: Lakehouse) -> None:
        """Put what was remembered into the outbox. A fault of conf/alerting is told to whoever
        watches: the run itself has ended well or badly for other reasons."""
        if not self.happened:
            return
        try:
            found = list(self._messages(load_office(conf_dir())))
        except SettingsError as error:
            self.listen(Noticed(f"nobody is told of this run: {error}"))
            return
        lake.append(MESSAGE, [{**one.row, "revision": 0} for one in found])

    def _messages(self, office: Office) -> Iterable[Message]:
        mail = next((c.name for c in office.channels.values() if c.kind == "smtp"), None)
        for one in self.happened:
            addresses, destinations = self.jobs[one.job].sinks.told(one.occasion)
            ways = [(mail, address) for address in addresses]
            ways += [(name, "") for name in destinations]
            labels = {"job": one.job, "run_id": one.run_id, "value": one.seconds}
            for channel, recipient in dict.fromkeys(ways):
                if channel is None or channel not in office.channels:
                    lacks = f"{channel!r}, a destination" if channel else "an smtp channel, the way"
                    said = f"{lacks} of job {one.job}, is not in conf/alerting/channels.yml"
                    self.listen(Noticed(said))
                    continue
                told = {**labels, "seen_at": one.at}
                yield run_message(office.desk, one.occasion, told, (channel, recipient), one.at)


def _occasion(job: Job, event: JobStarted | JobFinished | TooLong) -> tuple[str, float] | None:
    """The occasion and its seconds; a slow task is told of as a slow job is not."""
    if isinstance(event, JobStarted):
        return START, 0.0
    if isinstance(event, TooLong):
        return (TOO_LONG, float(event.limit_seconds)) if not event.task else None
    occasion = job.sinks.occasion(event.state)
    return (occasion, round(event.seconds, 1)) if occasion else None
