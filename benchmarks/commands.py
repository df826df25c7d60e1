"""Whole commands, run as a user would, each in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cases import Case, Task, markdown
from benchmarks.process import Measurement, measure
from benchmarks.records import Record

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


def demo(folder: Path, *, devices: int, runs: int, name: str, page_size: int = 50) -> Measurement:
    """Run `carrier-opt demo`, again and again in one folder."""
    out = folder / f"demo-{devices}-{page_size}"
    arguments = ["--devices", str(devices), "--page-size", str(page_size), "--out", str(out)]
    return measure(
        name,
        lambda _: [COMMAND, "demo", *arguments],
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


def cases() -> list[Case]:
    """Every case that runs the command."""
    return [
        _case("demo", "the main job with 2,000 SIMs, beside a bare Prefect", lambda folder: [
            bare_prefect(folder, runs=1, name="bare Prefect, new database"),
            bare_prefect(folder, runs=3, name="bare Prefect, existing database"),
            demo(folder, devices=2000, runs=1, name="demo, 2,000 SIMs, new database"),
            demo(folder, devices=2000, runs=3, name="demo, 2,000 SIMs, existing database"),
        ]),
        _case("demo-100k", "the main job with 100,000 SIMs", lambda folder: [
            demo(folder, devices=100_000, runs=1, name="demo, 100,000 SIMs, new database"),
        ]),
        _case("demo-1m", "the main job by number of SIMs, 1,000 rows a page", lambda folder: [
            demo(folder, devices=100_000, page_size=1000, runs=1,
                 name="demo, 100,000 SIMs, 1,000 rows a page, new database"),
            demo(folder, devices=1_000_000, page_size=1000, runs=1,
                 name="demo, 1,000,000 SIMs, 1,000 rows a page, new database"),
        ], is_long=True),
        _case("workbook", "a workbook that lists 100,000 SIMs", lambda folder: [
            optimize(folder, devices=100_000, suffix="csv", runs=1, sheets="all"),
        ]),
        _case("optimize", "file use, 100,000 rows", lambda folder: [
            optimize(folder, devices=100_000, suffix="csv", runs=3),
            optimize(folder, devices=100_000, suffix="parquet", runs=3),
        ]),
        _case("optimize-1m", "file use, 1,000,000 rows", lambda folder: [
            optimize(folder, devices=1_000_000, suffix="parquet", runs=3),
        ]),
    ]  # fmt: skip


def command_table(records: Sequence[Record]) -> str:
    """One row per measurement."""
    header = ["case", "runs", "median s", "peak MiB, largest process", "peak MiB, with children"]
    rows = [
        [
            one["name"], len(one["runs"]), f"{one['median_wall_s']:.1f}",
            f"{one['median_peak_mib']:.0f}", f"{one['median_peak_tree_mib']:.0f}",
        ]
        for record in records
        for one in record["measurements"]
    ]  # fmt: skip
    return markdown(header, rows)


def _case(
    name: str, about: str, run: Callable[[Path], list[Measurement]], *, is_long: bool = False
) -> Case:
    """Measure together, since a database that exists is one that an earlier run has made."""

    def task(folder: Path) -> Record:
        return {"measurements": [measurement.as_json() for measurement in run(folder)]}

    tasks = (Task(key="all", run=task),)
    return Case(name=name, about=about, tasks=tasks, table=command_table, is_long=is_long)
