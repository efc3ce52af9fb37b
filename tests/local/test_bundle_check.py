"""`bundle check`: a good bundle has no fault, a broken one the fault that was planted."""

import sys
from datetime import UTC, datetime

import pytest
import yaml

from clinical_lakehouse.errors import BundleError, UsageError
from clinical_lakehouse.local.checks.flow import flow_faults
from clinical_lakehouse.local.checks.refusals import resource_classes
from clinical_lakehouse.local.examination import examine, firings
from tests.local.good_bundle import COUNT, FILES, RAW, SUITE, THING, judged, task, write

ROOT, LOAD, USE, WHOLE = (
    "databricks.yml",
    "jobs/load.job.yml",
    "jobs/use.job.yml",
    "jobs/whole.job.yml",
)
CATALOG, ACCESS = "conf/bundle/catalog.yml", "conf/access.yml"
CRON = '"0 0 4 * * ?"'
SAME = "          max_retries: 1"

# What is planted -> (file, text, other text), the line it stands on, words of the fault.
BROKEN = {
    # What cannot be read.
    "no YAML": ((LOAD, "name: load", "name: [load"), f"{LOAD}:5", "is not valid YAML"),
    "key twice": ((LOAD, "name: load", "name: a\n      name: b"), f"{LOAD}:5", "a second time"),
    "unknown root key": ((ROOT, "artifacts:", "artefacts:"), f"{ROOT}:12", "mean 'artifacts'?"),
    "missing include": (
        (ROOT, "jobs/*.job.yml", "jobs/*.job.yml\n  - x.yml"),
        f"{ROOT}:5",
        "'x.yml'",
    ),
    "unknown kind": ((CATALOG, "volumes:", "volume:"), f"{CATALOG}:15", "mean 'volumes'?"),
    "unknown job key": (
        (LOAD, "timeout_seconds", "timeout_second"),
        f"{LOAD}:5",
        "timeout_seconds'?",
    ),
    "unknown task key": ((LOAD, "max_retries", "max_retry"), f"{LOAD}:33", "mean 'max_retries'?"),
    # Names that lead nowhere.
    "unknown dependency": (
        (LOAD, "- task_key: land\n          env", "- task_key: lend\n          env"),
        f"{LOAD}:35",
        "depends on 'land', which is no task",
    ),
    "cycle": (
        (
            LOAD,
            "- task_key: land\n          env",
            "- task_key: land\n          depends_on: [{task_key: publish}]\n          env",
        ),
        f"{LOAD}:26",
        "land -> publish -> land",
    ),
    "unknown job": ((WHOLE, "jobs.use.id", "jobs.used.id"), f"{WHOLE}:21", "names no job"),
    "jobs in a circle": ((WHOLE, "jobs.use.id", "jobs.whole.id"), f"{WHOLE}:3", "whole -> whole"),
    "unknown variable": (
        (LOAD, "${var.emails}", "${var.email}"),
        f"{LOAD}:12",
        "'email' is not decl",
    ),
    "unknown variable in the root": (
        (ROOT, "name: users", "name: ${var.who}"),
        f"{ROOT}:21",
        "'who'",
    ),
    "unknown job parameter": (
        (LOAD, "parameters.as_of", "parameters.asof"),
        f"{LOAD}:26",
        "'asof'",
    ),
    "unknown reference": (
        (LOAD, "--mode=all", "--mode={{job.mood}}"),
        f"{LOAD}:35",
        "{{job.mood}}",
    ),
    "unknown child parameter": (
        (WHOLE, 'as_of: "{{', 'asof: "{{'),
        f"{WHOLE}:12",
        "no parameter 'asof'",
    ),
    "unknown entry point": ((USE, "use-count", "use-counted"), f"{USE}:19", "does not exist"),
    "unknown argument": ((LOAD, "--mode=", "--mood="), f"{LOAD}:35", "does not know --mood"),
    "parameter nobody reads": (
        (
            LOAD,
            "      environments:",
            "        - name: spare\n          default: x\n      environments:",
        ),
        f"{LOAD}:3",
        "'spare' is read by no task",
    ),
    "variable nobody reads": (
        (ROOT, "  emails:", "  spare:\n    default: 1\n  emails:"),
        f"{ROOT}:9",
        "variable 'spare' is read by nothing",
    ),
    "volume in no schema": (
        (CATALOG, "${resources.schemas.ops.name}", "opps"),
        f"{CATALOG}:17",
        "'opps'",
    ),
    "unknown field": (
        (CATALOG, "schemas.ops.name", "schemas.ops.owner"),
        f"{CATALOG}:17",
        "'owner'",
    ),
    # Where tasks run.
    "unknown environment": (
        (
            USE,
            "environment_key: default\n          python",
            "environment_key: other\n          python",
        ),
        f"{USE}:20",
        "environment_key 'other'",
    ),
    "no compute": (
        (
            LOAD,
            "          environment_key: default\n          python_wheel_task",
            "          python_wheel_task",
        ),
        f"{LOAD}:26",
        "has neither environment_key nor job_cluster_key",
    ),
    "no version": (
        (USE, '            environment_version: "5"\n', ""),
        f"{USE}:14",
        "environment_version",
    ),
    "wheel elsewhere": ((USE, "../dist/*.whl", "dist/*.whl"), f"{USE}:17", "lies in jobs/dist"),
    "no wheel": ((USE, "../dist/*.whl", "pandas"), f"{USE}:16", "brings no wheel"),
    "no artifact": ((ROOT, "type: whl", "type: jar"), f"{ROOT}:12", "no artifact of type whl"),
    "other package": (
        (USE, "package_name: clinical_lakehouse", "package_name: other"),
        f"{USE}:22",
        "'other'",
    ),
    # Tables.
    "table nobody writes": (
        (USE, "use-count", "use-lost"),
        f"{USE}:19",
        "reads gold.lost, which no task",
    ),
    "table made beside": (
        (LOAD, "          depends_on:\n            - task_key: land\n", ""),
        f"{LOAD}:35",
        "while land may be writing it",
    ),
    "jobs in wrong order": (
        (WHOLE, "          depends_on:\n            - task_key: load\n", ""),
        f"{USE}:19",
        "while publish may be writing it",
    ),
    # Triggers.
    "Quartz": ((LOAD, CRON, "0 4 * * *"), f"{LOAD}:13", "needs 6 or 7 fields"),
    "no zone": (
        (LOAD, "timezone_id: UTC", "timezone_id: UTZ"),
        f"{LOAD}:15",
        "'UTZ' is no time zone",
    ),
    "two triggers": (
        (LOAD, "schedule:", "continuous:\n        pause_status: PAUSED\n      schedule:"),
        f"{LOAD}:13",
        "has 2 triggers",
    ),
    "two events": (
        (
            USE,
            "table_update:",
            "periodic:\n          interval: 1\n          unit: DAYS\n        table_update:",
        ),
        f"{USE}:5",
        "trigger must be one of",
    ),
    "unknown table": (
        (USE, "main.silver.thing", "main.silver.think"),
        f"{USE}:8",
        "no contract describes",
    ),
    "table without catalog": (
        (USE, "main.silver.thing", "silver.thing"),
        f"{USE}:8",
        "catalog.schema.table",
    ),
    "no volume": (
        (WHOLE, "/Volumes/main/ops/files/landing/", "/mnt/landing"),
        f"{WHOLE}:7",
        "is no volume",
    ),
    "unknown volume": ((WHOLE, "/files/", "/fils/"), f"{WHOLE}:7", "volume main.ops.fils"),
    "too short a wait": (
        (WHOLE, "landing/", "landing/\n          wait_after_last_change_seconds: 5"),
        f"{WHOLE}:8",
        "60 or more",
    ),
    # Limits and settings without effect.
    "task outlasts job": (
        (LOAD, "timeout_seconds: 300", "timeout_seconds: 900"),
        f"{LOAD}:34",
        "only 600 s",
    ),
    "late warning": (
        (LOAD, "value: 300", "value: 600"),
        f"{LOAD}:10",
        "but the job ends after 600 s",
    ),
    "warning without a rule": (
        (
            LOAD,
            FILES[LOAD][FILES[LOAD].index("      health") : FILES[LOAD].index("      email")],
            "",
        ),
        f"{LOAD}:7",
        "tells nobody",
    ),
    "task key": ((USE, "task_key: count", "task_key: count it"), f"{USE}:19", "letters, digits"),
    "idle retry": ((LOAD, SAME, "          retry_on_timeout: true"), f"{LOAD}:33", "has no effect"),
    "mode": ((ROOT, "mode: development", "mode: debug"), f"{ROOT}:19", "mode 'debug'"),
    "level": ((ROOT, "CAN_VIEW", "CAN_LOOK"), f"{ROOT}:21", "'CAN_LOOK'"),
    # What databricks-bundles knows.
    "metric": (
        (LOAD, "metric: RUN_DURATION_SECONDS", "metric: RUN_DURATION"),
        f"{LOAD}:6",
        "JobsHealthMetric",
    ),
    "schema field": (
        (CATALOG, "name: silver\n", "name: silver\n      owner: me\n"),
        f"{CATALOG}:6",
        "'owner'",
    ),
    "volume type": (
        (CATALOG, "name: files\n", "name: files\n      volume_type: LOCAL\n"),
        f"{CATALOG}:19",
        "'LOCAL' is not a valid VolumeType",
    ),
    "parameter field": (
        (LOAD, "- name: as_of\n", "- name: as_of\n          kind: date\n"),
        f"{LOAD}:18",
        "Unexpected field 'kind'",
    ),
    # Access.
    "unknown role": (
        (ACCESS, "all_rows: [engineer]", "all_rows: [enginer]"),
        f"{ACCESS}:15",
        "no role 'enginer'",
    ),
    "unknown access table": (
        (ACCESS, "reads: [silver]", "reads: [silber]"),
        f"{ACCESS}:8",
        "no table or schema 'silber'",
    ),
    "unknown column": (
        (ACCESS, "silver.thing.arm", "silver.thing.armm"),
        f"{ACCESS}:9",
        "no column 'armm'",
    ),
    "unknown filter column": (
        (ACCESS, "columns: [people]", "columns: [persons]"),
        f"{ACCESS}:13",
        "no column 'persons'",
    ),
    "unknown sight": (
        (ACCESS, "sees: [quasi,", "sees: [queasy,"),
        f"{ACCESS}:5",
        "'queasy', which is none of",
    ),
    "unknown access key": (
        (ACCESS, "    reads: [silver]", "    raeds: [silver]"),
        f"{ACCESS}:8",
        "unknown key 'raeds'",
    ),
    "no group": ((ACCESS, "    group: guests\n", ""), f"{ACCESS}:6", "'guest' names no group"),
    "raw data for all": (
        (ACCESS, "reads: [silver]", "reads: [silver, bronze]"),
        f"{ACCESS}:8",
        "bronze is only for roles",
    ),
    "mask and time travel": (
        (ACCESS, "[bronze.raw]\nrow", "[silver.thing]\nrow"),
        f"{ACCESS}:10",
        "by version",
    ),
    "query in a filter": (
        (ACCESS, "people >= 11", "people IN (SELECT 11)"),
        f"{ACCESS}:14",
        "MERGE refuses it",
    ),
    "unknown group": (
        (CATALOG, "name: files\n", "name: files\n      grants: [{principal: gosts}]\n"),
        f"{CATALOG}:19",
        "gosts is the group of no role",
    ),
    "other grants": (
        (CATALOG, "principal: guests", "principal: ghosts"),
        f"{CATALOG}:6",
        "ghosts is granted",
    ),
}


