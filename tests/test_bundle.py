"""The repository's own bundle: valid for Databricks, complete, and the same as the code."""

import pytest
from databricks.bundles.jobs import Job

from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.check import entry_point_faults
from clinical_lakehouse.local.request import called_jobs
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.arguments import COMMON
from clinical_lakehouse.runtime.settings import load_settings

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
        assert set(job.tags) == {"owner", "data"}
        assert job.description.endswith(".")


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
        "model_monitoring": ("periodic every 2 h", ["model_performance_monitoring"]),
        "scheduled_retraining": (
            "quartz 0 0 3 ? * SUN",
            ["model_training", "model_evaluation", "model_deployment"],
        ),
    }
    for key, (trigger, called) in promised.items():
        job = BUNDLE.jobs[key]
        assert str(job.trigger) == trigger
        assert [task.job for task in job.tasks.values()] == called
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
