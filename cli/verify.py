"""``carrier-opt verify``: proves a run again from its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.paths import path_option

if TYPE_CHECKING:
    from core.reports.verification import VerifiedUnit

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
    from core.reports.verification import verify_results

    try:
        units = verify_results(out)
    except DataError as error:
        raise InputError(f"{out}: {error}") from error
    if json_output:
        sys.stdout.write(json.dumps([_fields(unit) for unit in units], indent=2) + "\n")
        return
    rows = [_cells(unit) for unit in units[:MAX_SHOWN_UNITS]]
    if sys.stdout.isatty():
        _print_table([*rows, _total(units)])
    else:
        for row in (_HEADINGS, *rows, _total(units)):
            sys.stdout.write("\t".join(row) + "\n")
    if len(units) > MAX_SHOWN_UNITS:
        sys.stdout.write(f"and {len(units) - MAX_SHOWN_UNITS:,} more units: all of them hold\n")


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
    }


def _cells(unit: VerifiedUnit) -> list[str]:
    return _row(unit.unit_id, unit.devices, unit.cost_micros, unit.bound_micros)


def _total(units: list[VerifiedUnit]) -> list[str]:
    bounds = [unit.bound_micros for unit in units if unit.bound_micros is not None]
    return _row(
        "total",
        sum(unit.devices for unit in units),
        sum(unit.cost_micros for unit in units),
        sum(bounds) if len(bounds) == len(units) else None,
    )


def _row(name: str, devices: int, cost: int, bound: int | None) -> list[str]:
    from cli.optimize_view import money, printable
    from core.reports.summary import gap_percent

    gap = gap_percent(cost, bound)
    return [
        printable(name),
        f"{devices:,}",
        money(cost),
        "none" if bound is None else money(bound),
        "" if gap is None else f"{gap:.6f}",
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
