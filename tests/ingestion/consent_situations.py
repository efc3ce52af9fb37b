"""Consent documents as people sign them, and which of a person's resources each one permits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
_MII = "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3"
_LOINC = "http://loinc.org"
GLUCOSE = "2345-7"


@dataclass(frozen=True)
class Situation:
    """Documents of one person, what is permitted then, and the rule of some of the resources."""

    documents: tuple[Json, ...]
    permitted: frozenset[str]
    rules: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)


def resources(person: str) -> dict[str, Json]:
    """What everybody has, by a short name."""
    about = {"subject": {"reference": f"Patient/{person}"}}
    coded = {"code": {"coding": [{"system": _LOINC, "code": GLUCOSE}]}}
    made = {
        "patient": {"resourceType": "Patient"},
        "old": {"resourceType": "Observation", "effectiveDateTime": "2010-05-05", **about},
        "new": {"resourceType": "Observation", "effectiveDateTime": "2023-06-01", **about, **coded},
        "undated": {"resourceType": "AllergyIntolerance", "patient": about["subject"]},
        "secret": {
            "resourceType": "Condition",
            "onsetDateTime": "2023-06-01",
            "meta": {"security": [coding("v3-Confidentiality", "R")]},
            **about,
        },
        "drug": {
            "resourceType": "MedicationRequest",
            "authoredOn": "2023-06-01",
            "requester": {"reference": "Practitioner/gp"},
            **about,
        },
        "visit": {
            "resourceType": "Encounter",
            "status": "finished",
            "period": {"start": "2022-12-20", "end": "2023-01-10"},
            **about,
        },
    }
    return {
        name: {**one, "id": person if name == "patient" else f"{person}-{name}"}
        for name, one in made.items()
    }


def coding(system: str, code: str) -> Json:
    """A Coding of an HL7 terminology."""
    return {"system": _SYSTEM + system, "code": code}


def document(rule: str | None = "OPTIN", provision: Json | None = None, **more: Any) -> Json:
    """An active Consent to research, signed in 2020."""
    made: Json = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [coding("consentscope", "research")]},
        "category": [{"coding": [{"system": _LOINC, "code": "59284-0"}]}],
        "dateTime": "2020-01-01",
    }
    if rule:
        made["policyRule"] = {"coding": [coding("v3-ActCode", rule)]}
    if provision is not None:
        made["provision"] = provision
    return {**made, **more}


def _permit(*below: Json, **more: Any) -> Json:
    return {"type": "permit", **more, **({"provision": list(below)} if below else {})}


def _deny(*below: Json, **more: Any) -> Json:
    return {"type": "deny", **more, **({"provision": list(below)} if below else {})}


def _actor(role: str, who: str = "gp") -> list[Json]:
    concept = {"coding": [coding("v3-ParticipationType", role)]}
    return [{"role": concept, "reference": {"reference": f"Practitioner/{who}"}}]


def _kind(*types: str) -> list[Json]:
    return [{"system": "http://hl7.org/fhir/resource-types", "code": one} for one in types]


def _for(purpose: str) -> list[Json]:
    return [coding("v3-ActReason", purpose)]


def _mii(number: int) -> list[Json]:
    return [{"coding": [{"system": _MII, "code": f"{_MII[8:]}.{number}"}]}]


def _text(words: str) -> list[Json]:
    return [{"text": words}]


def _broad(*below: Json) -> Json:
    """The form of the German Broad Consent: the root denies, what is allowed stands below."""
    policy = {"coding": [{"code": "2.16.840.1.113883.3.1937.777.24.2.1790"}]}
    return document(None, _deny(*below), policyRule=policy)


ALL = frozenset(resources("x"))
NONE: frozenset[str] = frozenset()
PLAIN = document("OPTIN", _permit())
LABEL = [coding("v3-Confidentiality", "R")]
OLD = {"start": "2010-01-01", "end": "2010-12-31"}
SINCE = {"start": "2023-03-01"}
AT_VISIT = {"start": "2023-01-05"}
RECENT = ALL - {"old", "undated"}
# Three policies cover all; each costs a Spark job.
STRICT = {
    "retrospective": "never",
    "when_absent": "deny",
    "recipients": ("Organization/us", "Practitioner/ours"),
}
CODED = {"retrospective": "coded", "starts_with_encounter": False}


def _of(*documents: Json, so: frozenset[str], policy: Any = None, **rules: str) -> Situation:
    return Situation(documents, so, rules, policy or {})


SITUATIONS: dict[str, Situation] = {
    # status, period, policy date
    "no document": _of(so=ALL, patient="none"),
    "no document where none means no": _of(so=NONE, new="none", policy=STRICT),
    "plain permit": _of(PLAIN, so=ALL, new="permit"),
    "opt-in without provisions": _of(document("OPTIN"), so=ALL),
    "inactive": _of({**PLAIN, "status": "inactive"}, so=NONE, new="inactive"),
    "draft": _of({**PLAIN, "status": "draft"}, so=NONE, new="draft"),
    "entered in error": _of(
        {**PLAIN, "status": "entered-in-error"}, so=NONE, new="entered-in-error"
    ),
    "opt-out": _of(document("OPTOUT"), so=NONE, new="deny"),
    "deny without a policy": _of(document(None, _deny()), so=NONE, new="deny"),
    "expired": _of(
        document("OPTIN", _permit(period={"start": "2020-01-01", "end": "2024-06-29"})),
        so=NONE,
        new="expired",
    ),
    "last day": _of(
        document("OPTIN", _permit(period={"start": "2020-01-01", "end": "2024-06-30"})), so=ALL
    ),
    "last month": _of(document("OPTIN", _permit(period={"end": "2024-06"})), so=ALL),
    "future start": _of(
        document("OPTIN", _permit(period={"start": "2024-07-01"})), so=NONE, new="future"
    ),
    "policy date to come": _of({**PLAIN, "dateTime": "2025"}, so=NONE, new="future"),
    "about treatment only": _of(
        document("OPTOUT", scope={"coding": [coding("consentscope", "treatment")]}),
        so=ALL,
        new="none",
    ),
    # exceptions: actor, label, class, code, data, data period
    "deny by author": _of(
        document("OPTIN", _permit(_deny(actor=_actor("AUT")))), so=ALL - {"drug"}, drug="deny"
    ),
    "deny by receiving practitioner": _of(
        document("OPTIN", _permit(_deny(actor=_actor("PRCP")))), so=NONE, new="deny"
    ),
    "deny by a practitioner who is none of us": _of(
        document("OPTIN", _permit(_deny(actor=_actor("PRCP"))), dateTime="2023-01-05"),
        so=RECENT,
        policy=STRICT,
    ),
    "permit to somebody else": _of(
        document("OPTIN", _permit(actor=_actor("PRCP"))), so=NONE, new="other-recipient"
    ),
    "permit to us": _of(
        document("OPTIN", _permit(actor=_actor("PRCP", "ours")), dateTime=None),
        so=ALL,
        policy=STRICT,
    ),
    "deny by label": _of(
        document("OPTIN", _permit(_deny(securityLabel=LABEL))), so=ALL - {"secret"}, secret="deny"
    ),
    "permit by label": _of(
        document("OPTIN", _permit(securityLabel=[coding("v3-Confidentiality", "N")])),
        so=ALL - {"secret"},
        secret="outside-scope",
    ),
    "deny by class": _of(
        document("OPTIN", _permit(_deny(**{"class": _kind("MedicationRequest")}))),
        so=ALL - {"drug"},
    ),
    "deny by class at the root": _of(
        document("OPTIN", _deny(**{"class": _kind("MedicationRequest")})), so=ALL - {"drug"}
    ),
    "deny by a class nobody knows": _of(
        document("OPTIN", _permit(_deny(**{"class": [{"system": "x", "code": "y"}]}))), so=NONE
    ),
    "permit by class": _of(
        document("OPTOUT", _deny(_permit(**{"class": _kind("Observation")}))),
        so=frozenset(("patient", "old", "new")),
        drug="outside-scope",
    ),
    "deny of the Patient": _of(
        document("OPTIN", _permit(_deny(**{"class": _kind("Patient")}))), so=NONE
    ),
    "deny by clinical code": _of(
        document("OPTIN", _permit(_deny(code=[{"coding": [{"system": _LOINC, "code": GLUCOSE}]}]))),
        so=ALL - {"new"},
    ),
    "deny of one resource": _of(
        document(
            "OPTIN",
            _permit(
                _deny(
                    data=[
                        {
                            "meaning": "instance",
                            "reference": {"reference": "AllergyIntolerance/ID-undated"},
                        }
                    ]
                )
            ),
        ),
        so=ALL - {"undated"},
    ),
    "exception to an exception": _of(
        document(
            "OPTIN",
            _permit(
                _deny(
                    _permit(code=[{"coding": [{"system": _LOINC, "code": GLUCOSE}]}]),
                    **{"class": _kind("Observation", "Condition")},
                )
            ),
        ),
        so=ALL - {"old", "secret"},
    ),
    "permitted data period": _of(
        document("OPTIN", _permit(dataPeriod=SINCE)),
        so=RECENT - {"visit"},
        old="outside-window",
        undated="undated",
    ),
    "denied data period": _of(document("OPTIN", _permit(_deny(dataPeriod=OLD))), so=RECENT),
    "deny of a time that is over": _of(
        PLAIN, document("OPTOUT", _deny(period=OLD)), so=RECENT, old="deny", undated="deny"
    ),
    "deny to come": _of(PLAIN, document("OPTOUT", _deny(period={"start": "2024-07-01"})), so=ALL),
    # purpose, action
    "permit for research": _of(document("OPTIN", _permit(purpose=_for("HRESCH"))), so=ALL),
    "permit for treatment": _of(
        document("OPTIN", _permit(purpose=_for("TREAT"))), so=NONE, new="other-purpose"
    ),
    "deny for marketing": _of(document("OPTIN", _permit(_deny(purpose=_for("HMARKT")))), so=ALL),
    "nothing but a deny for marketing": _of(
        document(None, _deny(purpose=_for("HMARKT"))), so=ALL, new="none"
    ),
    "deny for a purpose nobody knows": _of(
        document("OPTIN", _permit(_deny(purpose=_for("MLTRAINING")))), so=NONE
    ),
    "permit to correct": _of(
        document("OPTIN", _permit(action=[{"coding": [coding("consentaction", "correct")]}])),
        so=NONE,
        new="other-action",
    ),
    "permit of an action in words": _of(
        document("OPTIN", _permit(action=[{"text": "look at it"}])), so=NONE, new="other-action"
    ),
    # several documents
    "two permits": _of(PLAIN, document("OPTIN", _permit(dataPeriod=SINCE)), so=ALL),
    "permit, later deny": _of(PLAIN, document("OPTOUT", dateTime="2023-01-01"), so=NONE),
    "deny, later permit": _of(PLAIN, document("OPTOUT", dateTime="2019-01-01"), so=NONE),
    "permit beside an inactive deny": _of(PLAIN, document("OPTOUT", status="inactive"), so=ALL),
    "permit beside another's exception": _of(
        PLAIN, document("OPTIN", _permit(_deny(securityLabel=LABEL))), so=ALL - {"secret"}
    ),
    # what cannot be read
    "unknown policy": _of(document("ANYTHING", _permit()), so=NONE, new="unknown-policy"),
    "policy in words": _of(
        document(None, _permit(), policyRule={"text": "as agreed"}), so=NONE, new="unknown-policy"
    ),
    "exception without a type": _of(
        document("OPTIN", _permit({"securityLabel": LABEL})), so=NONE, new="untyped-provision"
    ),
    "no policy and no type": _of(document(None, {}), so=NONE, new="untyped-provision"),
    "end before start": _of(
        document("OPTIN", _permit(period={"start": "2024-01-01", "end": "2020-01-01"})),
        so=NONE,
        new="bad-period",
    ),
    "nested too deep": _of(
        document("OPTIN", _permit(_deny(_permit(_deny(securityLabel=LABEL))))),
        so=NONE,
        new="nested-too-deep",
    ),
    "opt-in that denies all": _of(
        document("OPTIN", _deny()), so=NONE, new="contradicting-provision"
    ),
    "unreadable beside a permit": _of(PLAIN, document("ANYTHING"), so=NONE, new="unknown-policy"),
    "denied code nobody knows": _of(
        document("OPTIN", _permit(_deny(code=_text("insurance")))),
        so=NONE,
        new="unknown-code",
    ),
    # Broad Consent
    "broad": _of(_broad(_permit(code=_mii(8)), _permit(code=_mii(37))), so=ALL, new="permit"),
    "broad without this use": _of(_broad(_permit(code=_mii(37))), so=NONE, new="other-code"),
    "broad with a code nobody knows": _of(
        _broad(_permit(code=_text("research"))), so=NONE, new="unknown-code"
    ),
    "broad, something else denied": _of(
        _broad(_permit(code=_mii(8)), _deny(code=_mii(37))), so=ALL
    ),
    "broad, this use revoked": _of(
        _broad(_permit(code=_mii(8))), _broad(_deny(code=_mii(8))), so=NONE
    ),
    "broad, renewed": _of(
        _broad(_permit(code=_mii(8), period={"start": "2015-01-01", "end": "2019-12-31"})),
        _broad(_permit(code=_mii(8), period={"start": "2020-01-01"})),
        so=ALL,
    ),
    # from when on
    "only from the period on": _of(
        document("OPTIN", _permit(period=SINCE)),
        so=RECENT - {"visit"},
        policy=STRICT,
        old="outside-window",
    ),
    "from the encounter under way": _of(
        document("OPTIN", _permit(period=AT_VISIT)), so=RECENT, policy=STRICT
    ),
    "not from the encounter": _of(
        document("OPTIN", _permit(period=AT_VISIT)),
        so=RECENT - {"visit"},
        policy=CODED,
    ),
    "from the policy date on": _of(
        document("OPTIN", _permit(), dateTime="2023-01-05"), so=RECENT, policy=STRICT
    ),
    "without any date": _of(document("OPTIN", dateTime=None), so=ALL, policy=STRICT),
    "broad, from before too": _of(
        _broad(_permit(code=_mii(8), period=SINCE), _permit(code=_mii(46), period=SINCE)),
        so=ALL,
        policy=CODED,
    ),
    "broad, not from before": _of(
        _broad(_permit(code=_mii(8), period=SINCE)), so=RECENT - {"visit"}, policy=CODED
    ),
}
