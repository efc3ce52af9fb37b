"""What a restatement makes anew: resources of subjects, sites, days of receipt or landing files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.content_hash import content_hash

# What may be asked for, as parameters of the job and options of the command.
PARAMETERS = ("subject", "site", "file", "received_from", "received_to")
RESOURCE = ("resource_type", "resource_id")


@dataclass(frozen=True)
class Part:
    """A part of the lake; what is given must all hold. Subjects and sites are surrogate keys."""

    subjects: tuple[int, ...] = ()
    sites: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    received_from: datetime | None = None
    received_to: datetime | None = None

    @property
    def is_of_whole_people(self) -> bool:
        """Are all resources of its people in it?"""
        return not (self.files or self.received_from or self.received_to)

    def plan_id(self, resources: DataFrame) -> str:
        """Twelve digits that another part, or other resources in it, do not share."""
        found = resources.agg(content_hash(sorted(RESOURCE))).collect()[0][0]
        told = json.dumps([found, asdict(self)], default=str, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def part_asked(given: Mapping[str, str]) -> Part:
    """The part that PARAMETERS name; several subjects, sites or files stand between commas.

    UsageError where nothing is named, or where a key is no number or a date is none.
    """
    part = Part(
        _keys(given, "subject"),
        _keys(given, "site"),
        tuple(_listed(given, "file")),
        _moment(given, "received_from", timedelta(0)),
        _moment(given, "received_to", timedelta(days=1) - timedelta(microseconds=1)),
    )
    if part == Part():
        raise UsageError("say what to restate: --subject, --site, --file, --from or --to")
    if part.received_from and part.received_to and part.received_to < part.received_from:
        raise UsageError("--to must not be earlier than --from")
    return part


def _listed(given: Mapping[str, str], name: str) -> list[str]:
    return sorted({one.strip() for one in (given.get(name) or "").split(",") if one.strip()})


def _keys(given: Mapping[str, str], name: str) -> tuple[int, ...]:
    try:
        return tuple(sorted(int(one) for one in _listed(given, name)))
    except ValueError:
        raise UsageError(f"--{name} must be a surrogate key, as silver has it") from None


def _moment(given: Mapping[str, str], name: str, rest_of_day: timedelta) -> datetime | None:
    """A date or time in UTC; a date without a time stands for its start, or with `rest_of_day` for
    its end."""
    text = given.get(name) or ""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        option = name.removeprefix("received_")
        raise UsageError(f"--{option} must be an ISO date or time, e.g. 2024-06-30") from None
    if moment is None:
        return None
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return at + rest_of_day if len(text) == len("2024-06-30") else at


def resources_of(part: Part, bronze: DataFrame, people: DataFrame) -> DataFrame:
    """Type, id and patient_id of the resources in the part, one row per resource and person.

    `bronze` are valid rows, `people` everybody of the vault with patient_id, subject_key and
    site_key.
    """
    rows = bronze
    if part.files:
        rows = rows.filter(F.col("file_name").isin(*part.files))
    if part.received_from:
        rows = rows.filter(F.col("received_at") >= F.lit(part.received_from))
    if part.received_to:
        rows = rows.filter(F.col("received_at") <= F.lit(part.received_to))
    if part.subjects or part.sites:
        of_subject = F.col("subject_key").isin(*part.subjects) if part.subjects else F.lit(True)
        of_site = F.col("site_key").isin(*part.sites) if part.sites else F.lit(True)
        rows = rows.join(people.filter(of_subject & of_site), "patient_id", "left_semi")
    return rows.select(*RESOURCE, "patient_id").distinct()


def strays(stored: DataFrame, people: DataFrame, keys: DataFrame) -> DataFrame:
    """Rows of a silver table about these people (subject_key) that no resource of theirs makes.

    `keys` are what their resources' rows are keyed by, named as the table's first key column.
    """
    theirs = stored.join(people, "subject_key", "left_semi")
    return theirs.join(keys, keys.columns[0], "left_anti")
