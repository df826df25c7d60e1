"""``carrier-opt plans``: a provider's rate plans and communication plans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import Database, Provider, acting_user, counts_text, open_current, utc_now
from cli.plans_fetch import fetch_command
from core.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from core.domain import CommunicationPlan
    from core.files.rate_plans import RatePlanFile

app = typer.Typer(help="Sets up rate plans and communication plans.", no_args_is_help=True)

MAX_LISTED = 20
"""Rejected rows that are told one by one."""


app.command("fetch")(fetch_command)


@app.command("import")
def import_command(
    provider: Provider,
    rate_plans: Annotated[Path, typer.Option(help="Rate plans: CSV, Parquet or xlsx.")],
    communication_plans: Annotated[
        Path | None,
        typer.Option(help="Communication plans; without it those of the provider stay."),
    ] = None,
    database: Database = None,
) -> None:
    """Replace a provider's catalogue by what the files hold.

    Plans that are in no file any more are set inactive. A row that cannot be used stops the import:
    a catalogue with gaps would give wrong recommendations.
    """
    from core.storage.catalogue import find_provider
    from core.storage.plan_import import replace_catalogue, replace_rate_plans

    with open_current(database) as engine:
        found = find_provider(engine, provider)
        plan_file = _read_rate_plans(rate_plans, found.mb_bytes)
        now, author = utc_now(), acting_user()
        if communication_plans is None:
            counts = replace_rate_plans(engine, found.id, plan_file.plans, now=now, author=author)
            typer.echo(f"rate plans of {found.name}: {counts_text(counts)}")
            return
        lists = _read_communication_plans(communication_plans, plan_file)
        counts, list_counts = replace_catalogue(
            engine, found.id, plan_file.plans, lists, now=now, author=author
        )
    typer.echo(f"rate plans of {found.name}: {counts_text(counts)}")
    typer.echo(f"communication plans of {found.name}: {counts_text(list_counts)}")


def _read_rate_plans(path: Path, mb_bytes: int) -> RatePlanFile:
    from core.files.rate_plans import read_rate_plans

    found = read_rate_plans(path, mb_bytes=mb_bytes)
    _refuse_rejects(path, found.rejects)
    _note(found.notes)
    return found


def _read_communication_plans(
    path: Path, rate_plans: RatePlanFile
) -> tuple[CommunicationPlan, ...]:
    from core.files.communication_plans import read_communication_plans

    codes = {plan.code for plan in rate_plans.plans}
    found = read_communication_plans(
        path, rate_plan_codes=codes, refused_codes=rate_plans.refused_codes
    )
    _refuse_rejects(path, found.rejects)
    _note((*found.notes, *found.warnings.listed))
    if found.warnings.count > len(found.warnings.listed):
        _note([f"{found.warnings.count} warnings in all"])
    return found.plans


def _refuse_rejects(path: Path, rejects: pl.DataFrame) -> None:
    if rejects.is_empty():
        return
    from core.files.rejects import REASON_SENTENCES

    lines = [
        f"  row {row}, column {column or '-'}: {value!r}: {reason}: {REASON_SENTENCES[reason]}"
        for row, column, value, reason in rejects.sort("row")
        .select("row", "column", "value", "reason")
        .head(MAX_LISTED)
        .iter_rows()
    ]
    more = [f"  and {rejects.height - MAX_LISTED} more"] if rejects.height > MAX_LISTED else []
    head = f"{path}: nothing was imported, {rejects.height} rows cannot be used:"
    raise InputError("\n".join([head, *lines, *more]))


def _note(texts: Iterable[str]) -> None:
    for text in texts:
        typer.echo(f"note: {text}", err=True)
