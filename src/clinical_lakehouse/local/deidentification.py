"""Files of FHIR resources through an anonymizer configuration; each output file whole or absent."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.deid.anonymizer import anonymized
from clinical_lakehouse.methods.deid.anonymizer_config import Configuration, read_configuration


def deidentify_files(config: Path, source: Path, out: Path, as_of: date) -> tuple[int, int]:
    """Write every .ndjson and .json file of `source` (file or folder) to `out`; (files, resources).

    Ages are those on `as_of`. SettingsError for the configuration; SourceError, naming file and
    line, for input that is not FHIR R4 JSON. Names of files stay as they are.
    """
    configuration = read_configuration(config)
    files = _files(source)
    if not files:
        raise SourceError(f"{source} holds no .ndjson or .json file; name another --input")
    if out.resolve() == (source if source.is_dir() else source.parent).resolve():
        raise SourceError("--out must be another folder than that of --input")
    out.mkdir(parents=True, exist_ok=True)
    folder = source.name if source.is_dir() else source.resolve().parent.name
    return len(files), sum(_rewrite(path, out, configuration, as_of, folder) for path in files)


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(p for p in source.glob("*") if p.suffix in (".ndjson", ".json"))


def _rewrite(path: Path, out: Path, configuration: Configuration, as_of: date, folder: str) -> int:
    scope = {"file": path.name, "folder": folder}.get(configuration.parameters.dateShiftScope, "")
    draft, count = out / f".{path.name}.part", 0
    try:
        with draft.open("wb") as target:
            for number, resource in _resources(path):
                try:
                    made = anonymized(resource, configuration, as_of, scope)
                except SourceError as error:
                    raise SourceError(f"{path.name}, line {number}: {error}") from None
                target.write(orjson.dumps(made) + b"\n")
                count += 1
        os.replace(draft, out / path.name)
    finally:
        draft.unlink(missing_ok=True)
    return count


def _resources(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Resources with the number of their line; a .json file is one resource."""
    if path.suffix == ".json":
        yield 1, _parsed(path, 1, path.read_bytes())
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _parsed(path, number, line)


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        made = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        made = None
    if not isinstance(made, dict):
        raise SourceError(f"{path.name}, line {number} is no JSON object; correct or remove it")
    return made
