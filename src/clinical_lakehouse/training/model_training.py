"""Job model_training: a declared model, searched, fitted, tracked and registered."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import sklearn
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.outcomes import followed
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.search_trials import search_trials
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_model_review import (
    LABEL_ATTRITION,
    MODEL_COMPARISON,
    TRAINING_DECISION,
)
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.silver import ADVERSE_EVENT, SUBJECT
from clinical_lakehouse.training.attrition import attrition_rows, counted
from clinical_lakehouse.training.families import Offer
from clinical_lakehouse.training.horizon_risk import own_types
from clinical_lakehouse.training.matrix import INPUTS, Matrix, as_matrix, only_known, too_few
from clinical_lakehouse.training.population import Rules, labelled
from clinical_lakehouse.training.readiness import NOT_ENOUGH, Readiness, readiness
from clinical_lakehouse.training.search import Choice, search
from clinical_lakehouse.training.split import FOLDINGS, cross_fit, time_cut
from clinical_lakehouse.training.trial_memory import TrialMemory

_SEED = "7"
# What of a model's declaration decides the fit beside horizon, budget and folds.
_DECIDING = {
    *("event", "population", "censoring", "inputs", "core_inputs", "clinical_score"),
    *("families", "space", "search_metric"),
}


@task(
    reads=[SUBJECT_FEATURE, SUBJECT, ADVERSE_EVENT],
    writes=[MODEL_VERSION, MODEL_COMPARISON, TRAINING_DECISION, LABEL_ATTRITION],
    params={"training_until": "", "seed": _SEED, "model": ""},
)
def train(run: Run) -> Metrics:
    """Train the declared `model` on outcomes known at `training_until` (a date, default as_of) and
    register a version.

    The last 30% of index dates are held out. The same data, settings and seed give the same model:
    it is registered once. Too few people by Riley's criteria are the outcome "not enough yet".
    """
    until, table_version = _training_until(run), run.lake.version(SUBJECT_FEATURE)
    rows = _labelled(run, until, table_version)
    ready = _readiness(run, rows)
    if not ready.is_enough:
        return _decided(run, ready, NOT_ENOUGH)
    matrix = as_matrix(rows)
    digest = matrix.digest(_deciding(run, until))
    known = tracking.find_registered(run, run.model.name, digest)
    if known is not None and _is_recorded(run, known):
        return _decided(run, ready, "already trained", known.version)
    memory = TrialMemory(run.lake.root / "mlflow" / "searches" / digest)
    choice = _searched(run, matrix, memory)
    trained = _trained(matrix, choice)
    made = tracking.register(run, run.model.name, digest, trained)
    row = {**_row(run, matrix, choice, made), "feature_table_version": table_version}
    told = _decided(run, ready, "trained", made.version)
    _record(run, row, until, choice)
    memory.forget()
    return {**told, **trained.metrics}


def _training_until(run: Run) -> date:
    """The last moment known to the training, never after as_of."""
    given = run.params.get("training_until")
    try:
        until = datetime.fromisoformat(given).date() if given else run.as_of.date()
    except ValueError:
        raise UsageError("training_until must be an ISO date, e.g. 2024-06-30") from None
    if until > run.as_of.date():
        raise UsageError("training_until lies after as_of; choose an earlier date")
    return until


def _seed(run: Run) -> int:
    given = run.param("seed", _SEED)
    if not given.isdigit():
        raise UsageError("seed must be a whole number, e.g. 7")
    return int(given)


def _labelled(run: Run, until: date, table_version: int) -> pd.DataFrame:
    """Feature rows of the population whose outcome is known at `until`, on the driver; who fell at
    which step is counted."""
    version = table_version if table_version >= 0 else None
    features, model = run.lake.read(SUBJECT_FEATURE, version=version), run.model
    ends = followed(model.event, run.lake.read(SUBJECT), run.lake.read(ADVERSE_EVENT))
    rules = Rules(model.population, model.horizon_days, model.censoring)
    rows = labelled(features, ends, rules, until, run.settings.privacy.date_shift_days)
    steps = counted(rules.steps(), rows)
    known: pd.DataFrame = only_known(rows, steps[-1].after).toPandas()
    told = attrition_rows(model.name, steps, len(known), run.as_of)
    run.lake.upsert(LABEL_ATTRITION, told)
    return known


def _searched(run: Run, matrix: Matrix, memory: TrialMemory) -> Choice:
    model = run.model
    given = matrix.train, _offer(run), model.max_evaluations, _seed(run), memory
    trials = search_trials(run, model.search_trials, model.search_parallelism)
    how = {"metric": model.search_metric, "trials": trials}
    return search(*given, folding=FOLDINGS[model.folds_by], **how)


def _offer(run: Run) -> Offer:
    """What the model's declaration lets the search choose from."""
    model = run.model
    unknown = sorted(set(model.inputs or ()) - set(INPUTS))
    if unknown:
        raise UsageError(f"{', '.join(unknown)}: no input; correct conf/models/{model.name}.yml")
    inputs = [name for name in INPUTS if model.inputs is None or name in model.inputs]
    core, score = model.core_inputs, model.clinical_score
    narrowed = {str(family): space for family, space in model.space.items()}
    return Offer(inputs, core, score, model.families, narrowed)


