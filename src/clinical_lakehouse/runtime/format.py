"""The lake's format number, in `<root>/lake.json`: a lake made by a newer version is refused."""

import json
from pathlib import Path

from clinical_lakehouse.errors import LakeError

FORMAT = 1


def check_format(root: Path) -> None:
    """Write the format number of a new lake; refuse a newer, damaged or unwritable one."""
    marker = root / "lake.json"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            marker.write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
        found = json.loads(marker.read_text(encoding="utf-8"))["format"]
    except (ValueError, KeyError, TypeError):
        raise LakeError(f"{marker} is damaged; restore it or choose another --root") from None
    except OSError as error:
        raise LakeError(f"cannot use {root} as a lake: {error.strerror}") from None
    if found > FORMAT:
        raise LakeError(
            f"the lake at {root} has format {found}, this version knows {FORMAT}; "
            "install a newer clinical-lakehouse"
        )
