"""Settings: conf/base.yml, then conf/<env>.yml, then the environment; unknown keys refused."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinical_lakehouse.errors import SettingsError, UsageError
from clinical_lakehouse.tables.conf import conf_dir


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


FamilyName = Literal[
    "clinical_score",
    "logistic_core",
    "logistic_all",
    "cox",
    "random_forest",
    "gradient_boosting",
    "survival_boosting",
]


class Limits(_Section):
    """Where a figure starts to alert."""

    quality_score_min: float
    accuracy_drop_max: float
    drift_max: float
    pipeline_failure_rate_max: float
    resource_use_max: float


class Consent(_Section):
    """How Consent documents are read; conf/base.yml says what each key means."""

    retrospective: Literal["always", "coded", "never"]
    starts_with_encounter: bool
    ignored_scopes: tuple[str, ...]
    permit_rules: tuple[str, ...]
    deny_rules: tuple[str, ...]
    provision_rules: tuple[str, ...]
    purposes: tuple[str, ...]
    other_purposes: tuple[str, ...]
    actions: tuple[str, ...]
    other_actions: tuple[str, ...]
    recipients: tuple[str, ...]
    author_roles: tuple[str, ...]
    custodian_roles: tuple[str, ...]
    use_codes: tuple[str, ...]
    retrospective_codes: tuple[str, ...]
    policy_systems: tuple[str, ...]
    clinical_systems: tuple[str, ...]


class Assessment(_Section):
    """A table of people, what of it may find them again, and what must not be learnt."""

    table: str
    quasi_identifiers: tuple[str, ...]
    sensitive: str | None = None
    is_ordered: bool = False


class Privacy(_Section):
    """De-identification: mode, keys and date offsets, consent without a document, the vault."""

    hipaa_compliance_mode: Literal["strict", "limited"]
    date_shift_days: int
    consent_when_absent: Literal["permit", "deny"]
    consent: Consent
    vault_secret: str
    vault_secret_previous: str | None = None
    surrogate_keys: Literal["random", "derived"]
    known_modifier_extensions: tuple[str, ...]
    zip3_withheld: tuple[str, ...]
    reidentification: tuple[Assessment, ...]
    data_use_agreement: str | None = None


class Retention(_Section):
    """How long data and audit are kept, and the reference to the key that signs the audit."""

    data_retention_days: int
    audit_log_enabled: bool
    audit_key: str


class Completeness(_Section):
    """When an encounter is complete, and whether readers may see one that is not."""

    linked_types: tuple[str, ...]
    hide_incomplete_encounters: bool


class Population(_Section):
    """Of whom a model may be asked, by what is known at the index date: so many days on study, and
    no event so shortly before (null: no such rule)."""

    washout_days: int = Field(default=0, ge=0)
    prior_outcome_days: int | None = Field(default=None, ge=1)


class Model(_Section):
    """A model: what it predicts of whom from what, how it is searched, and the gate it must pass.

    conf/base.yml says what each key means; `space` narrows a family's hyper-parameters to (low,
    high).
    """

    name: str
    meaning: str = "The risk of the event within the horizon."
    event: Literal["withdrawal", "serious_adverse_event"]
    horizon_days: int
    population: Population
    censoring: Literal["competing", "at_risk"]
    inputs: tuple[str, ...] | None
    core_inputs: tuple[str, ...] = Field(min_length=1)
    clinical_score: str | None
    families: tuple[FamilyName, ...] = Field(min_length=1)
    space: Mapping[FamilyName, Mapping[str, tuple[float, float]]]
    search_metric: Literal["log_loss", "brier"]
    search_trials: Literal["local", "spark"]
    search_parallelism: int = Field(ge=1)
    index_every_days: int
    max_evaluations: int
    folds_by: Literal["subject", "site"]
    expected_r2_ratio: float = Field(gt=0, lt=1)
    sample_share_min: float = Field(ge=0, le=1)
    headline_metric: Literal["auroc", "accuracy"]
    gate_people_min: int = Field(ge=1)
    gate_instability_max: float = Field(gt=0, le=1)
    stability_refits: int = Field(ge=1)
    gate_auroc_min: float
    gate_gain_over_baseline_min: float
    gate_group_gap_max: float
    gate_calibration_slope: tuple[float, float]
    alert_confidence: float
    hold_out_ratio: float = Field(ge=0, le=0.5)


class Coding(_Section):
    """Texts to concepts: what is listed for a person, what is suggested, what goes in by itself."""

    list_min: float
    suggest_min: float
    candidates: int
    accept_exact: bool


class Standardization(_Section):
    """When changed records alone are mapped again: from how many events in silver on, and up to
    which share of them."""

    increment_from: int = Field(ge=0)
    increment_share_max: float = Field(ge=0, le=1)


class OmopQuality(_Section):
    """The folder that holds OHDSI's Data Quality Dashboard checks (inst/csv of its package)."""

    dqd_folder: str | None = None


