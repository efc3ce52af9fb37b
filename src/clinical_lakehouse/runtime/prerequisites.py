"""What must be on the machine: Python, Java, disk. Standard library only, so it runs before setup.

`python3 src/clinical_lakehouse/runtime/prerequisites.py` prints one line per thing that is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Optional  # noqa: UP035  (also run by older Pythons, to say so)

NEEDED_DISK_GB = 4
NEEDED_JAVA = 17


def java_version() -> Optional[int]:  # noqa: UP045
    """Major version of the Java that Spark would start, None if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not Path(java).exists():
        return None
    said = subprocess.run([java, "-version"], stderr=subprocess.PIPE, check=False).stderr.decode()
    digits = said.split('"')[1].split(".") if '"' in said else ["0"]
    return int(digits[1] if digits[0] == "1" else digits[0].split("-")[0])


def missing(folder: str = ".") -> List[str]:  # noqa: UP006
    """One line for each thing that must be installed or freed; empty if all is there."""
    return [line for line in (_python(), _java(), _disk(folder)) if line]


def _python() -> str:
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return ""
    have = ".".join(str(part) for part in sys.version_info[:2])
    return f"Python {have} does not fit; install Python 3.11 or 3.12"


def _java() -> str:
    found = java_version()
    if found is None:
        return f"Java is missing; install a JDK {NEEDED_JAVA} or newer, or set JAVA_HOME"
    return "" if found >= NEEDED_JAVA else f"Java {found} is too old; install a JDK 17 or newer"


def _disk(folder: str) -> str:
    free = shutil.disk_usage(folder).free / 1e9
    if free >= NEEDED_DISK_GB:
        return ""
    return f"{free:.1f} GB of disk are free; free {NEEDED_DISK_GB} GB"


if __name__ == "__main__":
    lines = missing()
    sys.stderr.write("".join(f"error: {line}\n" for line in lines))
    sys.exit(1 if lines else 0)
