"""Validation on one core: our judge beside fhir.resources' models, on the same lines in one run.

Run: python benchmarks/validation.py FOLDER_OF_NDJSON
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from fhir.resources.R4B import get_fhir_model_class

from clinical_lakehouse.ingestion.resource_rules import judge


def main(folder: Path) -> None:
    """Resources/s of both (best of 5 and of 2 passes, CPU time) and this process's peak memory."""
    lines = [raw.strip() for path in sorted(folder.glob("*.ndjson")) for raw in path.open("rb")]
    ours = _rate(judge, lines, 5)
    ours_peak = _peak_megabytes()
    models = _rate(_by_models, lines, 2)
    _print(f"{len(lines):,} resources: ours {ours:,.0f}/s with {ours_peak:.0f} MB at most,")
    _print(f"models {models:,.0f}/s with {_peak_megabytes():.0f} MB; {ours / models:.1f} times")


def _by_models(raw: bytes) -> None:
    get_fhir_model_class(orjson.loads(raw)["resourceType"]).model_validate_json(raw)


def _rate(check: Callable[[bytes], object], lines: list[bytes], passes: int) -> float:
    best = float("inf")
    for _ in range(passes):
        start = time.process_time()
        for raw in lines:
            check(raw)
        best = min(best, time.process_time() - start)
    return len(lines) / best


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
