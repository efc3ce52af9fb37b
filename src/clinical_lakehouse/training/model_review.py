"""Job model_review: a person signs a model version, or takes the version in use back."""

from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.change_plan import read_change_plan
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.decisions import decided_status
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_deployment import MODEL_APPROVAL, MODEL_PROMOTION
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.training.promotion import (
    ROLLED_BACK,
    Decider,
    approval_row,
    promotion_row,
    rollback_target,
)

_PARAMS = {
    "decision": "",
    "version": "",
    "role": "",
    "meaning": "",
    "why": "",
    "by": "",
    "model": "",
}
_DECISIONS = {"approve": "approved", "rollback": "rolled back"}


@task(reads=[MODEL_VERSION], writes=[MODEL_APPROVAL, MODEL_PROMOTION, ALERT_EVENT], params=_PARAMS)
def decide(run: Run) -> Metrics:
    """Write down a signature on a version, or put the version in use before back in use."""
    status = decided_status(run.params, _DECISIONS, "is kept beside it")
    version = _approve(run) if status == "approved" else _roll_back(run)
    return {"decision": status, "model_version": version}


def _approve(run: Run) -> int:
    """A signature on a version that is known; model_deployment acts on it at its next run."""
    version = _version(run)
    if version is None:
        raise UsageError("VERSION is missing: the version to sign; `models list` names them")
    name = run.model.name
    tracking.recorded_version(run, name, version)
    signed = approval_row(read_change_plan(conf_dir()).signing, run.params, run.as_of)
    row = {"model_name": name, "model_version": version, **signed}
    run.lake.upsert(MODEL_APPROVAL, [row])
    return version


def _roll_back(run: Run) -> int:
    """The version asked for, or the one in use before, is in use again; scores follow it."""
    name, wanted, given = run.model.name, _version(run), run.params
    promotions.adopt(run, name)
    rows = run.lake.read(MODEL_PROMOTION).filter(F.col("model_name") == name)
    done = rows.filter((F.col("decided_at") == F.lit(run.as_of)) & (F.col("action") == ROLLED_BACK))
    again = done.collect()
    if again:  # a killed try that is run again must not go back twice
        promotions.follow(run, "model-review-decide", name)
        return int(again[0]["to_version"])
    made = sorted((row.asDict() for row in rows.collect()), key=lambda row: row["promotion_number"])
    target = rollback_target(made, wanted)
    meaning = given.get("meaning") or "responsibility"
    who = Decider(given["by"], given.get("role") or "operator", meaning, given["why"])
    change = (made[-1]["to_version"], target)
    promotions.record(run, promotion_row(name, ROLLED_BACK, change, made[-1], who))
    return target


def _version(run: Run) -> int | None:
    text = run.params.get("version", "")
    if text and not text.isdigit():
        raise UsageError("VERSION must be a number; `models list` names them")
    return int(text) if text else None
