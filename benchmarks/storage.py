"""`python -m benchmarks.storage [N …]`: rows a second and memory of the database's bulk paths.

On SQLite in a new file, and on SQL Server where SQLSERVER_URL names a database that may be filled
(the rows stay there, under providers of their own). Last, a whole session over the largest number of
SIMs on SQLite; ``--rows`` leaves it out, ``--session`` leaves the rest out. Each step is a process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import markdown
from benchmarks.records import machine_line
from benchmarks.storage_account import (
    add_account,
    add_queue,
    open_sync,
    result_rows,
    sound_fleet,
    staging_rows,
)
from benchmarks.storage_step import STEPS
from core.storage.engine import open_engine
from core.storage.migrate import upgrade

SIZES = (100_000, 1_000_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="N", help="rows")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--rows", action="store_true", help="only the bulk paths")
    only.add_argument("--session", action="store_true", help="only the session")
    options = parser.parse_args(arguments)
    print(machine_line(), flush=True)
    if not options.session:
        for name, records in row_records(sorted(options.sizes)):
            print(f"\n{name}\n\n{row_table(records)}", flush=True)
    if not options.rows:
        child("benchmarks.storage_session", "2000")  # compiles and caches the kernels
        record = child("benchmarks.storage_session", str(max(options.sizes)))
        print(f"\nA session over {record['sims']:,} SIMs on SQLite\n\n{session_table(record)}")


def row_records(sizes: Sequence[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Measure every step at every size, one database after the other."""
    with tempfile.TemporaryDirectory(prefix="carrier-opt-bench-") as name:
        folder = Path(name)
        urls = {"SQLite": f"sqlite:///{folder / 'rows.db'}"}
        if server := os.environ.get("SQLSERVER_URL"):  # of tests and benchmarks, no setting
            urls["SQL Server"] = server
        for database, url in urls.items():
            yield database, [record for n in sizes for record in measure(url, n, folder)]


def measure(url: str, n_rows: int, folder: Path) -> list[dict[str, Any]]:
    """Run every step with ``n_rows`` rows."""
    files = prepare(url, n_rows, folder)
    return [child("benchmarks.storage_step", step, url, str(path)) for step, path in files.items()]


def prepare(url: str, n_rows: int, folder: Path) -> dict[str, Path]:
    """Add an account to a database, and write the rows of each step to a file."""
    engine = open_engine(url)
    upgrade(engine)
    provider, period = add_account(engine)
    run, queue_id = open_sync(engine, provider, period), add_queue(engine, provider, period)
    engine.dispose()
    results, staging = folder / "results.arrow", folder / "staging.arrow"
    fleet = sound_fleet(n_rows)
    result_rows(fleet, queue_id).write_ipc(results)
    staging_rows(fleet, run.id).write_ipc(staging)
    return {step: staging if step.startswith("merge") else results for step in STEPS}


def child(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in a process of its own, and return the JSON that it prints."""
    finished = subprocess.run(  # noqa: S603 - our own modules
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def row_table(records: Sequence[dict[str, Any]]) -> str:
    """One row per step and size."""
    header = ["step", "rows", "seconds", "rows a second", "frame MiB", "added at peak MiB"]
    rows = [
        [
            one["step"], f"{one['rows']:,}", f"{one['seconds']:.1f}",
            f"{one['rows'] / one['seconds']:,.0f}", f"{one['frame_mib']:.0f}",
            "unknown" if one["added_mib"] is None else f"{one['added_mib']:.0f}",
        ]
        for one in sorted(records, key=lambda one: (list(STEPS).index(one["step"]), one["rows"]))
    ]  # fmt: skip
    return markdown(header, rows)


def session_table(record: dict[str, Any]) -> str:
    """One row per step of the session, and their sum."""
    rows = [
        [one["step"], f"{one['seconds']:.1f}", f"{one['peak_mib']:.0f}"] for one in record["steps"]
    ]
    seconds = sum(one["seconds"] for one in record["steps"])
    peak = max(one["peak_mib"] for one in record["steps"])
    return markdown(
        ["step", "seconds", "peak MiB"], [*rows, ["all", f"{seconds:.1f}", f"{peak:.0f}"]]
    )


if __name__ == "__main__":
    main()