def test_a_good_bundle_has_no_fault(tmp_path):
    found = judged(tmp_path)
    assert found.faults == ()
    assert found.left_out == ()
    assert set(found.jobs) == {"load", "use", "whole"}


@pytest.mark.parametrize("planted", BROKEN)
def test_a_broken_bundle_is_refused_with_file_line_and_words(tmp_path, planted):
    change, place, words = BROKEN[planted]
    faults = judged(tmp_path, change).faults
    assert any(f.startswith((f"{place}: ", f"{place} ")) and words in f for f in faults), faults
    assert len(faults) <= 3, faults  # the fault and at most what follows from it
    assert all("\n" not in fault for fault in faults)


def test_all_faults_are_listed_in_order_of_the_files(tmp_path):
    changes = [
        (LOAD, "name: load", "nam: load"),
        (LOAD, "max_retries: 1", "max_retries: many"),
        (LOAD, "--mode=all", "--mode={{job.mood}}"),
        (USE, "use-count", "use-counted"),
        (ROOT, "mode: development", "mode: debug"),
        (ACCESS, "group: guests", "group: ''"),
    ]
    faults = judged(tmp_path, *changes).faults
    places = [fault.split(": ")[0] for fault in faults]
    assert places == [f"{ROOT}:19", f"{LOAD}:4", f"{LOAD}:33", f"{USE}:19", f"{ACCESS}:6"]