class BackendAuth(_Section):
    """How to show a FHIR server who we are; `secret` of the connection is the bearer token, or the
    private key (PEM or JWK) of SMART Backend Services."""

    method: Literal["none", "bearer", "backend_services"] = "bearer"
    client_id: str | None = None
    token_url: str | None = None
    key_id: str | None = None
    scope: str = "system/*.read"


class BulkExport(_Section):
    """What to export from a FHIR server, and how long to wait for it."""

    level: Literal["system", "group", "patient"] = "system"
    group: str | None = None
    types: tuple[str, ...] = ()
    type_filters: tuple[str, ...] = ()
    incremental: bool = True
    at_once: int = 4  # downloads side by side
    most_reexports: int = 2
    wait_minutes: float = 45.0
    longest_pause_seconds: float = 300.0
    read_seconds: float = 60.0
    retries: int = 5


class Connection(_Section):
    """A system outside: where it is, and a REFERENCE to its secret (env:NAME or file:NAME)."""

    url: str | None = None
    host: str | None = None
    port: int | None = None
    database: str | None = None
    user: str | None = None
    mapping: str | None = None
    secret: str | None = None
    auth: BackendAuth = BackendAuth()
    export: BulkExport = BulkExport()


class Settings(_Section):
    """Everything that may differ between places, validated and frozen."""

    env: str
    limits: Limits
    privacy: Privacy
    retention: Retention
    completeness: Completeness
    model: Model
    models: Mapping[str, Model]
    coding: Coding
    standardization: Standardization
    omop_quality: OmopQuality
    connections: Mapping[str, Connection]

    def model_for(self, name: str = "") -> Model:
        """A declared model; without a name the one jobs are about that are not told which."""
        if name in ("", self.model.name):
            return self.model
        if name not in self.models:
            known = ", ".join(sorted({self.model.name, *self.models}))
            raise UsageError(f"no model of that name in conf/models; known models: {known}")
        return self.models[name]

    def digest(self) -> str:
        """SHA-256 of the settings: the same settings give the same digest."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


# Environment variable -> path in the settings.
_VARIABLES: dict[str, tuple[str, ...]] = {
    "CLINICAL_DB_HOST": ("connections", "clinical_db", "host"),
    "CLINICAL_DB_PORT": ("connections", "clinical_db", "port"),
    "FHIR_ENDPOINT": ("connections", "fhir_api", "url"),
    "REGULATORY_REPORTING_API": ("connections", "regulatory_api", "url"),
    "OPENLINEAGE_URL": ("connections", "openlineage", "url"),
    "LAB_SYSTEM_ENDPOINT": ("connections", "lab_system", "url"),
    "HIPAA_COMPLIANCE_MODE": ("privacy", "hipaa_compliance_mode"),
    "SURROGATE_KEYS": ("privacy", "surrogate_keys"),
    "DATA_RETENTION_DAYS": ("retention", "data_retention_days"),
    "DQD_FOLDER": ("omop_quality", "dqd_folder"),
    "AUDIT_LOG_ENABLED": ("retention", "audit_log_enabled"),
}


# Files of conf/ that are no environment's settings.
_NO_ENVIRONMENT = ("base", "access")


def load_settings(
    env: str = "dev", conf: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read and validate the settings of one environment.

    Raises SettingsError with the key that is wrong, never its value.
    """
    folder = conf or conf_dir()
    merged = _merge(_read(folder / "base.yml"), _read(folder / f"{env}.yml"))
    for variable, path in _VARIABLES.items():
        value = (os.environ if environ is None else environ).get(variable)
        if value:
            merged = _merge(merged, _nested(path, value))
    merged = _with_models(folder, merged, env)
    try:
        return Settings.model_validate({"env": env, **merged})
    except ValidationError as error:
        raise SettingsError(_explain(error, env)) from None


def _with_models(folder: Path, merged: dict[str, Any], env: str) -> dict[str, Any]:
    """Each file of conf/models over base.yml's `model`, and the environment's `model` over both."""
    base, own = (_read(folder / f"{name}.yml").get("model", {}) for name in ("base", env))
    models = {
        path.stem: _merge(_merge(base, _read(path)), own) | {"name": path.stem}
        for path in sorted((folder / "models").glob("*.yml"))
    }
    default = merged.get("model", {}).get("name")
    if default not in models:
        return merged | {"models": models}
    return merged | {"models": models, "model": models[default]}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        found = sorted(p.stem for p in path.parent.glob("*.yml") if p.stem not in _NO_ENVIRONMENT)
        known = ", ".join(found)
        raise SettingsError(f"no settings {path.name}; known environments: {known}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise SettingsError(f"conf/{path.name}{where} is not valid YAML") from None
    if not isinstance(content, dict):
        raise SettingsError(f"conf/{path.name} must hold a mapping of sections")
    return content


def _merge(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _nested(path: tuple[str, ...], value: str) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if len(path) > 1 else value}


def _explain(error: ValidationError, env: str) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and first["loc"][0] == "models":
        return f"unknown setting {where!r}; remove it from conf/models/{first['loc'][1]}.yml"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {where!r}; remove it from conf/base.yml or conf/{env}.yml"
    return f"setting {where!r}: {first['msg'].lower()}"
