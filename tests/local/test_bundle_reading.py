"""Reading a bundle: targets, variables, where it is found, and one clear line for each fault."""

import re
from pathlib import Path

import pytest
import yaml

from clinical_lakehouse.errors import BundleError, UsageError
from clinical_lakehouse.local.bundle import find_bundle, load_bundle
from tests.local.stand_ins import AS_OF, call, job, make_bundle, wheel, write_bundle


def root_with(folder: Path, **parts) -> Path:
    """Adds parts to the bundle's databricks.yml."""
    path = folder / "databricks.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **parts}, sort_keys=False))
    return folder


def with_variables(folder: Path) -> Path:
    main = job(wheel("a", arguments=("--place=${var.place}/${bundle.target}",)))
    variables = {"place": {"default": "${var.root}/in"}, "root": {"default": "/r"}}
    targets = {"dev": {"default": True}, "prod": {"variables": {"root": "/prod"}}}
    return root_with(write_bundle(folder, main=main), variables=variables, targets=targets)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, "/r/in/dev"),
        ({"target": "prod"}, "/prod/in/prod"),
        ({"target": "prod", "environ": {"BUNDLE_VAR_root": "/e"}}, "/e/in/prod"),
        ({"environ": {"BUNDLE_VAR_root": "/e"}, "variables": {"root": "/v"}}, "/v/in/dev"),
    ],
)
def test_variables_come_from_call_environment_target_default(tmp_path, options, value):
    found = load_bundle(folder=with_variables(tmp_path), **{"environ": {}, **options})
    assert found.jobs["main"].tasks["a"].arguments[-1] == f"--place={value}"


def test_a_variable_keeps_its_type_where_it_stands_alone(tmp_path):
    main = job(wheel("a", timeout_seconds="${var.limit}"))
    root_with(write_bundle(tmp_path, main=main), variables={"limit": {"default": 7}})
    assert load_bundle(folder=tmp_path).jobs["main"].tasks["a"].timeout_seconds == 7


def test_a_target_overrides_tasks_by_key_and_leaves_the_rest(tmp_path):
    main = job(wheel("a", max_retries=1), wheel("b", "a"))
    change = {"tasks": [{"task_key": "a", "max_retries": 5}], "timeout_seconds": 60}
    over = {"default": True, "resources": {"jobs": {"main": change}}}
    root_with(write_bundle(tmp_path, main=main), targets={"dev": over, "other": {}})
    changed = load_bundle(folder=tmp_path).jobs["main"]
    assert (changed.timeout_seconds, changed.tasks["a"].max_retries) == (60, 5)
    assert (changed.tasks["a"].entry_point, changed.tasks["b"].depends_on) == ("a", ("a",))
    assert load_bundle("other", tmp_path).jobs["main"].tasks["a"].max_retries == 1


def test_a_fault_of_a_target_is_said_of_the_root_file(tmp_path):
    change = {"tasks": [{"task_key": "a", "max_retries": "many"}]}
    over = {"default": True, "resources": {"jobs": {"main": change}}}
    root_with(write_bundle(tmp_path, main=job(wheel("a"))), targets={"dev": over})
    assert re.match(r"databricks\.yml:1\d: job main: max_retries must be", refused(tmp_path))


def test_the_bundle_is_found_upwards_or_where_the_environment_says(tmp_path):
    write_bundle(tmp_path / "one", main=job(wheel("a")))
    write_bundle(tmp_path / "two", main=job(wheel("a")))
    below = tmp_path / "one" / "jobs"
    assert find_bundle(below, {}) == tmp_path / "one"
    assert find_bundle(below, {"CLINICAL_BUNDLE_DIR": str(tmp_path / "two")}) == tmp_path / "two"
    assert (find_bundle(tmp_path, {}) / "databricks.yml").is_file()
    with pytest.raises(BundleError, match="CLINICAL_BUNDLE_DIR points to a folder without"):
        find_bundle(below, {"CLINICAL_BUNDLE_DIR": str(tmp_path)})


def test_an_unknown_target_is_refused_with_the_known_ones(tmp_path):
    write_bundle(tmp_path, main=job(wheel("a")))
    with pytest.raises(UsageError, match="no target 'moon'; known: dev"):
        load_bundle("moon", tmp_path)


def test_a_job_is_found_with_dashes_too(tmp_path):
    bundle = make_bundle(tmp_path, long_name=job(wheel("a")))
    assert bundle.job("long-name").key == "long_name"


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as raised:
        load_bundle(folder=folder, environ={})
    assert "\n" not in str(raised.value)
    return str(raised.value)


