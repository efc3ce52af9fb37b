"""The repository's own bundle: valid for Databricks, complete, and the same as the code."""

import pytest
from databricks.bundles.dashboards import Dashboard
from databricks.bundles.jobs import Job
from databricks.bundles.quality_monitors import QualityMonitor
from databricks.bundles.sql_warehouses import SqlWarehouse

from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.check import entry_point_faults
from clinical_lakehouse.local.definition import read_definition
from clinical_lakehouse.local.examination import Suite, examine
from clinical_lakehouse.local.reading import survey
from clinical_lakehouse.local.request import called_jobs
from clinical_lakehouse.methods.yaml_source import read_source
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.arguments import COMMON
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.catalog import all_tables

TARGETS = ("dev", "staging", "prod")
BUNDLE = load_bundle(environ={})


@pytest.fixture(scope="module")
def known():
    """Every entry point with its own parameters."""
    return {name: task.params for name, task in tasks().items()}


@pytest.mark.parametrize("key", BUNDLE.documents)
def test_each_job_is_valid_for_databricks_bundles(key):
    assert Job.from_dict(BUNDLE.documents[key]).name == key


def test_databricks_bundles_refuses_what_it_does_not_know():
    document = {**BUNDLE.documents["data_quality"], "timeout_minutes": 3}
    with pytest.raises(Exception, match="timeout_minutes"):
        Job.from_dict(document)


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_is_whole_and_has_settings_of_its_own(target):
    bundle = load_bundle(target, environ={})
    assert load_settings(target, environ={}).env == target
    arguments = bundle.jobs["data_quality"].tasks["check"].arguments
    assert f"--catalog=clinical_{target}" in arguments
    assert f"--env={target}" in arguments


def test_entry_points_of_code_and_jobs_are_the_same_both_ways(known):
    used = [task.entry_point for job in BUNDLE.jobs.values() for task in job.tasks.values()]
    assert sorted(filter(None, used)) == sorted(known)


def test_every_argument_is_one_its_task_understands(known):
    assert entry_point_faults(BUNDLE.jobs, known, COMMON) == []


def test_every_task_parameter_can_be_set_by_its_job(known):
    given = {
        task.entry_point: {a.split("=")[0].removeprefix("--").replace("-", "_")
                           for a in task.arguments}
        for job in BUNDLE.jobs.values() for task in job.tasks.values()
    }  # fmt: skip
    assert [(e, p) for e, params in known.items() for p in params if p not in given[e]] == []


def test_every_task_gets_what_places_and_times_it():
    wanted = {
        "--as-of={{job.parameters.as_of}}",
        "--run-id={{job.run_id}}",
        "--attempt={{task.execution_count}}",
        "--env=dev",
    }
    for job in BUNDLE.jobs.values():
        for task in job.tasks.values():
            assert not task.entry_point or wanted <= set(task.arguments), task.place


def test_a_calling_job_hands_its_clock_down():
    for job in BUNDLE.jobs.values():
        for task in job.tasks.values():
            if task.job:
                assert task.job_parameters["as_of"] == "{{job.parameters.as_of}}", task.place


def test_every_job_is_found_by_its_file_and_bounded():
    for key, job in BUNDLE.jobs.items():
        assert job.place.file == f"jobs/{key}.job.yml"
        assert job.timeout_seconds > 0
        assert job.max_concurrent_runs == 1
        assert BUNDLE.documents[key]["queue"] == {"enabled": True}
        assert set(job.tags) == {"catalogue", "owner", "data"}
        assert job.tags["data"] in ("phi", "de-identified", "public")
        assert job.description.endswith(".")


@pytest.mark.parametrize("target", TARGETS)
def test_the_bundle_has_no_fault_for_any_target(target):
    found = examine(BUNDLE.folder, target, Suite(tasks(), all_tables()), {})
    assert found.faults == ()
    needed = "set BUNDLE_VAR_run_as before deploying: it has no value here"
    assert found.left_out == (() if target == "dev" else (needed,))


@pytest.mark.parametrize("key", BUNDLE.documents)
def test_someone_is_told_of_failed_and_slow_runs(key):
    document = BUNDLE.documents[key]
    rule = document["health"]["rules"][0]
    assert (rule["metric"], rule["op"]) == ("RUN_DURATION_SECONDS", "GREATER_THAN")
    assert rule["value"] == document["timeout_seconds"] * 3 // 4
    told = document["email_notifications"]
    assert told["on_failure"] == "${var.failure_emails}"
    assert told["on_duration_warning_threshold_exceeded"] == "${var.failure_emails}"
    assert document["webhook_notifications"]["on_failure"] == "${var.failure_webhooks}"


