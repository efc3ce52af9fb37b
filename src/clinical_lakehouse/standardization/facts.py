"""What omop.cdm_source and omop.metadata say about the CDM, as rows made on the driver."""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from importlib.metadata import version
from typing import Any

from clinical_lakehouse.standardization.concepts import CDM_5_4, STANDARD_ALGORITHM

_LARGEST = 2**63 - 1


def source(name: str, holder: str, release: str, day: date) -> dict[str, Any]:
    """The one row of omop.cdm_source; `release` is the vocabulary's, `day` the run's."""
    return {
        "cdm_source_name": name[:255],
        "cdm_source_abbreviation": name[:25],
        "cdm_holder": holder[:255],
        "source_description": "FHIR R4 resources, de-identified, dates shifted per person.",
        "cdm_etl_reference": f"clinical-lakehouse {version('clinical-lakehouse')}",
        "source_release_date": day,
        "cdm_release_date": day,
        "cdm_version": "5.4",
        "cdm_version_concept_id": CDM_5_4,
        "vocabulary_version": release[:20],
    }


def metadata(facts: Mapping[str, str | float], at: datetime) -> list[dict[str, Any]]:
    """Rows of omop.metadata: one per fact, keyed by a hash of its name."""
    return [
        {
            "metadata_id": _key(name),
            "metadata_concept_id": 0,
            "metadata_type_concept_id": STANDARD_ALGORITHM,
            "name": name[:250],
            "value_as_string": str(value)[:250],
            "value_as_number": float(value) if isinstance(value, int | float) else None,
            "metadata_date": at.date(),
            "metadata_datetime": at,
        }
        for name, value in facts.items()
    ]


def _key(name: str) -> int:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") & _LARGEST
