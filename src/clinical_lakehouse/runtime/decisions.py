"""A person's decision on what a job has left open: what it is, who took it and why."""

from collections.abc import Mapping

from clinical_lakehouse.errors import UsageError


def decided_status(params: Mapping[str, str], statuses: Mapping[str, str], kept: str) -> str:
    """The status that the parameter `decision` stands for in `statuses`.

    UsageError where it is none of them, or where `why` or `by` is missing, of which `kept` tells
    what becomes.
    """
    status = statuses.get(params.get("decision", ""))
    if status is None:
        raise UsageError(f"--decision must be one of {', '.join(statuses)}")
    for name, meaning in (("why", "the reason for the decision"), ("by", "who decides")):
        if not params.get(name, "").strip():
            raise UsageError(f"--{name} is missing: {meaning} {kept}")
    return status
