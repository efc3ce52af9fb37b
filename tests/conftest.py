"""One Spark session for the suite, a fresh lake for each test, public data where it is."""

import hashlib
import os
import shutil
import threading
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.session import open_session
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.contract import Table

PUBLIC_DATA = Path(
    os.environ.get("CLINICAL_PUBLIC_DATA", Path(__file__).parents[2] / "shared/data")
)

SOAK_SHARES = 5
# Whole runs first: begun last, one of them would keep one worker busy while the other idles.
LONGEST = ("scenarios", "standardization", "ingestion", "operators", "alerting", "training")


def pytest_addoption(parser):
    """--soak: run none, a share that changes with the day, or all of the slow tests."""
    parser.addoption("--soak", choices=("none", "share", "all"), default="none")


def pytest_collection_modifyitems(config, items):
    """Skip the slow tests that are not of today's share; a file's are due together, for they share
    what they are run on."""
    items.sort(key=_place)
    wanted, today = config.getoption("--soak"), datetime.now(UTC).toordinal() % SOAK_SHARES
    for item in items:
        share = zlib.crc32(item.location[0].encode()) % SOAK_SHARES
        due = wanted == "all" or (wanted == "share" and share == today)
        if item.get_closest_marker("soak") and not due:
            item.add_marker(pytest.mark.skip(reason="slow: runs with --soak=all or on its day"))


def _place(item) -> int:
    """Where its folder comes in the order of work; within it tests stay as they are."""
    folder = item.location[0].split("/")[1]
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def spark():
    """The suite's one Spark session, two cores."""
    session = open_session("local[2]")
    # With a few rows, compiling each query and planning it twice cost more than they save. Tests
    # that start a process of their own, and the demo, run with what users have.
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    session.conf.set("spark.sql.codegen.wholeStage", "false")
    session.conf.set("spark.sql.adaptive.enabled", "false")
    yield session
    session.stop()


@pytest.fixture(scope="session", autouse=True)
def made_once(tmp_path_factory):
    """Delta makes each contract's table once; every lake of the suite gets a copy of the folder,
    for a CREATE TABLE costs 0.2 s of processor time, and a lake has some thirty tables."""
    make, one_at_a_time = Lakehouse.ensure, threading.Lock()

    def ensure(lake: Lakehouse, table: Table) -> None:
        if lake.catalog or lake.exists(table):
            return
        if lake.path(table).exists():  # what a killed process left
            make(lake, table)
            return
        contract = hashlib.sha256(repr(table).encode()).hexdigest()[:16]
        with one_at_a_time:
            template = replace(lake, root=tmp_path_factory.getbasetemp() / "made" / contract)
            make(template, table)
        shutil.copytree(template.path(table), lake.path(table))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lakehouse, "ensure", ensure)
        yield


@pytest.fixture
def lake(spark, tmp_path) -> Lakehouse:
    """An empty lake in a folder of the test's own."""
    return Lakehouse(spark, tmp_path / "lake")


@pytest.fixture
def run(lake) -> Run:
    """A run on the empty lake, at noon of 30 June 2024."""
    return Run(
        lake, load_settings("dev", environ={}), datetime(2024, 6, 30, 12, tzinfo=UTC), "test"
    )


@pytest.fixture
def public_data():
    """Path of a public data set, or the test is skipped with the reason."""

    def find(name: str) -> Path:
        folder = PUBLIC_DATA / name
        if not folder.exists():
            pytest.skip(f"public data {name} is not beside the checkout (CLINICAL_PUBLIC_DATA)")
        return folder

    return find
