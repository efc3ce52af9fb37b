"""A bad month on top of a simulated trial: new versions of its resources with faults of known
kinds, each at one site, and the versions that correct them again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import orjson

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.simulation.fhir import Json, instant, next_version
from clinical_lakehouse.simulation.trial import TRUTH_FILE

_ROWS_EACH = 12
_MONTH = timedelta(days=30)
_EVERYWHERE = "*"


@dataclass(frozen=True)
class Fault:
    """A kind of fault: the resources it befalls, what it does to one, and the check of conf/quality
    that must find it. `is_everywhere`: at all sites at once, as a fault of the source is."""

    name: str
    resource_type: str
    befalls: Callable[[Json], bool]
    broken: Callable[[Json], Json]
    check: str
    is_everywhere: bool = False


@dataclass(frozen=True)
class Planted:
    """A fault as it was planted: its site (or all, *) and the ids of its resources."""

    fault: str
    site_id: str
    table: str
    check: str
    resource_ids: tuple[str, ...]


def _measures(code: str) -> Callable[[Json], bool]:
    def befalls(made: Json) -> bool:
        return made["code"]["coding"][0]["code"] == code and "valueQuantity" in made

    return befalls


def _in_fahrenheit(made: Json) -> Json:
    quantity = made["valueQuantity"]
    value = round(quantity["value"] * 9 / 5 + 32, 1)
    return {**made, "valueQuantity": {**quantity, "value": value}}


def _in_stones(made: Json) -> Json:
    quantity = made["valueQuantity"]
    stones = {"value": round(quantity["value"] / 6.35, 1), "unit": "st", "code": "[stone_av]"}
    return {**made, "valueQuantity": {**quantity, **stones}}


def _before_consent(made: Json) -> Json:
    year = int(made["date"][:4]) - 2
    return {**made, "date": f"{year}{made['date'][4:].replace('-02-29', '-02-28')}"}


def _without_end(made: Json) -> Json:
    return {**made, "period": {"start": made["period"]["start"]}}


def _negative_dose(made: Json) -> Json:
    dose = made["dosage"]["dose"]
    return {**made, "dosage": {**made["dosage"], "dose": {**dose, "value": -max(dose["value"], 1)}}}


FAULTS = (
    Fault("fahrenheit-as-celsius", "Observation", _measures("8310-5"), _in_fahrenheit,
          "silver.observation.body_temperature_survivable"),
    Fault("unknown-weight-unit", "Observation", _measures("29463-7"), _in_stones,
          "silver.observation.body_weight_unit"),
    Fault("visit-without-end", "Encounter", lambda made: made["status"] == "finished",
          _without_end, "silver.encounter.finished_has_an_end"),
    Fault("negative-dose", "MedicationAdministration",
          lambda made: "dose" in made.get("dosage", {}), _negative_dose,
          "silver.medication_administration.dose_not_negative"),
    Fault("event-before-consent", "AdverseEvent", lambda made: "date" in made, _before_consent,
          "silver.adverse_event.not_before_consent", is_everywhere=True),
)  # fmt: skip


def bad_month(landing: Path, end: date, site_ids: tuple[str, ...]) -> list[Planted]:
    """Write landing/bad-month: broken new versions of the trial's resources, that arrive after its
    `end`; what was planted. Each fault has a site of its own, in turn."""
    sites, gone = _sites_of_people(landing), _who_withdrew(landing)
    taken: set[str] = set()
    planted: list[Planted] = []
    lines: dict[str, list[Json]] = {}
    at = _moment(end, 1)
    for number, fault in enumerate(FAULTS):
        place = _EVERYWHERE if fault.is_everywhere else site_ids[number % len(site_ids)]
        found = []
        for made in _newest(landing, fault.resource_type):
            person = _person(made)
            is_there = place in (_EVERYWHERE, sites.get(person, "")) and person not in gone
            is_old = made["meta"]["lastUpdated"] < at  # what is entered late would stay the newest
            if is_there and is_old and made["id"] not in taken and fault.befalls(made):
                found.append(made)
        chosen = found if fault.is_everywhere else found[:_ROWS_EACH]
        if len(chosen) < _ROWS_EACH:
            raise SourceError(f"the trial has too few resources for {fault.name}; simulate more")
        taken |= {made["id"] for made in chosen}
        broken = [next_version(fault.broken(made), at) for made in chosen]
        lines.setdefault(fault.resource_type, []).extend(broken)
        table, _, check = fault.check.rpartition(".")
        ids = tuple(made["id"] for made in chosen)
        planted.append(Planted(fault.name, place, table, check, ids))
    _write(landing / "bad-month", lines)
    return planted


def corrected_month(landing: Path, end: date, planted: list[Planted]) -> None:
    """Write landing/corrected-month: the planted resources as they were, as newer versions."""
    ids = {id_ for one in planted for id_ in one.resource_ids}
    lines: dict[str, list[Json]] = {}
    for resource_type in {fault.resource_type for fault in FAULTS}:
        for made in _newest(landing, resource_type):
            if made["id"] in ids:
                bad = next_version(made, _moment(end, 1))
                lines.setdefault(resource_type, []).append(next_version(bad, _moment(end, 2)))
    _write(landing / "corrected-month", lines)


def _moment(end: date, months: int) -> str:
    return instant(datetime.combine(end, time(12)) + months * _MONTH)


def _newest(landing: Path, resource_type: str) -> Iterator[Json]:
    """The trial's resources of a type in their newest version; without what truth says is invalid,
    and without retracted ones."""
    name = f"{resource_type}.ndjson"
    truth = _truth(landing)
    bad = {row["line"] for row in (*truth["invalid"], *truth["ignored"]) if row["file"] == name}
    newest: dict[str, Json] = {}
    for number, line in enumerate((landing / name).read_bytes().split(b"\n"), 1):
        if line and number not in bad:
            made = orjson.loads(line)
            known = newest.get(made["id"])
            if known is None or _version(made) > _version(known):
                newest[made["id"]] = made
    yield from (made for made in newest.values() if not _is_retracted(made))


def _version(made: Json) -> int:
    return int(made["meta"]["versionId"])


def _is_retracted(made: Json) -> bool:
    return b"entered-in-error" in orjson.dumps(made)


def _sites_of_people(landing: Path) -> dict[str, str]:
    """Site of each person, by the organization that manages the Patient."""
    return {
        made["id"]: made["managingOrganization"]["reference"].removeprefix("Organization/")
        for made in _newest(landing, "Patient")
        if "managingOrganization" in made
    }


def _who_withdrew(landing: Path) -> set[str]:
    """People whose consent ends within the trial: none of their rows reaches silver."""
    return {row["patient_id"] for row in _truth(landing)["withdrawn_consents"]}


def _truth(landing: Path) -> Json:
    truth: Json = orjson.loads((landing / TRUTH_FILE).read_bytes())
    return truth


def _person(made: Json) -> str:
    about: Json = made.get("subject") or made.get("patient") or {}
    return str(about.get("reference", "")).removeprefix("Patient/")


def _write(folder: Path, lines: dict[str, list[Json]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for resource_type, made in lines.items():
        content = b"".join(orjson.dumps(one) + b"\n" for one in made)
        (folder / f"{resource_type}.ndjson").write_bytes(content)
