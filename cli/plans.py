"""``carrier-opt plans``: a provider's rate plans and communication plans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import Database, Provider, acting_user, counts_text, open_current, utc_now
from core.errors import InputError

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(help="Sets up rate plans and communication plans.", no_args_is_help=True)

MAX_LISTED = 20
"""Rejected rows that are told one by one."""


@app.callback()
def plans() -> None:
    """Keep ``import`` a command of its own, though it is the only one."""


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
    from core.files.communication_plans import read_communication_plans
    from core.files.rate_plans import read_rate_plans
    from core.storage.catalogue import find_provider
    from core.storage.plan_import import replace_catalogue, replace_rate_plans

    engine = open_current(database)
    found = find_provider(engine, provider)
    plan_file = read_rate_plans(rate_plans, mb_bytes=found.mb_bytes)
    _refuse_rejects(rate_plans, plan_file.rejects)
    _note(plan_file.notes)
    now, author = utc_now(), acting_user()
    if communication_plans is None:
        counts = replace_rate_plans(engine, found.id, plan_file.plans, now=now, author=author)
        typer.echo(f"rate plans of {found.name}: {counts_text(counts)}")
        return
    codes = {plan.code for plan in plan_file.plans}
    list_file = read_communication_plans(
        communication_plans, rate_plan_codes=codes, refused_codes=plan_file.refused_codes
    )
    _refuse_rejects(communication_plans, list_file.rejects)
    _note((*list_file.notes, *list_file.warnings.listed))
    if list_file.warnings.count > len(list_file.warnings.listed):
        _note([f"{list_file.warnings.count} warnings in all"])
    counts, list_counts = replace_catalogue(
        engine, found.id, plan_file.plans, list_file.plans, now=now, author=author
    )
    typer.echo(f"rate plans of {found.name}: {counts_text(counts)}")
    typer.echo(f"communication plans of {found.name}: {counts_text(list_counts)}")


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
