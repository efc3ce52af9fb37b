"""The job digests: what each audience is told of the day or the week, put into the outbox."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.alerting.audience import Audience
from clinical_lakehouse.alerting.digest.content import DigestData
from clinical_lakehouse.alerting.digest.gather import (
    CHARTED,
    SPANS,
    Gathered,
    digest_data,
    ends_at,
    told,
)
from clinical_lakehouse.alerting.messages.compose import digest_message
from clinical_lakehouse.alerting.office import Office, load_office
from clinical_lakehouse.alerting.outbox.message import Message
from clinical_lakehouse.alerting.rules.observations import in_utc
from clinical_lakehouse.runtime.reading import rows_of
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.bronze import QUARANTINE
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_models import MODEL_METRIC
from clinical_lakehouse.tables.ops import ALERT, JOB_RUN
from clinical_lakehouse.tables.ops_notifications import DIGEST, MESSAGE
from clinical_lakehouse.tables.ops_quality import QUALITY_SCORE
from clinical_lakehouse.tables.silver import SUBJECT

_ON_STUDY = ("on-study", "on-study-intervention", "on-study-observation", "follow-up")
_ENDS = ("success", "failed", "timed_out", "killed", "cancelled")
_BY = "email"
Row = dict[str, Any]


@task(
    reads=[JOB_RUN, QUALITY_SCORE, ALERT, MODEL_METRIC, QUARANTINE, SUBJECT],
    writes=[DIGEST, MESSAGE],
)
def compose(run: Run) -> Metrics:
    """Write the digests that are due and not written yet; the job notifications sends them."""
    office = load_office(conf_dir())
    found, written = _gathered(run), _written(run)
    messages: dict[str, Message] = {}
    rows: list[Row] = []
    for audience in office.catalogue.audiences.values():
        if audience.digest:
            data = _data(run, audience, found, written)
            rows.append(_row(run, data, found))
            messages |= {one.message_id: one for one in _letters(office, audience, data)}
    new = _queue(run, messages)
    run.lake.upsert(DIGEST, rows)
    return {"digests": len(rows), "messages_new": new}


def _gathered(run: Run) -> Gathered:
    """What all of the day's digests are made from."""
    read, since = run.lake.read, run.as_of - CHARTED - max(SPANS.values())
    by_table = read(QUALITY_SCORE).filter(F.col("checked_at") > since).filter("dimension = 'table'")
    own_runs = F.col("parent_run_id").isNull() & F.col("state").isin(*_ENDS)
    newest = F.max_by("value", "window_end_date").alias("value")
    aurocs = read(MODEL_METRIC).filter("metric = 'auroc' AND value IS NOT NULL")
    refused = read(QUARANTINE).filter("decision IS NULL").agg(F.count("*").alias("count"))
    runs, scores, alerts, people, models, ((count),) = rows_of(
        [
            read(JOB_RUN).filter(own_runs & (F.col("recorded_at") > since)),
            by_table.groupBy("checked_at").agg(F.avg("score").alias("passed_ratio")),
            read(ALERT),
            _people(run),
            aurocs.groupBy("model_name").agg(newest).orderBy("model_name"),
            refused,
        ]
    )
    score_min = run.settings.limits.quality_score_min
    return Gathered(runs, scores, alerts, people, models, count["count"], score_min)


def _people(run: Run) -> DataFrame:
    """People on study by site. A site goes by the end of its key: its name is free text, and free
    text does not leave in a mail."""
    subjects = run.lake.read(SUBJECT).filter(F.col("status").isin(*_ON_STUDY))
    end = F.right(F.col("organization_key").cast("string"), F.lit(4))
    site = F.coalesce(F.concat(F.lit("site_"), end), F.lit("site_not_known")).alias("site")
    counted = subjects.groupBy(site).agg(F.countDistinct("subject_key").alias("people_count"))
    return counted.orderBy("site")


def _written(run: Run) -> list[Row]:
    return rows_of([run.lake.read(DIGEST)])[0]


def _data(run: Run, audience: Audience, found: Gathered, written: Iterable[Row]) -> DigestData:
    """The digest, held against the audience's last one before it."""
    period = audience.digest or "daily"
    until = ends_at(period, in_utc(run.as_of))
    earlier = [
        row for row in written
        if row["audience"] == audience.name and in_utc(row["until_at"]) < until
    ]  # fmt: skip
    last = max(earlier, key=lambda row: in_utc(row["until_at"]), default=None)
    return digest_data(audience.name, period, until, found, last)


def _row(run: Run, data: DigestData, found: Gathered) -> Row:
    figures, groups = told(found, data.until)
    return {
        "audience": data.audience,
        "until_at": data.until,
        "period": data.period,
        "figures": json.dumps(figures, sort_keys=True),
        "groups": json.dumps(groups, sort_keys=True),
        "run_id": run.run_id,
    }


def _letters(office: Office, audience: Audience, data: DigestData) -> Iterable[Message]:
    for person in audience.people:
        if _BY in office.desk.on_call.people[person].contacts:
            yield digest_message(office.desk, data, person, _BY, hides_small=audience.hides_small)


def _queue(run: Run, messages: Mapping[str, Message]) -> int:
    """Into the outbox with those that are not there yet: a digest goes out once."""
    there = run.lake.read(MESSAGE).filter(F.col("message_id").isin(sorted(messages)))
    known = {row["message_id"] for row in there.select("message_id").collect()}
    new = [one for name, one in messages.items() if name not in known]
    run.lake.append(MESSAGE, [{**one.row, "revision": 0} for one in new])
    return len(new)
