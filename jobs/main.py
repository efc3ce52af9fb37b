"""The one spark-submit script: `spark-submit jobs/main.py ENTRY-POINT --root=... --as-of=...`."""

import sys
from pathlib import Path

try:
    import clinical_lakehouse  # noqa: F401
except ModuleNotFoundError:  # submitted from a checkout, without the wheel
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clinical_lakehouse.errors import LakehouseError, UsageError
from clinical_lakehouse.registry import task_named
from clinical_lakehouse.runtime.entry import run_from_arguments


def main(arguments: list[str]) -> None:
    """Run the named entry point; a refusal is one line on stderr and exit code 2."""
    try:
        if not arguments:
            raise UsageError("name an entry point, e.g. patient-ingestion-land")
        run_from_arguments(task_named(arguments[0]), arguments[1:])
    except LakehouseError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
