"""Settings: base < environment file < environment variables; what is unknown is refused by name."""

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.settings import conf_dir, load_settings


@pytest.fixture
def conf(tmp_path):
    """A copy of the base settings that a test may spoil."""
    (tmp_path / "base.yml").write_text((conf_dir() / "base.yml").read_text())
    (tmp_path / "dev.yml").write_text("{}")
    return tmp_path


def test_the_mission_limits_are_the_defaults():
    limits = load_settings("dev", environ={}).limits
    assert limits.model_dump() == {
        "quality_score_min": 0.95,
        "accuracy_drop_max": 0.05,
        "drift_max": 0.2,
        "pipeline_failure_rate_max": 0.01,
        "resource_use_max": 0.8,
    }


def test_environment_file_overrides_base_and_variables_override_both(conf):
    (conf / "dev.yml").write_text("retention: {data_retention_days: 30}\nlimits: {drift_max: 0.3}")
    settings = load_settings("dev", conf, {"DATA_RETENTION_DAYS": "60"})
    assert (settings.retention.data_retention_days, settings.limits.drift_max) == (60, 0.3)


@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
def test_shipped_environments_are_valid(env):
    assert load_settings(env, environ={}).env == env


def test_every_named_variable_reaches_its_setting():
    given = {
        "CLINICAL_DB_HOST": "db.test",
        "CLINICAL_DB_PORT": "5433",
        "FHIR_ENDPOINT": "https://fhir.test",
        "REGULATORY_REPORTING_API": "https://reg.test",
        "LAB_SYSTEM_ENDPOINT": "https://lab.test",
        "HIPAA_COMPLIANCE_MODE": "limited",
        "SURROGATE_KEYS": "derived",
        "DATA_RETENTION_DAYS": "1",
        "AUDIT_LOG_ENABLED": "false",
    }
    settings = load_settings("dev", environ=given)
    places = settings.connections
    assert (places["clinical_db"].host, places["clinical_db"].port) == ("db.test", 5433)
    assert places["fhir_api"].url == "https://fhir.test"
    assert places["regulatory_api"].url == "https://reg.test"
    assert places["lab_system"].url == "https://lab.test"
    assert settings.privacy.hipaa_compliance_mode == "limited"
    assert settings.privacy.surrogate_keys == "derived"
    assert settings.retention.data_retention_days == 1
    assert settings.retention.audit_log_enabled is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {drift_maximum: 1}", "unknown setting 'limits.drift_maximum'"),
        ("colour: red", "unknown setting 'colour'"),
        ("limits: {drift_max: SECRET}", "setting 'limits.drift_max'"),
        (
            "connections: {fhir_api: {export: {level: SECRET}}}",
            "'connections.fhir_api.export.level'",
        ),
        ("limits: [", "line 1 is not valid YAML"),
        ("- a", "must hold a mapping"),
    ],
)
def test_wrong_settings_are_refused_by_key_and_never_show_the_value(conf, text, said):
    (conf / "dev.yml").write_text(text)
    with pytest.raises(SettingsError) as refusal:
        load_settings("dev", conf, {})
    assert said in str(refusal.value)
    assert "SECRET" not in str(refusal.value)


def test_unknown_environment_lists_the_known_ones(conf):
    with pytest.raises(SettingsError, match="known environments: dev"):
        load_settings("production", conf, {})


def test_same_settings_same_digest():
    one, two = load_settings("dev", environ={}), load_settings("dev", environ={})
    changed = load_settings("dev", environ={"DATA_RETENTION_DAYS": "1"})
    assert one.digest() == two.digest() != changed.digest()
