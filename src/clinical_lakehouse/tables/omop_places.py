"""OMOP CDM 5.4 health system tables: places, sites and who works there. No addresses, no names."""

from clinical_lakehouse.tables.contract import Column, Phi, is_one_of, refers_to
from clinical_lakehouse.tables.omop_columns import cdm_table, concept, number, ref, text

_ADDRESS = "Never filled: identifies."

LOCATION = cdm_table(
    "location",
    "state that a person, organization or place is in",
    (
        ref("location_id", "A hash of the state.", True),
        text("address_1", _ADDRESS),
        text("address_2", _ADDRESS),
        text("city", _ADDRESS),
        text("state", "State, where its name has two letters.", phi=Phi.QUASI),
        text("zip", _ADDRESS),
        text("county", _ADDRESS),
        text("location_source_value", "State as sent.", phi=Phi.QUASI),
        concept("country_concept_id", "Never filled."),
        text("country_source_value", "Never filled."),
        number("latitude", _ADDRESS),
        number("longitude", _ADDRESS),
    ),
)

CARE_SITE = cdm_table(
    "care_site",
    "organization or place within one that gives care",
    (
        ref("care_site_id", "silver.organization or silver.location: its key.", True),
        text("care_site_name", "Name of the organization or place."),
        concept("place_of_service_concept_id", "0: FHIR's kinds are no vocabulary."),
        ref("location_id", "The state it is in."),
        text("care_site_source_value", "Its surrogate key."),
        text("place_of_service_source_value", "Kind of organization as sent, or location."),
    ),
    (refers_to("location_id", LOCATION),),
)

PROVIDER = cdm_table(
    "provider",
    "practitioner",
    (
        ref("provider_id", "silver.practitioner.practitioner_key.", True),
        text("provider_name", "Never filled: identifies."),
        text("npi", "Never filled: identifies."),
        text("dea", "Never filled: identifies."),
        concept("specialty_concept_id", "0: no vocabulary of specialties is looked up."),
        ref("care_site_id", "Where the practitioner works: FHIR says it in no resource we read."),
        Column("year_of_birth", "INT", "Never filled.", phi=Phi.QUASI),
        concept("gender_concept_id", "8507 male, 8532 female, else 0."),
        text("provider_source_value", "The practitioner's surrogate key."),
        text("specialty_source_value", "First qualification's code."),
        concept("specialty_source_concept_id", "0."),
        text("gender_source_value", "FHIR administrative gender."),
        concept("gender_source_concept_id", "0: FHIR's codes are no vocabulary."),
    ),
    (
        refers_to("care_site_id", CARE_SITE),
        is_one_of("gender_concept_id", "0", "8507", "8532"),
    ),
)
