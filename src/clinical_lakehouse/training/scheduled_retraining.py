"""Job scheduled_retraining, its first task: is there something to learn, and what asked for it."""

from datetime import timedelta

from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION, RETRAINING_TRIGGER
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.silver import SUBJECT
from clinical_lakehouse.training.retraining import decide_trigger

# Outcomes are known 28 days later, dates are shifted by 30, and two windows must agree.
_RECENT_DAYS = 100


@task(
    reads=[MODEL_PROMOTION, ALERT_EVENT, SUBJECT],
    writes=[RETRAINING_TRIGGER],
    params={"despite": "", "model": ""},
)
def trigger(run: Run) -> Metrics:
    """Write down what asks for a new model. The task fails, and nothing is trained, where outcomes
    are spoilt by acting on scores, unless the parameter `despite` gives a reason to do it all the
    same."""
    name = run.model.name
    champion, despite = tracking.champion_version(run, name), run.params.get("despite", "")
    found = decide_trigger(champion, _events(run, name) if champion else [], _new_outcomes(run))
    why = f"{found.reason} Trained despite that: {despite}" if despite else found.reason
    is_due = found.is_due or bool(despite)
    decided = {"model_name": name, "decided_at": run.as_of, "is_due": is_due, "reason": why}
    row = {**decided, "trigger": found.trigger, "alert": found.alert}
    run.lake.upsert(RETRAINING_TRIGGER, [row])
    if not is_due:
        raise ModelError(f"not trained: {found.reason} To train all the same: --param despite=WHY")
    return {"outcome": found.trigger, "alert": found.alert}


def _events(run: Run, name: str) -> list[dict[str, object]]:
    recent = F.col("window_at") > F.lit(run.as_of - timedelta(days=_RECENT_DAYS))
    mine = F.get_json_object("labels", "$.model") == name
    return [row.asDict() for row in run.lake.read(ALERT_EVENT).filter(recent & mine).collect()]


def _new_outcomes(run: Run) -> int:
    """Participations that ended since the version in use came into use."""
    last = tracking.last_promotion(run, run.model.name)
    if last is None:
        return 0
    ended = F.col("ended_at").between(F.lit(last["decided_at"]), F.lit(run.as_of))
    return run.lake.read(SUBJECT).filter(ended).count()
