"""The Spark session: Databricks' own where there is one, else a small local one with Delta."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from clinical_lakehouse.errors import PrerequisiteError
from clinical_lakehouse.runtime.locks import exclusive
from clinical_lakehouse.runtime.package import zipped_package
from clinical_lakehouse.runtime.prerequisites import NEEDED_JAVA, java_version

# All 33 jars of the dependency tree would cost 3.5 s at every start; these do the work.
_NEEDED = ("io.delta_delta-", "io.unitycatalog_unitycatalog-")
_NEEDED_COUNT = 7
# What tables and clocks need on any cluster that is not Databricks.
_SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
# What makes one machine quick with little data; a cluster has its own measure.
_LOCAL_SETTINGS = {
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.autoBroadcastJoinThreshold": "32m",
    "spark.scheduler.mode": "FAIR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # A table's log holds 1.2 MB of the driver and a query's history 50 kB: the defaults (10,000
    # logs, 1,000 queries) fill a notebook's session, or the suite's, until nothing else fits.
    "spark.databricks.delta.delta.log.cacheSize": "150",
    "spark.sql.ui.retainedExecutions": "50",
    "spark.ui.retainedJobs": "100",
    "spark.ui.retainedStages": "100",
    "spark.log.level": "ERROR",
    "spark.driver.extraJavaOptions": " ".join(
        # Half of a short run's processor time went into optimizing methods called a few thousand
        # times; with four times the threshold the demo needs 12% less. Hot loops wait no longer.
        ["-XX:+UseParallelGC", "-Duser.timezone=UTC", "-XX:Tier4InvocationThreshold=20000"]
        + ["-XX:Tier4MinInvocationThreshold=3000", "-XX:Tier4CompileThreshold=40000"]
    ),
}


def open_session(master: str | None = None, remote: str | None = None) -> SparkSession:
    """A session for this place: the running one, a Connect server's, a submitted or a local one.

    `master` is `local[N]` or `spark://...`; without it, what spark-submit was given, else
    `local[<cores>]`. Fetches Delta's jars once, by Ivy; later starts use them by path and need no
    network.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return SparkSession.builder.getOrCreate()
    if remote:
        return _connected(remote)
    _count_time_in_utc()
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit has started the JVM
        return _submitted(master)
    _require_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = _local(master or f"local[{os.cpu_count() or 2}]")
    with _jvm_messages_in_a_file():
        return _started(builder)


def _connected(remote: str) -> SparkSession:
    """A Connect server's session; the server's Python workers are given this package."""
    session = SparkSession.builder.remote(remote).getOrCreate()
    session.addArtifacts(str(zipped_package(cache_dir())), pyfile=True)
    return session


def _submitted(master: str | None) -> SparkSession:
    """Master, memory and cores are spark-submit's; Delta's jars are added where it had none, and
    executors are given this package."""
    builder = SparkSession.builder.appName("clinical-lakehouse")
    if master:
        builder = builder.master(master)
    for name, value in _SETTINGS.items():
        builder = builder.config(name, value)
    jars = _missing_jars()
    if jars:
        builder = builder.config("spark.jars", ",".join(jars))
    session = builder.getOrCreate()
    session.sparkContext.addPyFile(str(zipped_package(cache_dir())))
    return session


def _missing_jars() -> list[str]:
    """Jars to hand to executors, after putting them on the running driver's class path."""
    from py4j.protocol import Py4JJavaError
    from pyspark import SparkContext

    SparkContext._ensure_initialized()
    java: Any = SparkContext._jvm
    loader = java.java.lang.Thread.currentThread().getContextClassLoader()
    with suppress(Py4JJavaError):
        loader.loadClass(_SETTINGS["spark.sql.extensions"])
        return []
    jars = delta_jars()
    if not jars:
        raise PrerequisiteError(
            "Delta is missing; add --packages io.delta:delta-spark_4.2_2.13:4.4.0 to spark-submit"
        )
    for jar in jars:
        loader.addURL(java.java.io.File(jar).toURI().toURL())
    given = java.java.lang.System.getProperty("spark.jars") or ""
    return [*filter(None, given.split(",")), *jars]


def _local(master: str) -> SparkSession.Builder:
    builder = SparkSession.builder.master(master).appName("clinical-lakehouse")
    memory = os.environ.get("CLINICAL_DRIVER_MEMORY", "3g")
    builder = builder.config("spark.driver.memory", memory)
    builder = builder.config("spark.sql.warehouse.dir", str(cache_dir() / "warehouse"))
    for name, value in {**_SETTINGS, **_LOCAL_SETTINGS}.items():
        builder = builder.config(name, value)
    return builder


def _started(builder: SparkSession.Builder) -> SparkSession:
    """The session with Delta's jars. Of two processes that find none only one fetches them, for
    two Ivys that write into one folder both fail; the other waits and finds them."""
    with exclusive(cache_dir() / "delta-jars"):
        jars = delta_jars()
        if not jars:
            from delta import configure_spark_with_delta_pip

            return configure_spark_with_delta_pip(builder).getOrCreate()
    return builder.config("spark.jars", ",".join(jars)).getOrCreate()


def delta_jars() -> list[str]:
    """Paths of Delta's jars on this machine, for the installed version; empty if any lacks."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        wanted = version("delta-spark")
    except PackageNotFoundError:
        return []
    for folder in sorted(Path.home().glob(".ivy2*/jars")):
        found = [str(p) for p in sorted(folder.glob("*.jar")) if p.name.startswith(_NEEDED)]
        if len(found) >= _NEEDED_COUNT and any(wanted in jar for jar in found):
            return found
    return []


def cache_dir() -> Path:
    """Where this user's caches lie (XDG), made if missing."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    path = root / "clinical-lakehouse"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _require_java() -> None:
    found = java_version()
    if found is None or found < NEEDED_JAVA:
        have = "is missing" if found is None else f"{found} is too old"
        raise PrerequisiteError(f"Java {have}; install a JDK {NEEDED_JAVA} or newer, set JAVA_HOME")


@contextmanager
def _jvm_messages_in_a_file() -> Iterator[None]:
    """The JVM started within keeps this stderr: its chatter goes to a file of the user's own."""
    log = os.open(cache_dir() / "spark.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    kept = os.dup(2)
    os.dup2(log, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


def _count_time_in_utc() -> None:
    """PySpark hands timestamps to Python in the process's own zone; every `_at` column is UTC."""
    os.environ["TZ"] = "UTC"
    time.tzset()
