"""This package as one file, for Python workers of executors and of a Spark Connect server."""

import os
import tempfile
import zipfile
from pathlib import Path

import clinical_lakehouse


def zipped_package(folder: Path) -> Path:
    """This package as a zip for executors, made anew where a file of it is newer."""
    source = Path(clinical_lakehouse.__file__).parent
    files = [p for p in sorted(source.rglob("*")) if p.is_file() and p.suffix != ".pyc"]
    target = folder / "clinical_lakehouse.zip"
    newest = max(path.stat().st_mtime for path in files)
    if not target.exists() or target.stat().st_mtime < newest:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", "package-", folder)
        os.close(handle)
        draft = Path(name)
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(source.parent))
        draft.replace(target)
    return target
