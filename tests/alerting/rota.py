"""Conf files for tests: people and schedules with as little text as a case needs."""

from pathlib import Path

from clinical_lakehouse.alerting.on_call.reading import load_on_call
from clinical_lakehouse.alerting.on_call.schedule import OnCall

PEOPLE = """\
people:
  ana: {name: Ana, zone: Europe/Berlin, contacts: {email: ana@example.org, chat: "#ana"}}
  ben: {name: Ben, zone: Europe/London, contacts: {email: ben@example.org, chat: "#ben"}}
  chi: {name: Chi, zone: Asia/Tokyo, language: de, contacts: {email: chi@example.org}}
"""


def on_call(folder: Path, schedules: str, people: str = PEOPLE) -> OnCall:
    """The file as the loader reads it."""
    file = folder / "conf" / "alerting" / "on_call.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(people + schedules)
    return load_on_call(folder / "conf")


def rota(zone: str = "Europe/Berlin", *, handover: str = "09:00", more: str = "", **fields: str):
    """A schedule of one rotation, from 1 January 2024, a Monday."""
    rotation = fields.pop("rotation", "weekly")
    people = fields.pop("people", "[ana, ben, chi]")
    return f"""\
schedules:
  data:
    zone: {zone}
    starts_on: 2024-01-01
    layers:
      - {{rotation: {rotation}, people: {people}, handover: "{handover}"}}
{more}"""
