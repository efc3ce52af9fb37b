"""MLflow by explicit clients: runs, registered versions and aliases of this lake's models."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pandas as pd
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION
from clinical_lakehouse.tables.gold_models import MODEL_VERSION

CHAMPION = "champion"  # the alias of the version in use
CHALLENGER = "challenger"  # the alias of a canary's version
_FOLLOWED = "promotion_number"  # tag: the gold.model_promotion row the alias stands for
_SHARE = "challenger_share"  # tag: the share of subjects the canary serves

# MLflow stores estimators with skops, which loads only types it is told to trust.
_TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]
_MODEL_FOLDER = "model"


class Place(Protocol):
    """A lake as far as models go: where it lies. A server of models needs no more, and no Spark."""

    @property
    def root(self) -> Path:
        """The lake's folder."""

    @property
    def catalog(self) -> str | None:
        """Its catalog in Unity Catalog; None on a local lake."""


@dataclass(frozen=True)
class InUse:
    """Versions that answer now: the version in use, and a canary's with the share of subjects
    (0-1) that it answers."""

    champion: int
    challenger: int | None = None
    share: float = 0.0


@dataclass(frozen=True)
class Trained:
    """A fitted estimator with what is kept beside it: example rows (they become the signature),
    parameters, metrics, and documents stored as JSON files."""

    estimator: Any
    features: pd.DataFrame
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    documents: Mapping[str, Any] = field(default_factory=dict)
    trusted_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registered:
    """A registered model version and the MLflow run that made it."""

    version: int
    tracking_run_id: str


def register(run: Run, name: str, digest: str, trained: Trained) -> Registered:
    """Log a training and register its model; a training of the same digest is not logged twice."""
    known = find_registered(run, name, digest)
    if known is not None:
        return known
    client = _client(run.lake)
    started = client.create_run(_experiment(run, client, name), tags={"training_digest": digest})
    run_id = started.info.run_id
    for key, value in trained.params.items():
        client.log_param(run_id, key, value)
    for key, number in trained.metrics.items():
        client.log_metric(run_id, key, number)
    for file, document in trained.documents.items():
        client.log_text(run_id, json.dumps(document, indent=1, sort_keys=True), file)
    _log_model(client, run_id, trained)
    client.set_terminated(run_id)
    source = f"{started.info.artifact_uri}/{_MODEL_FOLDER}"
    _ensure_registered(run, client, name)
    made = client.create_model_version(_full_name(run.lake, name), source, run_id)
    return Registered(int(made.version), run_id)


def find_registered(run: Run, name: str, digest: str) -> Registered | None:
    """The version that a training of this digest registered, if there is one."""
    client = _client(run.lake)
    wanted = f"tags.training_digest = '{digest}'"
    for logged in client.search_runs([_experiment(run, client, name)], wanted):
        made = client.search_model_versions(f"run_id = '{logged.info.run_id}'")
        if made:
            return Registered(min(int(v.version) for v in made), logged.info.run_id)
    return None


def logged_params(run: Run, tracking_run_id: str) -> Mapping[str, str]:
    """The parameters that a training logged with its MLflow run."""
    with _refusals("that MLflow run is not in the tracking store; check MLFLOW_TRACKING_URI"):
        return dict(_client(run.lake).get_run(tracking_run_id).data.params)


def load_model(run: Run, name: str, version_or_alias: int | str) -> Any:
    """The fitted estimator of a version (number) or alias (text); `predict_proba` takes a pandas
    DataFrame of the version's feature columns. Raises ModelError where there is none."""
    wanted = str(version_or_alias)
    version = int(wanted) if wanted.isdigit() else get_alias_version(run, name, wanted)
    if version is None:
        raise ModelError(f"model {name!r} has no alias {wanted!r}; promote a version first")
    return load_version(run.lake, name, version)[0]


