"""A session starts from the jars on this machine and asks no network; Java is checked first."""

import time
from concurrent.futures import ThreadPoolExecutor

import delta
import pytest

from clinical_lakehouse.errors import PrerequisiteError
from clinical_lakehouse.runtime import prerequisites, session


def test_session_uses_delta_jars_by_path_and_no_repository(spark):
    configured = {row.key: row.value for row in spark.sql("SET").collect()}
    if not session.delta_jars():
        pytest.skip("Delta's jars were fetched in this very session")
    assert "spark.jars.packages" not in configured
    assert len(configured["spark.jars"].split(",")) == len(session.delta_jars())


def test_jars_are_looked_up_by_installed_version(monkeypatch, tmp_path):
    folder = tmp_path / ".ivy2.5.2" / "jars"
    folder.mkdir(parents=True)
    monkeypatch.setattr(session.Path, "home", lambda: tmp_path)
    assert session.delta_jars() == []
    for number in range(7):
        (folder / f"io.delta_delta-{number}-0.0.1.jar").touch()
    assert session.delta_jars() == []


@pytest.mark.parametrize(("found", "said"), [(None, "Java is missing"), (11, "Java 11 is too old")])
def test_wrong_java_is_one_line_that_says_what_to_install(monkeypatch, found, said):
    monkeypatch.setattr(session, "java_version", lambda: found)
    with pytest.raises(PrerequisiteError, match=f"{said}; install a JDK 17"):
        session._require_java()


def test_missing_java_and_full_disk_are_one_line_each(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(prerequisites, "NEEDED_DISK_GB", 10**9)
    lines = prerequisites.missing(str(tmp_path))
    assert len(lines) == 2
    assert lines[0].startswith("Java is missing; install")
    assert "GB of disk are free; free" in lines[1]


def test_of_two_first_starts_only_one_fetches_the_jars(monkeypatch, tmp_path):
    """Found on a fresh machine: two Ivys writing into one folder both failed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found: list[str] = []
    monkeypatch.setattr(session, "delta_jars", lambda: list(found))
    monkeypatch.setattr(delta, "configure_spark_with_delta_pip", lambda builder: builder)
    started = []

    class Builder:
        fetches = True

        def config(self, name, value):
            self.fetches = False
            return self

        def getOrCreate(self):
            time.sleep(0.2)
            found.append("delta.jar")
            started.append("fetched" if self.fetches else "by path")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(session._started, [Builder(), Builder()]))
    assert sorted(started) == ["by path", "fetched"]
