"""The study and its sites: Organization, Location, Practitioner, ResearchStudy."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from clinical_lakehouse.simulation.codes import DIABETES
from clinical_lakehouse.simulation.fhir import OWN, Json, concept, hl7, instant, ref, resource
from clinical_lakehouse.simulation.plan import TrialPlan

STUDY_ID = "study-cl-0417"
SPONSOR_ID = "sponsor"
ACTIVE = "ACTIVE"
CONTROL = "CONTROL"

UNDER_REPORTING_SHARE = 0.30
LATE_ENTRY_DAYS = 45
_UNDER_REPORTING, _LATE, _MISLABELLED = 1, 2, 3

_PLACES = (
    ("Northlake", "MA"),
    ("Eastmere", "NY"),
    ("Fairmont Hills", "PA"),
    ("Granite Bay", "OH"),
    ("Cedar Falls", "IL"),
    ("Redwater", "TX"),
    ("Pinecrest", "WA"),
    ("Lowbridge", "CA"),
)
_STAFF = (("Imre", "Aldous"), ("Maren", "Tveit"), ("Oluchi", "Bram"), ("Sanna", "Kettler"))


@dataclass(frozen=True)
class Site:
    """A trial site with the faults planted in how it works."""

    number: int
    id: str
    name: str
    city: str
    state: str
    ae_recorded_share: float
    entry_delay_days: int
    glucose_in_mmol: bool

    @property
    def location_id(self) -> str:
        """Its Location's id."""
        return f"{self.id}-clinic"

    @property
    def investigator_id(self) -> str:
        """Its principal investigator's Practitioner id."""
        return f"{self.id}-investigator"

    @property
    def nurse_id(self) -> str:
        """Its study nurse's Practitioner id."""
        return f"{self.id}-nurse"


def make_sites(count: int) -> tuple[Site, ...]:
    """The trial's sites; with fewer than four, one site carries several faults."""
    return tuple(_make_site(number, count) for number in range(count))


def _make_site(number: int, count: int) -> Site:
    city, state = _PLACES[number % len(_PLACES)]
    return Site(
        number=number,
        id=f"site-{number + 101}",
        name=f"{city} Clinical Research Centre {number + 101}",
        city=city,
        state=state,
        ae_recorded_share=UNDER_REPORTING_SHARE if number == _UNDER_REPORTING % count else 1.0,
        entry_delay_days=LATE_ENTRY_DAYS if number == _LATE % count else 0,
        glucose_in_mmol=number == _MISLABELLED % count,
    )


def study_resources(plan: TrialPlan, sites: tuple[Site, ...]) -> Iterator[Json]:
    """The sponsor, the study, and each site with its place and staff."""
    updated = instant(datetime.combine(plan.start, time(6)))
    yield resource(
        "Organization",
        SPONSOR_ID,
        updated,
        active=True,
        name="Simulated Sponsor",
        type=[hl7("organization-type", "other")],
    )
    yield _study(plan, sites, updated)
    for site in sites:
        yield from _site_resources(site, updated)


def _study(plan: TrialPlan, sites: tuple[Site, ...], updated: str) -> Json:
    last_day = plan.end - timedelta(days=1)
    return resource(
        "ResearchStudy",
        STUDY_ID,
        updated,
        identifier=[{"system": OWN + "protocol", "value": "CL-0417-201"}],
        title="CL-0417 versus placebo in type 2 diabetes (simulated)",
        status="active",
        phase=hl7("research-study-phase", "phase-2"),
        condition=[concept(DIABETES.snomed, DIABETES.icd10cm)],
        period={"start": plan.start.isoformat(), "end": last_day.isoformat()},
        sponsor=ref("Organization", SPONSOR_ID),
        principalInvestigator=ref("Practitioner", sites[0].investigator_id),
        site=[ref("Location", site.location_id) for site in sites],
        arm=[
            {"name": ACTIVE, "description": "CL-0417 1 mg once weekly"},
            {"name": CONTROL, "description": "Placebo once weekly"},
        ],
    )


def _site_resources(site: Site, updated: str) -> Iterator[Json]:
    address = {"city": site.city, "state": site.state, "country": "US"}
    yield resource(
        "Organization",
        site.id,
        updated,
        active=True,
        identifier=[{"system": OWN + "site", "value": str(site.number + 101)}],
        type=[hl7("organization-type", "prov")],
        name=site.name,
        address=[address],
    )
    yield resource(
        "Location",
        site.location_id,
        updated,
        status="active",
        name=f"{site.name}, study unit",
        mode="instance",
        address=address,
        managingOrganization=ref("Organization", site.id),
    )
    staff = (site.investigator_id, site.nurse_id)
    for offset, practitioner_id in enumerate(staff):
        given, family = _STAFF[(site.number * 2 + offset) % len(_STAFF)]
        yield resource(
            "Practitioner",
            practitioner_id,
            updated,
            active=True,
            identifier=[{"system": OWN + "staff", "value": practitioner_id}],
            name=[{"family": family, "given": [given]}],
        )