def load_version(lake: Place, name: str, version: int) -> tuple[Any, dict[str, str]]:
    """The fitted estimator of a version, and its inputs in order: name to MLflow type of its
    signature (double, string, ...). Raises ModelError where there is none."""
    import mlflow.sklearn
    from mlflow.models import get_model_info

    client = _client(lake)
    with _refusals(f"model {name!r} has no version {version}; train one first"):
        client.get_model_version(_full_name(lake, name), str(version))
    tracking_uri, registry_uri = _uris(lake)
    folder = mlflow.artifacts.download_artifacts(
        _place(lake, client, name, version), tracking_uri=tracking_uri, registry_uri=registry_uri
    )
    signature = get_model_info(folder).signature
    kinds = zip(signature.inputs.input_names(), signature.inputs.input_types(), strict=True)
    return mlflow.sklearn.load_model(folder), {column: kind.name for column, kind in kinds}


def in_use(lake: Place, name: str) -> InUse:
    """Which versions answer now, by the registry alone; in one question to it. ModelError where
    none is in use."""
    with _refusals(f"the registry does not know the model {name!r}, or cannot be asked"):
        found = _client(lake).get_registered_model(_full_name(lake, name))
    aliases = {alias: int(version) for alias, version in found.aliases.items()}
    if CHAMPION not in aliases:
        raise ModelError("no version is in use yet; run model_deployment or `models approve`")
    challenger = aliases.get(CHALLENGER)
    share = float(found.tags.get(_SHARE, 0.0)) if challenger is not None else 0.0
    return InUse(aliases[CHAMPION], challenger, share)


def get_alias_version(run: Run, name: str, alias: str) -> int | None:
    """The version an alias (e.g. champion) points to; None while it points nowhere."""
    from mlflow.exceptions import MlflowException

    try:
        return int(
            _client(run.lake).get_model_version_by_alias(_full_name(run.lake, name), alias).version
        )
    except MlflowException as error:
        if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            return None
        raise ModelError(f"the registry cannot look up {name!r}: {error.error_code}") from None


def champion_version(run: Run, name: str) -> int | None:
    """The version in use, by the last row of gold.model_promotion (the caller declares that it
    reads it); on a lake that has none yet, by the alias. None before the first promotion."""
    last = last_promotion(run, name)
    return int(last["to_version"]) if last else get_alias_version(run, name, CHAMPION)


def champion_then(run: Run, name: str) -> int | None:
    """The version that was in use at the run's as_of, so that a run for a past day is what it was
    then; as champion_version on a lake without promotions."""
    mine = run.lake.read(MODEL_PROMOTION).filter(F.col("model_name") == name)
    rows = mine.select("promotion_number", "to_version", F.col("decided_at") <= F.lit(run.as_of))
    made = sorted(tuple(row) for row in rows.collect())
    then = [version for _, version, was_made in made if was_made]
    if then:
        return int(then[-1])
    return None if made else get_alias_version(run, name, CHAMPION)


def last_promotion(run: Run, name: str) -> dict[str, Any] | None:
    """The last gold.model_promotion row of a model, which is the true one; None without any."""
    mine = run.lake.read(MODEL_PROMOTION).filter(F.col("model_name") == name)
    found = mine.orderBy(F.desc("promotion_number")).limit(1).collect()
    return found[0].asDict() if found else None


def check_version(run: Run, name: str, version: int) -> None:
    """ModelError where the registry has no such version, or cannot be asked."""
    with _refusals(f"model {name!r} has no version {version} in the registry; train one first"):
        _client(run.lake).get_model_version(_full_name(run.lake, name), str(version))


def shadow(run: Run, name: str, version: int, promotion_number: int) -> None:
    """Let the alias champion follow a promotion, and note which one it followed."""
    set_alias(run, name, CHAMPION, version)
    number = str(promotion_number)
    _client(run.lake).set_registered_model_tag(_full_name(run.lake, name), _FOLLOWED, number)


def shadow_canary(run: Run, name: str, version: int | None, share: float = 0.0) -> None:
    """Let the alias challenger follow an open canary and its share; None takes the alias away."""
    if version is None:
        with _refusals(f"model {name!r} is not registered; train one first"):
            _client(run.lake).delete_registered_model_alias(_full_name(run.lake, name), CHALLENGER)
        return
    # The share first: a version must never answer more subjects than its canary says.
    _client(run.lake).set_registered_model_tag(_full_name(run.lake, name), _SHARE, str(share))
    set_alias(run, name, CHALLENGER, version)


