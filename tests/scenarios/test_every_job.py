"""Every job of the bundle in threads, in processes and on a standalone cluster: task by task the
same ending, and the same tables."""

from dataclasses import replace

import pytest

from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.way import Way
from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation.plan import months_after
from clinical_lakehouse.tables import bronze, gold_models, silver
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT
from tests.clusters import small_environment, standalone
from tests.ingestion.chain import write_corrections
from tests.scenarios.conftest import give_secret, hashes, make_trial

PLAN = TrialPlan(patients=150, seed=11)  # enough for a model
# They call most of the others; what they call has been run with them.
FIRST = ("vocabulary_load", "trial_to_model")
SAID = {"by": "maria", "why": "a test"}
SAME = ("silver", "omop")  # gold holds measured times and random draws
# What refuses by name here: no code waits to be decided on, and there is no second secret.
NOTHING_TO_DO = ("coding_review", "vault_rotation")
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def everything(made, folder):
    """Run every job once, in the order of their names after the first; each task's ending by job
    and key."""
    bundle, ends = made.workspace.bundle, {}
    for name in (*FIRST, *sorted(bundle.jobs)):
        if name not in {ran for ran, _ in ends}:
            known = bundle.job(name).parameters
            given = {k: v for k, v in parameters(name, made, folder).items() if k in known}
            collect(made.workspace.run(Request(name, given)), ends)
    return ends


def collect(result, ends):
    """The endings of a run and of the runs it called."""
    for key, task in result.tasks.items():
        ends[result.job, key] = (task.state.value, task.message)
        if task.child:
            collect(task.child, ends)


def parameters(job, made, folder):
    """What somebody would give that job at the trial's end; the lake holds what it is about."""
    lake = made.workspace.lake
    about = {
        "vocabulary_load": lambda: {"vocabulary": str(vocabulary(folder))},
        "alert_decision": lambda: {"decision": "silence", "matchers": "rule=none", "hours": "1"},
        "coding_review": lambda: {"decision": "reject", "code": "nowhere"},
        "data_correction": lambda: {"file": str(correction(lake, folder))},
        "data_lock": lambda: {
            "decision": "lock", "subject": somebody(lake), "role": "sponsor",
            "meaning": "approval",
        },
        "model_reproduction": lambda: {
            "tracking_run": lake.read(gold_models.MODEL_VERSION).first().tracking_run_id
        },
        "model_review": lambda: {
            "decision": "approve", "version": "1", "role": "biostatistician", "meaning": "approval",
        },
        "quarantine_review": lambda: {
            "decision": "discard",
            "reason": lake.read(bronze.QUARANTINE).orderBy("reason").first().reason,
        },
        "restatement": lambda: {"subject": somebody(lake)},
    }  # fmt: skip
    until = months_after(made.plan.start, made.plan.drift_month + 1).isoformat()
    usual = {"landing": str(made.landing), "as_of": made.plan.end.isoformat()}
    return usual | {"training_until": until} | SAID | about.get(job, dict)()


def somebody(lake):
    """The key of a subject."""
    return str(lake.read(silver.SUBJECT).orderBy("subject_key").first().subject_key)


def vocabulary(folder):
    """A download of one concept."""
    made = folder / "vocabulary"
    made.mkdir(exist_ok=True)
    given = {"concept_id": "1", "concept_name": "Glucose", "concept_code": "2345-7",
             "vocabulary_id": "LOINC", "domain_id": "Measurement", "standard_concept": "S",
             "concept_class_id": "Lab Test", "valid_start_date": "19700101",
             "valid_end_date": "20991231"}  # fmt: skip
    names = CONCEPT.column_names
    lines = ("\t".join(names), "\t".join(given.get(name, "") for name in names))
    (made / "CONCEPT.csv").write_text("\n".join(lines) + "\n")
    return made


def correction(lake, folder):
    """A file with one correction of the gender that somebody is known by."""
    rows = lake.read(bronze.FHIR_RESOURCE).filter("resource_type = 'Patient'")
    found = rows.selectExpr("resource_id", "get_json_object(content, '$.gender') AS gender")
    patient = found.filter("gender IN ('female', 'male')").orderBy("resource_id").first()
    fields = SAID | {
        "resource_type": "Patient", "resource_id": patient.resource_id, "path": "gender",
        "old": patient.gender, "new": "other", "reason_code": "transcription-error",
    }  # fmt: skip
    path = folder / "corrections.csv"
    write_corrections(path, fields)
    return path


def trial_run(folder, way=None):
    """The trial with every job run in that way: how each task ended, and the trial."""
    made = make_trial(folder, PLAN)
    give_secret(made.workspace.lake.root, bytes(range(32)))
    if way:
        made = replace(made, workspace=replace(made.workspace, way=way))
    return everything(made, folder), made


@pytest.fixture(scope="module")
def in_threads(spark, tmp_path_factory):
    """Every job run in this session."""
    return trial_run(tmp_path_factory.mktemp("threads"))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The environment of tasks in processes of their own: little memory, the same keys."""
    for name, value in small_environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def same(one, other):
    """Endings and tables of two ways."""
    (ends, made), (ends_there, made_there) = one, other
    assert ends_there == ends
    assert hashes(made_there.workspace, SAME) == hashes(made.workspace, SAME)


def test_every_job_ends_well_in_threads(in_threads):
    ends, made = in_threads
    assert {job for job, _ in ends} == set(made.workspace.bundle.jobs)
    well = {"success", "excluded", "skipped"}
    failed = {name: end for name, end in ends.items() if end[0] not in well}
    assert {job for job, _ in failed} == set(NOTHING_TO_DO), failed


def test_every_job_in_processes(in_threads, small, tmp_path):
    same(in_threads, trial_run(tmp_path, Way("process")))


def test_every_job_submitted_to_a_standalone_cluster(in_threads, small, tmp_path):
    (tmp_path / "cluster").mkdir()
    with standalone(tmp_path / "cluster", workers=2) as master:
        same(in_threads, trial_run(tmp_path, Way("submit", master)))