TEXTS = {
    "resources:\n  jobs: [": r"main\.job\.yml:2 is not valid YAML",
    "resources:\n\tjobs: 1": r"main\.job\.yml:2 is not valid YAML",
    "a: 1\na: 2": r"main\.job\.yml:2 says 'a' a second time",
    "- a": r"main\.job\.yml:1 must hold a mapping",
    "resources:\n  jobs:\n    main: 3": r"main\.job\.yml:3: job main must be a mapping",
    "resources:\n  jobs:\n    main:\n      tasks: 3": r"main\.job\.yml:4: tasks must be a list",
    "resources:\n  jobs:\n    main:\n      tasks:\n      - {}": r"yml:5: an item of tasks has no t",
    "resources:\n  jobs:\n    main: {}": r"main\.job\.yml:3: job main: has no tasks",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_cannot_be_read_is_one_line_with_file_and_line(tmp_path, text):
    write_bundle(tmp_path)
    (tmp_path / "jobs" / "main.job.yml").write_text(text)
    assert re.search(TEXTS[text], refused(tmp_path))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    write_bundle(tmp_path)
    (tmp_path / "jobs" / "main.job.yml").write_bytes(b"\xff\xfe\x00")
    assert refused(tmp_path) == "jobs/main.job.yml is not valid YAML: not text in UTF-8"


ROOTS = [
    ({"incldue": []}, "databricks.yml:8: unknown key 'incldue'; did you mean 'include'?"),
    (
        {"include": ["jobs/none.yml"]},
        "databricks.yml:4: includes 'jobs/none.yml', which is no file",
    ),
    (
        {"targets": {"dev": {"variables": {"x": 1}}}},
        "databricks.yml:8: variable 'x' is not declared",
    ),
]


@pytest.mark.parametrize(("parts", "said"), ROOTS)
def test_faults_of_the_root_file_are_named(tmp_path, parts, said):
    root_with(write_bundle(tmp_path, main=job(wheel("a"))), **parts)
    assert refused(tmp_path) == said


def test_a_job_defined_twice_is_refused(tmp_path):
    write_bundle(tmp_path, main=job(wheel("a")))
    text = (tmp_path / "jobs" / "main.job.yml").read_text()
    (tmp_path / "jobs" / "other.job.yml").write_text(text)
    said = "jobs/other.job.yml:3: job main is also defined at jobs/main.job.yml:3"
    assert refused(tmp_path) == said


QUARTZ = {"schedule": {"quartz_cron_expression": "0 0 4 * *", "timezone_id": "UTC"}}
PERIODIC = {"trigger": {"periodic": {"interval": 6, "unit": "HOURS"}}}
FINE_QUARTZ = {"schedule": {"quartz_cron_expression": "0 0 4 * * ?", "timezone_id": "UTC"}}
UNREAD = {"name": "spare", "default": ""}
# What Databricks refuses, or would only find at run time, and what is said of it.
PLANTED = {
    "unknown dependency": (job(wheel("a", "z")), "depends on 'z', which is no task of this job"),
    "cycle": (
        job(wheel("a", "b"), wheel("b", "a")),
        "tasks depend on each other in a circle: a -> b -> a",
    ),
    "undeclared parameter": (
        job(wheel("a", arguments=("--x={{job.parameters.x}}",))),
        "job parameter 'x' is not declared (as_of)",
    ),
    "unread parameter": (
        job(wheel("a"), parameters=(AS_OF, UNREAD)),
        "parameter 'spare' is read by no task",
    ),
    "unknown reference": (
        job(wheel("a", arguments=("--x={{job.start}}",))),
        "{{job.start}} is not a reference known here",
    ),
    "undeclared variable": (
        job(wheel("a", arguments=("--x=${var.x}",))),
        "variable 'x' is not declared (none)",
    ),
    "unknown static reference": (
        job(wheel("a", arguments=("--x=${workspace.host}",))),
        "${workspace.host} is not a reference known here",
    ),
    "unknown job": (job(call("a", "nowhere")), "${resources.jobs.nowhere.id} names no job"),
    "job calls itself": (
        job(call("a", "main"), parameters=()),
        "jobs call each other in a circle: main -> main",
    ),
    "unknown child parameter": (
        job(call("a", "child", job_parameters={"x": "{{job.parameters.as_of}}"})),
        "job child has no parameter 'x' (it has as_of)",
    ),
    "bad cron": (job(wheel("a"), **QUARTZ), "Quartz expression: needs 6 or 7 fields"),
    "two triggers": (job(wheel("a"), **FINE_QUARTZ, **PERIODIC), "has 2 triggers"),
    "bad period": (
        job(wheel("a"), trigger={"periodic": {"interval": 0, "unit": "HOURS"}}),
        "periodic needs an interval of 1 or more",
    ),
    "unsupported trigger": (job(wheel("a"), trigger={"model": {}}), "trigger must be one of"),
    "unknown key": (job(wheel("a"), timeout_second=3), "did you mean 'timeout_seconds'?"),
    "unknown task key": (job(wheel("a", max_retry=3)), "did you mean 'max_retries'?"),
    "unsupported task": (
        job({"task_key": "a", "notebook_task": {"notebook_path": "n"}}),
        "condition_task, for_each_task, has notebook_task",
    ),
    "no entry point": (
        job({"task_key": "a", "python_wheel_task": {"package_name": "p"}}),
        "task 'a' names no entry_point",
    ),
    "unknown run_if": (job(wheel("a", run_if="SOMETIMES")), "run_if must be one of ALL_SUCCESS"),
    "negative timeout": (job(wheel("a", timeout_seconds=-1)), "must be a whole number, 0 or more"),
    "no default": (
        job(wheel("a"), parameters=({"name": "as_of"},)),
        "parameter 'as_of' has no default",
    ),
    "task reference in a default": (
        job(wheel("a"), parameters=({"name": "as_of", "default": "{{task.name}}"},)),
        "{{task.name}} is not known before a task runs",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_refused_with_its_file_and_line(tmp_path, fault):
    definition, said = PLANTED[fault]
    write_bundle(tmp_path, main=definition, child=job(wheel("c")))
    message = refused(tmp_path)
    assert re.match(r"jobs/main\.job\.yml:\d+: job", message)
    assert said in message
