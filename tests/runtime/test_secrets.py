"""The vault's secret: made once, private, and refused when missing, open or damaged."""

import sys
from dataclasses import dataclass

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.secrets import connection_secret, vault_secret
from clinical_lakehouse.runtime.settings import load_settings


@dataclass(frozen=True)
class Folder:
    root: object


def _run(root, reference="file:vault.key"):
    settings = load_settings("dev", environ={})
    privacy = settings.privacy.model_copy(update={"vault_secret": reference})
    return Run(Folder(root), settings.model_copy(update={"privacy": privacy}), None, "test")


def test_key_file_is_made_once_with_mode_0600(tmp_path):
    first = vault_secret(_run(tmp_path), may_make=True)
    assert len(first) == 32
    assert vault_secret(_run(tmp_path), may_make=True) == first
    path = tmp_path / "vault" / "vault.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["vault.key"]


def test_missing_key_file_is_not_replaced_by_a_new_one(tmp_path):
    with pytest.raises(SettingsError, match="missing; restore"):
        vault_secret(_run(tmp_path))


def test_key_file_open_to_others_is_refused(tmp_path):
    vault_secret(_run(tmp_path), may_make=True)
    (tmp_path / "vault" / "vault.key").chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        vault_secret(_run(tmp_path))


def test_damaged_key_file_is_refused(tmp_path):
    vault_secret(_run(tmp_path), may_make=True)
    (tmp_path / "vault" / "vault.key").write_bytes(b"short")
    with pytest.raises(SettingsError, match="damaged"):
        vault_secret(_run(tmp_path))


def test_secret_comes_from_the_environment_as_hex(tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_KEY", "ab" * 32)
    assert vault_secret(_run(tmp_path, "env:VAULT_KEY")) == b"\xab" * 32
    monkeypatch.setenv("VAULT_KEY", "not hex")
    with pytest.raises(SettingsError, match="64 hex digits"):
        vault_secret(_run(tmp_path, "env:VAULT_KEY"))


@pytest.fixture
def secret_scope(tmp_path, monkeypatch):
    """What Databricks offers to read its secret scopes, with one secret in it."""
    folder = tmp_path / "lib" / "databricks" / "sdk"
    folder.mkdir(parents=True)
    (folder / "runtime.py").write_text(
        "class secrets:\n"
        "    def get(scope, key):\n"
        f"        return {{('clinical', 'vault'): '{'cd' * 32}'}}[scope, key]\n"
        "class dbutils:\n    secrets = secrets\n"
    )
    for name in [n for n in sys.modules if n.split(".")[0] == "databricks"]:
        monkeypatch.delitem(sys.modules, name)
    for package in (folder, folder.parent):
        (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "lib")


def test_secret_comes_from_a_databricks_secret_scope(tmp_path, secret_scope):
    assert vault_secret(_run(tmp_path, "scope:clinical/vault")) == b"\xcd" * 32
    connected = _connected(tmp_path, "scope:clinical/vault")
    assert connection_secret(connected, "fhir_api") == "cd" * 32
    with pytest.raises(SettingsError, match=r"privacy\.vault_secret: .*KeyError"):
        vault_secret(_run(tmp_path, "scope:clinical/other"))


def test_secret_scope_elsewhere_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", None)
    with pytest.raises(SettingsError, match="run on Databricks") as caught:
        vault_secret(_run(tmp_path, "scope:clinical/vault"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "reference", ["file:", "file:../key", "plain-text-secret", "env:", "scope:x", "scope:"]
)
def test_reference_of_another_form_is_refused_without_showing_it(tmp_path, reference):
    with pytest.raises(SettingsError) as caught:
        vault_secret(_run(tmp_path, reference))
    assert "plain-text" not in str(caught.value)


def _connected(root, reference):
    run = _run(root)
    place = run.settings.connections["fhir_api"].model_copy(update={"secret": reference})
    settings = run.settings.model_copy(update={"connections": {"fhir_api": place}})
    return Run(run.lake, settings, None, "test")


def test_a_connections_secret_is_read_from_the_vault_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FHIR_KEY", " token\n")
    assert connection_secret(_connected(tmp_path, "env:FHIR_KEY"), "fhir_api") == "token"
    path = tmp_path / "vault" / "fhir.pem"
    path.parent.mkdir()
    path.write_text("key\n")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        connection_secret(_connected(tmp_path, "file:fhir.pem"), "fhir_api")
    path.chmod(0o600)
    assert connection_secret(_connected(tmp_path, "file:fhir.pem"), "fhir_api") == "key"


@pytest.mark.parametrize("reference", [None, "plain-text", "file:../key", "env:", "env:UNSET_KEY"])
def test_a_connections_secret_that_cannot_be_read_is_refused(tmp_path, reference):
    with pytest.raises(SettingsError, match="connections.fhir_api.secret") as caught:
        connection_secret(_connected(tmp_path, reference), "fhir_api")
    assert "plain-text" not in str(caught.value)
