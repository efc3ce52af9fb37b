"""Run the trial: write every subject's resources as they arrive, and the truth beside them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.simulation.background import background, trial_procedures
from clinical_lakehouse.simulation.documents import documents, with_free_text
from clinical_lakehouse.simulation.dosing import administrations, doses
from clinical_lakehouse.simulation.fhir import Json
from clinical_lakehouse.simulation.findings import head, subject_row
from clinical_lakehouse.simulation.identity import identity
from clinical_lakehouse.simulation.invalid import IGNORED_KINDS, bad_lines
from clinical_lakehouse.simulation.irregular import (
    arrivals,
    entered_in_error,
    plain_arrival,
)
from clinical_lakehouse.simulation.landing import Landing
from clinical_lakehouse.simulation.measurements import measurements
from clinical_lakehouse.simulation.participation import participation
from clinical_lakehouse.simulation.person import Person, Record, draw_person
from clinical_lakehouse.simulation.plan import TrialPlan
from clinical_lakehouse.simulation.safety import adverse_events
from clinical_lakehouse.simulation.sites import make_sites, study_resources
from clinical_lakehouse.simulation.truth import Truth
from clinical_lakehouse.simulation.visits import Visit, encounters, schedule

TRUTH_FILE = "truth.json"


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation wrote; `lines` counts every line, `files` the lines of each file."""

    patients: int
    lines: int
    invalid: int
    files: dict[str, int]
    truth: Path


def simulate(
    out: Path, plan: TrialPlan, progress: Callable[[int, int], None] | None = None
) -> SimulationSummary:
    """Write the trial's NDJSON files and truth.json to `out`, replacing those of an earlier run.

    `progress` is called with (subjects done, subjects in all). Raises SourceError where `out`
    cannot be written.
    """
    try:
        return _write(out, plan, progress)
    except OSError as error:
        reason = error.strerror or "an input/output error"
        message = f"cannot write the simulated trial, choose another --out: {reason}"
        raise SourceError(message) from error


def _write(
    out: Path, plan: TrialPlan, progress: Callable[[int, int], None] | None
) -> SimulationSummary:
    sites = make_sites(plan.sites)
    days = plan.enrolment_days()
    window = (plan.window_from, plan.window_to)
    with Landing(out, window) as landing, Truth() as truth:
        for made in study_resources(plan, sites):
            landing.write(made, "resource")
        for index in range(plan.patients):
            person = draw_person(plan, sites, days, index)
            truth.record("subjects", subject_row(person))
            _write_person(person, landing, truth.record)
            if progress:
                progress(index + 1, plan.patients)
        counts = landing.counts()
        truth.save(out / TRUTH_FILE, head(plan, sites, counts))
    return SimulationSummary(
        patients=plan.patients,
        lines=sum(file["lines"] for file in counts.values()),
        invalid=sum(file.get("invalid", 0) for file in counts.values()),
        files={name: file["lines"] for name, file in counts.items()},
        truth=out / TRUTH_FILE,
    )


def _write_person(person: Person, landing: Landing, record: Record) -> None:
    visits = schedule(person)
    true = arrivals(person, _chart(person, visits, record), record)
    false = map(plain_arrival, entered_in_error(person, visits, record))
    for arrival in chain(true, false):
        made = arrival.resource
        line = landing.write(made, arrival.kind)
        if line and arrival.kind == "duplicate":
            row = {"resource_type": made["resourceType"], "id": made["id"]}
            record("duplicates", {**row, "version_id": made["meta"]["versionId"], "line": line})
    for bad in bad_lines(person, visits[1]):
        section = "ignored" if bad.kind in IGNORED_KINDS else "invalid"
        line = landing.write_line(bad.resource_type, bad.line, bad.arrives_at, section)
        if line:
            row = {"kind": bad.kind, "file": f"{bad.resource_type}.ndjson", "line": line}
            more = {"resource_type": bad.resource_type, "id": bad.resource_id}
            record(section, {**row, **more} if section == "invalid" else row)


def _chart(person: Person, visits: tuple[Visit, ...], record: Record) -> Iterator[Json]:
    """Everything true that is recorded about a subject."""
    who = identity(person)
    planned = doses(person)
    clinical = chain(
        encounters(person, visits),
        background(person, visits[0]),
        measurements(person, visits, record),
        trial_procedures(person, visits),
        administrations(person, planned),
        adverse_events(person, planned, record),
    )
    yield from participation(person, who, record)
    yield from with_free_text(clinical, person, who, record)
    yield from documents(person, who, visits, record)