def followed_promotion(run: Run, name: str) -> int:
    """The number of the promotion that the alias followed last; 0 before the first."""
    with _refusals(f"model {name!r} is not registered; train one first"):
        tags = _client(run.lake).get_registered_model(_full_name(run.lake, name)).tags
    return int(tags.get(_FOLLOWED, 0))


def recorded_version(run: Run, name: str, number: int) -> dict[str, Any]:
    """The gold.model_version row of a registered version; the caller declares that it reads it."""
    mine = (F.col("model_name") == name) & (F.col("model_version") == number)
    found = run.lake.read(MODEL_VERSION).filter(mine).collect()
    if not found:
        raise ModelError(f"{name!r} version {number} is not in gold.model_version; train again")
    return found[0].asDict()


def set_alias(run: Run, name: str, alias: str, version: int) -> None:
    """Point an alias at a version; it leaves the version it pointed to before."""
    with _refusals(f"model {name!r} has no version {version} to call {alias!r}; train one first"):
        _client(run.lake).set_registered_model_alias(
            _full_name(run.lake, name), alias, str(version)
        )


def describe_version(
    run: Run, name: str, version: int, tags: Mapping[str, str], description: str = ""
) -> None:
    """Set tags and, if given, the description of a registered version."""
    client = _client(run.lake)
    with _refusals(f"model {name!r} has no version {version} to describe; train one first"):
        for key, value in tags.items():
            client.set_model_version_tag(_full_name(run.lake, name), str(version), key, value)
        if description:
            client.update_model_version(_full_name(run.lake, name), str(version), description)


@contextmanager
def _refusals(message: str) -> Iterator[None]:
    """Turns MLflow's refusal into one line that says what to do."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException:
        raise ModelError(message) from None


def _uris(lake: Place) -> tuple[str, str]:
    """Tracking and registry: MLFLOW_TRACKING_URI, the workspace's own, or the lake's SQLite."""
    if lake.catalog:
        return "databricks", "databricks-uc"
    folder = lake.root / "mlflow"
    server = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    return server, server


def _client(lake: Place) -> Any:
    # Imported late: MLflow takes three seconds, which no other task should pay.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if not lake.catalog:
        (lake.root / "mlflow").mkdir(parents=True, exist_ok=True)
    return MlflowClient(*_uris(lake))


def _full_name(lake: Place, name: str) -> str:
    """Unity Catalog names a model in three parts; elsewhere its name is enough."""
    return f"{lake.catalog}.gold.{name}" if lake.catalog else name


def _place(lake: Place, client: Any, name: str, version: int) -> str:
    """Where a version's files lie; Unity Catalog hands out access by the version's own URI."""
    full_name = _full_name(lake, name)
    if lake.catalog:
        return f"models:/{full_name}/{version}"
    return str(client.get_model_version_download_uri(full_name, str(version)))


def _experiment(run: Run, client: Any, name: str) -> str:
    """The id of the model's experiment, made where it is not there yet."""
    path = f"/Shared/clinical_lakehouse/{name}" if run.lake.catalog else name
    known = client.get_experiment_by_name(path)
    if known is not None:
        return str(known.experiment_id)
    local = _uris(run.lake)[0].startswith("sqlite")
    place = (run.lake.root / "mlflow" / "artifacts").as_uri() if local else None
    return str(client.create_experiment(path, artifact_location=place))


def _ensure_registered(run: Run, client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(_full_name(run.lake, name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise ModelError(f"model {name!r} cannot be registered: {error.error_code}") from None


def _log_model(client: Any, run_id: str, trained: Trained) -> None:
    """Save the estimator with its signature and stated requirements (nothing is inferred)."""
    import mlflow.sklearn
    import sklearn
    from mlflow.models import infer_signature

    example = trained.features.head(5)
    risk = trained.estimator.predict_proba(example)
    with TemporaryDirectory() as folder:
        mlflow.sklearn.save_model(
            trained.estimator,
            Path(folder) / _MODEL_FOLDER,
            signature=infer_signature(example, risk),
            pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"pandas=={pd.__version__}"],
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=[*_TRUSTED_TYPES, *trained.trusted_types],
            pyfunc_predict_fn="predict_proba",
        )
        client.log_artifacts(run_id, str(Path(folder) / _MODEL_FOLDER), _MODEL_FOLDER)
