"""Where conf/ is: settings and the contracts of view-made tables are both read from it."""

import os
from pathlib import Path

from clinical_lakehouse.errors import SettingsError

# The checkout's conf/, and the one a wheel brings.
_OWN = (Path(__file__).parents[3] / "conf", Path(__file__).parents[1] / "_bundle" / "conf")


def conf_dir() -> Path:
    """The folder of settings: CLINICAL_CONF_DIR, the checkout's conf/, or the installed one."""
    named = os.environ.get("CLINICAL_CONF_DIR")
    for folder in (*([Path(named)] if named else ()), *_OWN):
        if (folder / "base.yml").is_file():
            return folder
    raise SettingsError("conf/base.yml is missing; set CLINICAL_CONF_DIR to the folder it is in")


def files_as_of_now(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time of change and size of every file below: the same while nobody edits one."""
    found = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)


def view_dirs() -> tuple[Path, ...]:
    """Folders of the views that make silver tables: conf's own, and CLINICAL_VIEWS_DIR if named."""
    places = [folder / "views" / "silver" for folder in (conf_dir(), *_OWN)]
    own = next((place for place in places if place.is_dir()), None)
    if own is None:
        raise SettingsError("conf/views/silver is missing; restore it from the suite")
    named = os.environ.get("CLINICAL_VIEWS_DIR")
    if named and not Path(named).is_dir():
        raise SettingsError("CLINICAL_VIEWS_DIR names no folder; correct or unset it")
    return (own, Path(named)) if named else (own,)
