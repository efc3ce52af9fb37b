"""What event triggers look at on this machine: files in a folder, versions in Delta's logs."""

import os
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlparse

from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.local.due import Sight
from clinical_lakehouse.local.trigger import Trigger

_VOLUME = re.compile(r"/Volumes/[^/]+/[^/]+/[^/]+(?:/(.*))?")
_COMMIT = re.compile(r"(\d{20})\.(?:json|checkpoint.*\.parquet)")
_CHANGES_DATA = b'"dataChange":true'


def look_at(trigger: Trigger, root: Path, versions: Mapping[str, int]) -> Sight:
    """The trigger's files or tables now; `versions` are those of the last look."""
    if trigger.kind == "file_arrival":
        return _files(watched_folder(trigger.url, root))
    return Sight(
        versions={
            name: data_version(_table_folder(name, root), versions.get(name, -1))
            for name in trigger.table_names
        }
    )


def watched_folder(url: str, root: Path) -> Path:
    """The folder that a file_arrival url means here: a volume is the lake's folder.

    UsageError for a place that is no folder of this machine (s3://...).
    """
    parts = urlparse(url)
    if parts.scheme not in ("", "file", "dbfs"):
        raise UsageError(f"file_arrival url {parts.scheme}://... is no folder of this machine")
    volume = _VOLUME.fullmatch(parts.path)
    return root / (volume[1] or "") if volume else root / parts.path


def data_version(table: Path, known: int) -> int:
    """The latest version of a Delta table that changed its data, -1 if there is no table.

    Versions up to `known` are taken as read. OPTIMIZE, VACUUM and new properties change no data; a
    version whose commit file is cleaned away is taken as a change.
    """
    try:
        names = os.listdir(table / "_delta_log")
    except (FileNotFoundError, NotADirectoryError):
        return -1
    found = {int(match[1]) for name in names if (match := _COMMIT.fullmatch(name))}
    latest = max(found, default=-1)
    if latest < known:  # another table has taken its place
        return latest
    for version in range(latest, known, -1):
        try:
            content = (table / "_delta_log" / f"{version:020}.json").read_bytes()
        except FileNotFoundError:
            return version
        if _CHANGES_DATA in content:
            return version
    return known


def _table_folder(name: str, root: Path) -> Path:
    """Of catalog.schema.table; which catalog it is makes no difference here."""
    schema, table = name.split(".")[-2:]
    return root / schema / table


def _files(folder: Path) -> Sight:
    """Every file below, but hidden ones. Names are hashed: a site may put a person into one."""
    whole, files = blake2b(digest_size=16), set()
    for path, size, time in sorted(_walk(folder)):
        name = blake2b(os.fsencode(path), digest_size=8).hexdigest()
        files.add(name)
        whole.update(f"{name} {size} {time}\n".encode())
    return Sight(frozenset(files), whole.hexdigest())


def _walk(folder: Path) -> Iterator[tuple[str, int, int]]:
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(entry.path)
                    elif entry.is_file():
                        status = entry.stat()
                        yield entry.path, status.st_size, status.st_mtime_ns
        except FileNotFoundError:  # not made yet, or moved away while we looked
            continue
        except OSError as error:
            raise SourceError(f"cannot look for new files: {error.strerror}") from None
