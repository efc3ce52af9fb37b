"""Speed and memory of the spine: simulated trials of 300 and 2,400 patients, each task's rows/s.

Run by `make bench` (or `python benchmarks/spine.py 300 2400`); prints the tables that
benchmarks/README.md keeps. Beside it, in the same run, DuckDB reads the same NDJSON and counts it:
the floor for anything that parses these files on this machine.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from measuring import peak_memory, timed

CLI = [sys.executable, "-m", "clinical_lakehouse.cli"]
COLUMNS = "job, task, duration_seconds, metrics"


def main(sizes: list[int]) -> None:
    """One table of figures per size."""
    for patients in sizes:
        with tempfile.TemporaryDirectory() as folder:
            _report(patients, Path(folder))


def _report(patients: int, folder: Path) -> None:
    root = folder / "lake"
    with timed() as whole, peak_memory() as peak:
        _cli("--root", str(root), "demo", "--patients", str(patients))
    landing = root / "landing"
    lines = sum(1 for path in landing.glob("*.ndjson") for _ in path.open("rb"))
    with timed() as counted:
        _count_with_duckdb(landing)
    where = "state = 'success' AND entry_point IS NOT NULL"
    statement = f"SELECT {COLUMNS} FROM ops.task_run WHERE {where} ORDER BY recorded_at"
    said = _cli("--root", str(root), "sql", statement, "--format", "json")
    _print(f"## {patients} patients: {lines:,} resources\n")
    _print(f"Whole chain with simulation and report {whole[0]:.0f} s, ")
    _print(f"{whole[0] / counted[0]:.0f} times what DuckDB takes to read and count the files ")
    _print(f"({counted[0]:.1f} s); peak memory {peak[0] / 1e9:.1f} GB.\n")
    _print("| job | task | s | resources/s |\n|---|---|--:|--:|")
    for row in (json.loads(line) for line in said.splitlines()):
        seconds = row["duration_seconds"]
        _print(f"| {row['job']} | {row['task']} | {seconds:.1f} | {lines / seconds:,.0f} |")
    _print("")


def _count_with_duckdb(landing: Path) -> None:
    """Types are named, since the planted broken lines leave nothing to guess them from."""
    columns = "records=true, columns={resourceType: 'VARCHAR'}"
    wanted = f"format='newline_delimited', ignore_errors=true, {columns}"
    reader = f"read_json('{landing}/*.ndjson', {wanted})"
    duckdb.sql(f"SELECT resourceType, count(*) FROM {reader} GROUP BY 1").fetchall()


def _cli(*arguments: str) -> str:
    done = subprocess.run([*CLI, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [300, 2400])