def test_a_job_that_cannot_be_read_is_told_of_in_all_its_parts(tmp_path):
    changes = [
        (LOAD, CRON, "0 4 * * *"),
        (LOAD, SAME, "          run_if: SOMETIMES"),
        (LOAD, "            - task_key: land\n", "            - land\n"),
    ]
    said = [fault.split(": ", 2)[0] for fault in judged(tmp_path, *changes).faults]
    assert said == [f"{LOAD}:13", f"{LOAD}:33", f"{LOAD}:36"]


def test_a_fault_of_an_item_is_said_once(tmp_path):
    change, place, words = BROKEN["parameter field"]
    assert len(judged(tmp_path, change).faults) == 1


def test_without_databricks_bundles_one_line_says_what_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "databricks.bundles.core._resource_type", None)
    resource_classes.cache_clear()
    try:
        found = judged(tmp_path, (LOAD, "name: load", "name: load\n      run_as: 3"))
    finally:
        resource_classes.cache_clear()
    assert found.faults == ()
    assert len(found.left_out) == 1
    assert "databricks-bundles is not installed" in found.left_out[0]


def test_a_variable_without_a_value_is_told_not_refused(tmp_path):
    folder = write(tmp_path, (ROOT, "  emails:", "  who:\n    description: Whom.\n  emails:"),
                   (ROOT, "name: users", "name: ${var.who}"))  # fmt: skip
    assert examine(folder, None, SUITE, {}).left_out == (
        "set BUNDLE_VAR_who before deploying: it has no value here",
    )
    assert examine(folder, None, SUITE, {"BUNDLE_VAR_who": "me"}).left_out == ()


