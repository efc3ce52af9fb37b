"""A small bundle without a fault, the tasks and tables it is judged by, and a way to break it."""

from pathlib import Path

from clinical_lakehouse.local.examination import Examination, Suite, examine
from clinical_lakehouse.runtime.task import Task
from clinical_lakehouse.tables.contract import Column, Phi, Table

FILES = {
    "databricks.yml": """\
bundle:
  name: small
include:
  - jobs/*.job.yml
  - conf/bundle/*.yml
variables:
  catalog:
    default: main
  emails:
    type: complex
    default: []
artifacts:
  wheel:
    type: whl
    path: .
targets:
  dev:
    default: true
    mode: development
    permissions:
      - group_name: users
        level: CAN_VIEW
""",
    "jobs/load.job.yml": """\
resources:
  jobs:
    load:
      name: load
      timeout_seconds: 600
      health:
        rules:
          - metric: RUN_DURATION_SECONDS
            op: GREATER_THAN
            value: 300
      email_notifications:
        on_duration_warning_threshold_exceeded: ${var.emails}
      schedule:
        quartz_cron_expression: "0 0 4 * * ?"
        timezone_id: UTC
      parameters:
        - name: as_of
          default: "{{job.start_time.iso_datetime}}"
      environments:
        - environment_key: default
          spec:
            environment_version: "5"
            dependencies:
              - ../dist/*.whl
      tasks:
        - task_key: land
          environment_key: default
          python_wheel_task:
            package_name: clinical_lakehouse
            entry_point: load-land
            parameters:
              - "--as-of={{job.parameters.as_of}}"
          max_retries: 1
          timeout_seconds: 300
        - task_key: publish
          depends_on:
            - task_key: land
          environment_key: default
          python_wheel_task:
            package_name: clinical_lakehouse
            entry_point: load-publish
            parameters:
              - "--as-of={{job.parameters.as_of}}"
              - "--mode=all"
""",
    "jobs/use.job.yml": """\
resources:
  jobs:
    use:
      name: use
      trigger:
        table_update:
          table_names:
            - main.silver.thing
      parameters:
        - name: as_of
          default: "{{job.start_time.iso_datetime}}"
      environments:
        - environment_key: default
          spec:
            environment_version: "5"
            dependencies:
              - ../dist/*.whl
      tasks:
        - task_key: count
          environment_key: default
          python_wheel_task:
            package_name: clinical_lakehouse
            entry_point: use-count
            parameters:
              - "--as-of={{job.parameters.as_of}}"
""",
    "jobs/whole.job.yml": """\
resources:
  jobs:
    whole:
      name: whole
      trigger:
        file_arrival:
          url: /Volumes/main/ops/files/landing/
      parameters:
        - name: as_of
          default: "{{job.start_time.iso_datetime}}"
      tasks:
        - task_key: load
          run_job_task:
            job_id: ${resources.jobs.load.id}
            job_parameters:
              as_of: "{{job.parameters.as_of}}"
        - task_key: use
          depends_on:
            - task_key: load
          run_job_task:
            job_id: ${resources.jobs.use.id}
            job_parameters:
              as_of: "{{job.parameters.as_of}}"
""",
    "conf/bundle/catalog.yml": """\
resources:
  schemas:
    silver:
      catalog_name: ${var.catalog}
      name: silver
      grants:
        - principal: engineers
          privileges: [USE_SCHEMA, SELECT]
        - principal: guests
          privileges: [USE_SCHEMA, SELECT]
    ops:
      catalog_name: ${var.catalog}
      name: ops
  volumes:
    files:
      catalog_name: ${var.catalog}
      schema_name: ${resources.schemas.ops.name}
      name: files
""",
    "conf/access.yml": """\
roles:
  engineer:
    group: engineers
    reads: [silver, bronze.raw]
    sees: [quasi, direct, arm]
  guest:
    group: guests
    reads: [silver]
arm: [silver.thing.arm]
read_by_version: [bronze.raw]
row_filters:
  silver.thing:
    columns: [people]
    where: people >= 11
    all_rows: [engineer]
""",
}

RAW = Table(
    "bronze.raw",
    "One row per line.",
    "me",
    ("id",),
    (Column("id", "STRING", "Id.", False, Phi.DIRECT), Column("text", "STRING", "It.")),
)
THING = Table(
    "silver.thing",
    "One row per thing.",
    "me",
    ("key",),
    (
        Column("key", "BIGINT", "Key.", False, Phi.PSEUDONYM),
        Column("birth_year", "INT", "Year.", phi=Phi.QUASI),
        Column("arm", "STRING", "Arm."),
        Column("people", "BIGINT", "How many."),
    ),
)
COUNT = Table("gold.count", "One row per count.", "me", ("n",), (Column("n", "INT", "N.", False),))


def task(name: str, reads: tuple, writes: tuple, **params: str) -> Task:
    """A task that only declares."""
    return Task(name, lambda run: None, reads, writes, params)


TASKS = [
    task("load-land", (), (RAW,)),
    task("load-publish", (RAW,), (THING,), mode="new"),
    task("use-count", (THING,), (COUNT,)),
    task("use-lost", (Table("gold.lost", "Lost.", "me", (), ()),), ()),
]
SUITE = Suite({t.name: t for t in TASKS}, {t.name: t for t in (RAW, THING, COUNT)})


def write(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The good bundle with (file, text, other text) exchanged, once each."""
    files = dict(FILES)
    for file, old, new in changes:
        assert old in files[file], f"{file} holds no {old!r}"
        files[file] = files[file].replace(old, new, 1)
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def judged(folder: Path, *changes: tuple[str, str, str]) -> Examination:
    """What `bundle check` finds in it."""
    return examine(write(folder, *changes), None, SUITE, {})