def test_only_production_starts_jobs_by_itself_and_as_a_service():
    targets = survey(BUNDLE.folder, "dev", {}, {}).root.content["targets"]
    assert targets["dev"]["mode"] == "development"  # which pauses triggers
    assert targets["staging"]["presets"]["trigger_pause_status"] == "PAUSED"
    assert targets["prod"]["mode"] == "production"
    for name in ("staging", "prod"):
        assert targets[name]["run_as"] == {"service_principal_name": "${var.run_as}"}
        assert {p["level"] for p in targets[name]["permissions"]} == {"CAN_MANAGE", "CAN_VIEW"}


def test_the_catalog_resources_are_there_and_follow_the_target():
    found = survey(BUNDLE.folder, "prod", {}, {}).filled
    schemas = {table.schema_name for table in all_tables().values()}
    assert set(found["schemas"]) == schemas
    assert found["volumes"]["files"].content["catalog_name"] == "clinical_prod"
    assert found["volumes"]["files"].content["schema_name"] == "ops"
    assert found["secret_scopes"]["clinical"].content["name"] == "clinical_prod"
    assert found["registered_models"]["dropout_risk"].content["schema_name"] == "gold"
    assert set(load_settings("prod", environ={}).models) == set(found["registered_models"])


def test_monitors_that_need_tables_wait_in_a_folder_of_their_own():
    path = BUNDLE.folder / "conf" / "bundle" / "after_tables" / "monitors.yml"
    source = read_source(path, BUNDLE.folder)
    for key in source.content["resources"]["quality_monitors"]:
        one = read_definition(source, ("resources", "quality_monitors", key))
        QualityMonitor.from_dict(one.document())
        assert one.content["table_name"].removeprefix("${var.catalog}.") in all_tables()


def test_the_dashboard_waits_beside_them_and_is_valid():
    path = BUNDLE.folder / "conf" / "bundle" / "after_tables" / "dashboards.yml"
    source = read_source(path, BUNDLE.folder)
    for kind, model in (("dashboards", Dashboard), ("sql_warehouses", SqlWarehouse)):
        for key in source.content["resources"][kind]:
            model.from_dict(read_definition(source, ("resources", kind, key)).document())
    (one,) = source.content["resources"]["dashboards"].values()
    assert (path.parent / one["file_path"]).is_file()


def test_clocks_count_in_utc():
    for job in BUNDLE.jobs.values():
        assert job.trigger is None or job.trigger.zone == "UTC"


def test_the_spine_is_composed_and_scheduled_as_promised():
    promised = {
        "clinical_data_pipeline": (
            "periodic every 6 h",
            [
                "source_intake",
                "patient_ingestion",
                "data_completeness",
                "data_standardization",
                "feature_engineering",
            ],
        ),
        "model_monitoring": ("periodic every 2 h", ["model_performance_monitoring", "alerting"]),
        "scheduled_retraining": (
            "quartz 0 0 3 ? * SUN",
            ["model_training", "model_evaluation", "model_deployment"],
        ),
    }
    for key, (trigger, called) in promised.items():
        job = BUNDLE.jobs[key]
        assert str(job.trigger) == trigger
        assert [task.job for task in job.tasks.values() if task.job] == called
        assert set(called) < set(called_jobs(job, BUNDLE))


def test_tasks_read_what_an_earlier_task_of_their_job_writes(known):
    """A task that reads a table written by a later or parallel task would see it by chance."""
    made = tasks()
    for job in BUNDLE.jobs.values():
        before: dict[str, set[str]] = {}
        for key, task in job.tasks.items():
            before[key] = {d for on in task.depends_on for d in (on, *before[on])}
        for key, task in job.tasks.items():
            reads = {t.name for t in made[task.entry_point].reads} if task.entry_point else set()
            for other, spec in job.tasks.items():
                if other == key or other in before[key] or key in before.get(other, ()):
                    continue
                writes = made[spec.entry_point].writes if spec.entry_point else ()
                shared = reads & {table.name for table in writes}
                assert not shared, f"{job.key}: {key} and {other} both touch {shared}"
