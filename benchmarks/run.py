"""`python -m benchmarks.run [CASE …]`: runs the cases, prints a table, writes JSON.

Every case runs the installed command as a user would, in a process of its own. Numbers depend on
the machine and on what else it does: compare medians of one run with each other.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.process import Measurement, measure

RESULTS = Path(__file__).parent / "results"
COMMAND = str(Path(sys.executable).parent / "carrier-opt")
EMPTY_FLOW = """
import sys
from pathlib import Path
from cli.embedded import embedded_prefect
with embedded_prefect(Path(sys.argv[1])) as wait_until_ready:
    from prefect import flow
    wait_until_ready()
    flow(lambda: None, name="empty")()
"""


def bare_prefect(folder: Path, *, runs: int, name: str) -> Measurement:
    """Start a Prefect server as the demo does, and run a flow that does nothing."""
    home = folder / "bare"
    return measure(
        name, lambda _: [sys.executable, "-c", EMPTY_FLOW, str(home)], runs=runs, folder=folder
    )


def demo(folder: Path, *, devices: int, runs: int, name: str) -> Measurement:
    """Run `carrier-opt demo`, again and again in one folder."""
    out = folder / f"demo-{devices}"
    return measure(
        name,
        lambda _: [COMMAND, "demo", "--devices", str(devices), "--out", str(out)],
        runs=runs,
        folder=folder,
    )


def optimize(
    folder: Path, *, devices: int, suffix: str, runs: int, sheets: str = "none"
) -> Measurement:
    """Run `carrier-opt optimize` on a simulated fleet exported to files."""
    fleet = folder / f"fleet-{devices}"
    if not fleet.exists():
        measure(
            "export",
            lambda _: [
                COMMAND,
                "simulate-carrier",
                "--devices",
                str(devices),
                "--export",
                str(fleet),
            ],
            runs=1,
            folder=folder,
        )
    devices_file = fleet / "devices.csv"
    if suffix == "parquet":
        import polars as pl

        devices_file = fleet / "devices.parquet"
        pl.read_csv(fleet / "devices.csv", infer_schema=False).write_parquet(devices_file)
    arguments = [
        COMMAND, "optimize", "--devices", str(devices_file), "--device-sheets", sheets,
        "--rate-plans", str(fleet / "rate_plans.csv"),
        "--communication-plans", str(fleet / "communication_plans.csv"),
        "--out", str(folder / "optimized"),
    ]  # fmt: skip
    what = "" if sheets == "none" else ", SIMs in the workbook"
    return measure(
        f"optimize, {devices:,} rows, {suffix}{what}", lambda _: arguments, runs=runs, folder=folder
    )


CASES: dict[str, Callable[[Path], list[Measurement]]] = {
    "demo": lambda folder: [
        bare_prefect(folder, runs=1, name="bare Prefect, new database"),
        bare_prefect(folder, runs=3, name="bare Prefect, existing database"),
        demo(folder, devices=2000, runs=1, name="demo, 2,000 SIMs, new database"),
        demo(folder, devices=2000, runs=3, name="demo, 2,000 SIMs, existing database"),
    ],
    "demo-100k": lambda folder: [
        demo(folder, devices=100_000, runs=1, name="demo, 100,000 SIMs, new database")
    ],
    "workbook": lambda folder: [
        optimize(folder, devices=100_000, suffix="csv", runs=1, sheets="all")
    ],
    "optimize": lambda folder: [
        optimize(folder, devices=100_000, suffix="csv", runs=3),
        optimize(folder, devices=100_000, suffix="parquet", runs=3),
    ],
}


def main(names: list[str]) -> None:
    """Run the named cases, or all of them."""
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        sys.exit(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{machine}\n{'case':44} {'runs':>4} {'median s':>9} {'peak MiB':>9}")
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="carrier-opt-bench-") as folder:
        for name in names or CASES:
            for measurement in CASES[name](Path(folder)):
                measurements.append(measurement)
                print(
                    f"{measurement.name:44} {len(measurement.runs):4d} "
                    f"{measurement.wall_s:9.1f} {measurement.peak_mib:9.0f}",
                    flush=True,
                )
    RESULTS.mkdir(exist_ok=True)
    report = {
        "machine": machine,
        "measured_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "measurements": [measurement.as_json() for measurement in measurements],
    }
    path = RESULTS / "latest.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main(sys.argv[1:])
