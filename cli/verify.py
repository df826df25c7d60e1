"""``carrier-opt verify``: proves a run again from its files."""

from __future__ import annotations

import json
import sys
from decimal import ROUND_FLOOR
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.paths import path_option

if TYPE_CHECKING:
    from core.reports.verification import VerifiedRun, VerifiedUnit

MAX_SHOWN_UNITS = 20
"""Solve units shown; ``--json`` has them all."""

_HEADINGS = ("unit", "SIMs", "cost", "bound", "gap %", "check")


def verify(
    *,
    out: Annotated[Path, path_option("Folder with the results of a run.")],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of text.")
    ] = False,
) -> None:
    """Check certificate.json and assignments.parquet of a run, trusting no solver.

    Feasibility, costs and lower bounds are derived again from the rows, the catalogue and the
    multipliers in the files. Ends with 0 if everything holds and with 1 if a check fails.
    """
    from core.errors import DataError, InputError
    from core.reports.verification import verify_run

    try:
        run = verify_run(out)
    except DataError as error:
        raise InputError(f"{out}: {error}") from error
    units = run.units
    if json_output:
        sys.stdout.write(json.dumps([_fields(unit) for unit in units], indent=2) + "\n")
        return
    rows = [_cells(unit) for unit in units[:MAX_SHOWN_UNITS]]
    if sys.stdout.isatty():
        _print_table([*rows, _total(run)])
    else:
        for row in (_HEADINGS, *rows, _total(run)):
            sys.stdout.write("\t".join(row) + "\n")
    if len(units) > MAX_SHOWN_UNITS:
        sys.stdout.write(f"and {len(units) - MAX_SHOWN_UNITS:,} more units: all of them hold\n")
    if run.unpriced:
        sys.stdout.write(f"SIMs without a price, in no unit: {run.unpriced:,} of {run.devices:,}\n")


def _fields(unit: VerifiedUnit) -> dict[str, object]:
    from core.reports.summary import gap_percent
    from core.units import micros_to_text

    bound = unit.bound_micros
    return {
        "unit_id": unit.unit_id,
        "devices": unit.devices,
        "cost": micros_to_text(unit.cost_micros),
        "lower_bound": None if bound is None else micros_to_text(bound),
        "gap_percent": gap_percent(unit.cost_micros, bound),
        "holds": True,
        "skipped": unit.is_skipped,
    }


def _cells(unit: VerifiedUnit) -> list[str]:
    cells = _row(unit.unit_id, unit.devices, unit.cost_micros, unit.bound_micros)
    return [*cells[:-2], "skipped", cells[-1]] if unit.is_skipped else cells


def _total(run: VerifiedRun) -> list[str]:
    return _row(
        "total",
        sum(unit.devices for unit in run.units),
        sum(unit.cost_micros for unit in run.units),
        run.bound_micros,
    )


def _row(name: str, devices: int, cost: int, bound: int | None) -> list[str]:
    """Cells of a line: the bound rounded down and the gap up, so that both stay true."""
    from cli.optimize_view import printable
    from core.reports.summary import SHOWN_GAP_PLACES, shown_gap_percent
    from core.units import money_text

    gap = shown_gap_percent(cost, bound)
    no_gap = "unknown" if bound is None else ""
    return [
        printable(name),
        f"{devices:,}",
        money_text(cost),
        "unknown" if bound is None else money_text(bound, ROUND_FLOOR),
        no_gap if gap is None else f"{gap:,.{SHOWN_GAP_PLACES}f}",
        "holds",
    ]


def _print_table(rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for place, heading in enumerate(_HEADINGS):
        is_number = 0 < place < len(_HEADINGS) - 1
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
