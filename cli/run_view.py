"""What a run shows: progress while it goes on, the summary at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import sqlalchemy as sa

POLL_SECONDS = 0.25
PIPE_WIDTH = 120

RESULT_FILES = (
    "report.xlsx",
    "assignments.parquet",
    "certificate.json",
    "summary.json",
    "rejects.csv",
)

STAGES = {
    "PENDING": "opening the session",
    "SYNCING": "fetching devices and usage from the carrier",
    "GROUPING": "grouping SIMs, validating plans",
    "SEQUENCING": "generating sequences",
    "OPTIMISING": "optimising",
    "FINALISING": "publishing and reporting",
}


@contextmanager
def narrate(engine: sa.Engine, provider_id: int) -> Iterator[None]:
    """Show the session's progress while the block runs: a bar on a terminal, nothing in a pipe.

    The database is asked, as any other observer would have to.
    """
    if not sys.stderr.isatty():
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting Prefect", total=100)
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(POLL_SECONDS):
                if (seen := _running_session(engine, provider_id)) is not None:
                    state, percent = seen
                    progress.update(bar, description=STAGES[state], completed=percent)

        watcher = threading.Thread(target=follow, name="progress", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _running_session(engine: sa.Engine, provider_id: int) -> tuple[str, int] | None:
    import sqlalchemy as sa

    from core.storage.engine import reading
    from core.storage.schema import optimization_session

    table = optimization_session.c
    query = sa.select(table.State, table.Progress).where(
        table.ServiceProviderId == provider_id, table.State.in_(STAGES)
    )
    with reading(engine) as connection:
        row = connection.execute(query).first()
    return None if row is None else (row.State, row.Progress)


def show_summary(summary: Mapping[str, Any], result: Mapping[str, Any], out: Path) -> None:
    """Print what a person wants to know first, and where the rest is."""
    # A pipe has no width of its own: give the table room.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if result.get("taken_over_from"):
        console.print(result["taken_over_from"], style="yellow", highlight=False, markup=False)
    table = Table(title="Cost of one billing cycle", title_justify="left")
    for heading in ("group", "communication plans", "strategy"):
        table.add_column(heading)
    for heading in ("devices", "baseline", "optimised", "savings"):
        table.add_column(heading, justify="right")
    for group in summary["groups"]:
        table.add_row(
            group["group_id"],
            Text(", ".join(group["communication_plans"])),  # names are no markup
            (group["strategy"] or group["status"]).replace("_", " "),
            f"{group['devices']:,}",
            *_money(group["baseline_cost"], group["optimized_cost"]),
        )
    table.add_section()
    table.add_row(
        "total", f"{summary['unpriced']} unpriced", "", f"{summary['devices']:,}",
        *_money(summary["baseline_cost"], summary["optimized_cost"]), style="bold",
    )  # fmt: skip
    console.print(table)
    rejected, listed = sum(summary["rejects"].values()), sum(summary["listed"].values())
    lines = [
        (
            f"session {result['session_id']} {result['state']}: "
            f"{summary['plan_changes']:,} plan changes save {summary['savings_percent']:.2f} %"
        ),
        *_proof(summary),
        (
            f"not optimised: {listed:,} SIMs listed, {rejected:,} rows rejected, "
            f"{summary['unpriced']:,} SIMs unpriced (reasons in the workbook)"
        ),
        *(f"  {out / name}" for name in RESULT_FILES if (out / name).exists()),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _proof(summary: Mapping[str, Any]) -> list[str]:
    from decimal import Decimal

    from cli.proof_lines import proof_lines

    bound, legacy = (
        None if summary[name] is None else int(Decimal(summary[name]).scaleb(6))
        for name in ("lower_bound", "legacy_best_cost")
    )
    statuses = {unit["status"] for unit in summary["units"]}
    cost = int(Decimal(summary["optimized_cost"]).scaleb(6))
    return proof_lines(cost, bound, legacy, is_optimal=statuses == {"optimal"})


def _money(baseline: str, optimized: str) -> tuple[str, str, str]:
    from decimal import Decimal

    before, after = Decimal(baseline), Decimal(optimized)
    return f"{before:,.2f}", f"{after:,.2f}", f"{before - after:,.2f}"
