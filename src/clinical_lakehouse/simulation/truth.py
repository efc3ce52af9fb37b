"""truth.json: what was planted, row by row, streamed so that memory stays flat."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import orjson

from clinical_lakehouse.simulation.fhir import Json

SECTIONS = (
    "subjects",
    "adverse_events",
    "glucose_mislabelled",
    "duplicates",
    "newer_versions",
    "late_arrivals",
    "entered_in_error",
    "withdrawn_consents",
    "invalid",
    "ignored",
    "canaries",
)


class Truth:
    """Collects rows of the sections in temporary files and joins them into one JSON file."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self._folder = Path()

    def __enter__(self) -> "Truth":
        self._folder = Path(self._stack.enter_context(TemporaryDirectory()))
        for section in SECTIONS:
            file = self._stack.enter_context((self._folder / section).open("wb"))
            self._files[section] = file
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    def record(self, section: str, row: Json) -> None:
        """Add one row to a section."""
        file = self._files[section]
        file.write(b",\n" if file.tell() else b"\n")
        file.write(orjson.dumps(row))

    def save(self, path: Path, head: Json) -> None:
        """Write the head's keys, then every section as an array, to `path`."""
        with path.open("wb") as out:
            out.write(orjson.dumps(head)[:-1])
            for section in SECTIONS:
                out.write(b',\n"' + section.encode() + b'":[')
                self._files[section].flush()
                with (self._folder / section).open("rb") as rows:
                    while piece := rows.read(1 << 20):
                        out.write(piece)
                out.write(b"]")
            out.write(b"}\n")
