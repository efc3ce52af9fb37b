"""What each Consent permits, resource by resource: every situation through the real Columns."""

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
import pytest

from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion.consent import (
    decision_table,
    per_person_decision,
    per_resource_decision,
)
from clinical_lakehouse.ingestion.consent_policy import DECIDING_DATES, Policy
from clinical_lakehouse.ingestion.consent_windows import consent_windows
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from tests.builders import rows
from tests.ingestion.consent_situations import SITUATIONS, Situation, resources

AS_OF = datetime(2024, 6, 30, 12, tzinfo=UTC)


def _policy(**changes) -> Policy:
    privacy = load_settings("dev", environ={}).privacy
    given = {"when_absent": "permit", **privacy.consent.model_dump(), **changes}
    return Policy(AS_OF, **given)


def _row(person, resource):
    return {
        "resource_type": resource["resourceType"],
        "resource_id": resource["id"],
        "patient_id": person,
        "content": orjson.dumps(resource).decode(),
        "content_hash": resource["id"],
        "status": "valid",
        "version_id": "7",
    }


def _people(situations: Mapping[str, Situation]):
    """Bronze rows of one person per situation, named by its number."""
    for number, situation in enumerate(situations.values()):
        person = f"p{number}"
        for resource in resources(person).values():
            yield _row(person, resource)
        for at, document in enumerate(situation.documents):
            text = orjson.dumps({**document, "id": f"{person}-c{at}"}).replace(
                b"ID", person.encode()
            )
            yield _row(person, orjson.loads(text))


def _decided(lake, situations, policy):
    """Rule and permission by person's number and resource's short name."""
    bronze = rows(lake, FHIR_RESOURCE, *_people(situations)).cache()
    patients = bronze.filter("resource_type = 'Patient'").select("patient_id")
    of_type = {t: bronze.filter(bronze.resource_type == t) for t in ("Consent", "Encounter")}
    windows = consent_windows(of_type["Consent"], of_type["Encounter"], policy).cache()
    decisions = per_person_decision(patients, windows, policy).cache()
    each = per_resource_decision(bronze, windows, decisions.filter("is_partial"))
    denials = each.filter("NOT is_permitted").drop("is_permitted")
    return decision_table(bronze, decisions, denials).collect()


@pytest.fixture(scope="module")
def decided(spark, tmp_path_factory):
    """Every situation's permitted resources and rules; one Spark job per policy."""
    from clinical_lakehouse.runtime.lake import Lakehouse

    lake = Lakehouse(spark, tmp_path_factory.mktemp("consent") / "lake")
    policies: dict[str, dict[str, Situation]] = {}
    for name, situation in SITUATIONS.items():
        policies.setdefault(repr(dict(situation.policy)), {})[name] = situation
    found: dict[str, dict[str, tuple[bool, str]]] = {name: {} for name in SITUATIONS}
    for group in policies.values():
        changes = next(iter(group.values())).policy
        for row in _decided(lake, group, _policy(**changes)):
            name = list(group)[int(row.patient_id[1:])]
            short = row.resource_id.removeprefix(f"{row.patient_id}-")
            short = "patient" if short == row.patient_id else short
            found[name][short] = (row.is_permitted, row.rule)
    return found


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation_permits_these_resources_and_says_why(decided, name):
    situation, found = SITUATIONS[name], decided[name]
    assert {short for short, (permitted, _) in found.items() if permitted} == situation.permitted
    assert {short: found[short][1] for short in situation.rules} == dict(situation.rules)


def test_every_resource_has_one_decision(decided):
    assert all(set(found) == set(resources("x")) for found in decided.values())


def test_every_personal_table_has_a_deciding_date():
    assert set(DECIDING_DATES) == {"Patient", *job._PERSONAL}