CONTINUOUS = [
    ("          max_retries: 1", "task 'land' has max_retries; a continuous job is restarted"),
    (
        "          depends_on:\n            - task_key: land",
        "tasks of a continuous job stand alone",
    ),
    ("      timeout_seconds: 600\n      max_concurrent_runs: 2", "has max_concurrent_runs 1"),
]


@pytest.mark.parametrize(("kept", "said"), CONTINUOUS)
def test_a_trigger_that_cannot_start_its_tasks_is_refused(tmp_path, kept, said):
    schedule = FILES[LOAD][FILES[LOAD].index("      schedule:") : FILES[LOAD].index("      param")]
    changes = [(LOAD, schedule, "      continuous:\n        pause_status: UNPAUSED\n")]
    if "max_concurrent_runs" in kept:
        changes.append((LOAD, "      timeout_seconds: 600", kept))
    assert said in "\n".join(judged(tmp_path, *changes).faults)


def test_runs_nested_deeper_than_databricks_allows_are_refused(tmp_path):
    outer = FILES[WHOLE][: FILES[WHOLE].index("        - task_key: use")]
    folder = write(tmp_path)
    for number, called in ((1, "whole"), (2, "outer1"), (3, "outer2")):
        text = outer.replace("whole", f"outer{number}").replace("jobs.load", f"jobs.{called}")
        (folder / "jobs" / f"outer{number}.job.yml").write_text(text)
    faults = examine(folder, None, SUITE, {}).faults
    assert faults == ("jobs/outer3.job.yml:3: job outer3: calls jobs 4 levels deep; Databricks "
                      "allows 3",)  # fmt: skip


def test_a_later_task_may_write_for_the_next_run_what_another_job_made_first(tmp_path):
    """map_codes reads what code_text, later in its job, leaves for the next run."""
    jobs = {k: v for k, v in judged(tmp_path).jobs.items() if k != "whole"}
    made = SUITE.tasks | {
        "load-land": task("load-land", (COUNT,), (RAW,)),
        "load-publish": task("load-publish", (RAW,), (THING, COUNT)),
    }
    assert flow_faults(jobs, made) == []
    alone = made | {"use-count": task("use-count", (THING,), ())}
    said = "jobs/load.job.yml:26: job load, task land: reads gold.count before publish writes it"
    assert flow_faults(jobs, alone) == [said]


def test_only_a_schedule_has_firings_that_can_be_told(tmp_path):
    jobs, after = judged(tmp_path).jobs, datetime(2024, 2, 28, 12, tzinfo=UTC)
    told = firings(jobs["load"].trigger, after, 2)
    assert told == [datetime(2024, 2, 29, 4, tzinfo=UTC), datetime(2024, 3, 1, 4, tzinfo=UTC)]
    assert firings(jobs["use"].trigger, after) == []


ODD = (3, "x", [], {}, [3], {"x": 3}, None, True)


def _changed(content, odd):
    """The content with each value in turn exchanged for an odd one, and where it stood."""
    items = list(content.items() if isinstance(content, dict) else enumerate(content))
    for key, value in items:
        copy = content.copy()
        copy[key] = odd
        yield (key,), copy
        if isinstance(value, dict | list):
            for where, inner in _changed(value, odd):
                copy = content.copy()
                copy[key] = inner
                yield (key, *where), copy


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("file", FILES)
def test_a_value_of_the_wrong_kind_is_told_of_and_crashes_nothing(tmp_path, file, odd):
    folder = write(tmp_path)
    for where, content in _changed(yaml.safe_load(FILES[file]), odd):
        (folder / file).write_text(yaml.safe_dump(content, sort_keys=False))
        try:
            faults = examine(folder, None, SUITE, {}).faults
        except (BundleError, UsageError) as error:
            faults = (str(error),)
        assert all("\n" not in fault for fault in faults), where