def _readiness(run: Run, rows: pd.DataFrame) -> Readiness:
    """Judged on the rows that would be trained on; the simplest family is always fitted."""
    model = run.model
    earlier = rows[rows["index_date"] < time_cut(rows)] if len(rows) else rows
    offer = _offer(run)
    fewest = min(offer.families, key=lambda family: family.rank)
    parameters = len(offer.features(fewest))
    found = readiness(earlier, parameters, model.expected_r2_ratio, model.sample_share_min)
    return replace(found, has_rows=not too_few(rows))


def _decided(run: Run, ready: Readiness, outcome: str, version: int | None = None) -> Metrics:
    """Keep what was decided, the first time at this as_of, and tell it in a few figures."""
    row = {**ready.row(), "model_name": run.model.name, "decided_at": run.as_of}
    row |= {"outcome": outcome, "model_version": version}
    run.lake.append_missing(TRAINING_DECISION, [row])
    told = {"people": ready.people, "people_needed": ready.enough.needed}
    if outcome == NOT_ENOUGH:
        return {"outcome": outcome, **told, "weeks_to_go": ready.enough.weeks}
    return {"outcome": outcome, **told, "model_version": version}


def _record(run: Run, row: dict[str, Any], until: date, choice: Choice) -> None:
    """The version's row last: what it was compared with while training comes before."""
    if choice.contest is not None:
        key = {name: row[name] for name in ("model_name", "model_version")}
        made = {**key, **choice.contest_row(), "compared_at": run.as_of}
        run.lake.upsert(MODEL_COMPARISON, [made])
    row["training_until"] = datetime(until.year, until.month, until.day, tzinfo=UTC)
    run.lake.merge(MODEL_VERSION, [row])


def _deciding(run: Run, until: date) -> dict[str, Any]:
    """What decides the model beside the rows."""
    model = run.model
    return {
        "horizon_days": model.horizon_days,
        "max_evaluations": model.max_evaluations,
        "folds_by": model.folds_by,
        "inputs": INPUTS,
        "declared": model.model_dump(mode="json", include=_DECIDING),
        "seed": _seed(run),
        "sklearn": sklearn.__version__,
        "training_until": until.isoformat(),
    }


def _is_recorded(run: Run, known: tracking.Registered) -> bool:
    """False after a training that was killed between the registry and the table."""
    same = F.col("tracking_run_id") == known.tracking_run_id
    return not run.lake.read(MODEL_VERSION).filter(same).isEmpty()


def _trained(matrix: Matrix, choice: Choice) -> tracking.Trained:
    """The chosen model fitted on the training rows, with what is kept about it.

    A subject on study on both sides of the split has rows in both, so figures on the held-out rows
    flatter a model fitted on few subjects; `auroc_other_subjects` is of the same rows, each scored
    by a model that saw no row of its subject.
    """
    estimator, test = choice.fit(matrix.train), matrix.test
    metrics = {"search_log_loss": choice.chosen.loss}
    if test["is_event"].nunique() == 2:
        risk = estimator.predict_proba(test[list(choice.features)])[:, 1]
        metrics["auroc"] = float(roc_auc_score(test["is_event"], risk))
        both = pd.concat([matrix.train, test])
        others = cross_fit(both, test["index_date"].min(), choice.fit)
        metrics["auroc_other_subjects"] = float(roc_auc_score(others["is_event"], others["score"]))
    chosen = {"algorithm": choice.chosen.family, "seed": str(choice.seed)}
    chosen |= {name: repr(value) for name, value in choice.chosen.params.items()}
    trials = [{**vars(trial), "params": dict(trial.params)} for trial in choice.trials]
    documents = {"trials.json": trials, "features.json": list(choice.features)}
    example = matrix.train[list(choice.features)]
    return tracking.Trained(
        estimator, example, chosen, metrics, documents, tuple(own_types(estimator))
    )


def _row(run: Run, matrix: Matrix, choice: Choice, made: tracking.Registered) -> dict[str, Any]:
    train, test = matrix.train["index_date"], matrix.test["index_date"]
    return {
        "model_name": run.model.name,
        "model_version": made.version,
        "tracking_run_id": made.tracking_run_id,
        "algorithm": choice.chosen.family,
        "parameters": json.dumps(dict(choice.chosen.params), sort_keys=True),
        "feature_version": matrix.feature_version,
        "feature_names": json.dumps(list(choice.features)),
        "train_from_date": train.min(),
        "train_to_date": train.max(),
        "test_from_date": test.min(),
        "test_to_date": test.max(),
        "train_row_count": len(train),
        "test_row_count": len(test),
        "horizon_days": run.model.horizon_days,
        "trained_at": run.as_of,
    }
