"""References as received made `Type/id`, and the person a resource is about."""

import re
from collections.abc import Mapping
from typing import Any

# A quoted key cannot stand inside a JSON string (its quotes would be escaped), so text is safe.
_KEY = rb'("reference"\s*:\s*")'
_FOREIGN = re.compile(_KEY + rb'(?:https?://|[^"]*/_history/)')
_LOCAL = re.compile(
    _KEY + rb'(?:https?://[^"]*/)?([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[^"]*)?(?=")'
)
_FULL_URL = re.compile(_KEY + rb'([^"]+)(?=")')
_PERSON = re.compile(r"(?:Patient/|urn:uuid:)([A-Za-z0-9\-.]{1,64})")
# Where a resource says whom it is about.
_ABOUT = ("subject", "patient", "individual", "beneficiary")


def with_local_references(content: bytes) -> bytes:
    """Absolute URLs and versioned references as `Type/id`; `urn:uuid:` stays as it is."""
    return _LOCAL.sub(rb"\1\2", content) if _FOREIGN.search(content) else content


def with_bundle_references(content: bytes, full_urls: Mapping[bytes, bytes]) -> bytes:
    """References to other entries of the same Bundle (by fullUrl) as `Type/id`."""
    return _FULL_URL.sub(lambda m: m[1] + full_urls.get(m[2], m[2]), content)


def person_of(resource: Mapping[str, Any]) -> str | None:
    """Logical id of the Patient that a resource is about, None for any other subject."""
    if resource.get("resourceType") == "Patient":
        found = resource.get("id")
        return found if isinstance(found, str) else None
    for element in _ABOUT:
        reference = resource.get(element)
        if isinstance(reference, dict) and isinstance(reference.get("reference"), str):
            match = _PERSON.search(reference["reference"].split("/_history/")[0])
            return match[1] if match else None
    return None
