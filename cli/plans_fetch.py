"""``carrier-opt plans fetch``: the carrier's own price list, beside the stored one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import Database, open_current, table_text
from cli.notices import notices
from core.errors import InputError

if TYPE_CHECKING:
    from core.carriers.offered_catalogue import OfferedCatalogue, OfferedPlan
    from core.carriers.plan_offers import PlanOffers
    from core.storage.records import ProviderRecord


def fetch_command(
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER_ID", help="Service provider: id or name.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Rate plans file to write, such as rate_plans.csv.")
    ] = None,
    database: Database = None,
) -> None:
    """Fetch the carrier's rate plans, show them beside the stored ones, write them as a file.

    Nothing is imported: look at the prices first, then give the file to `plans import`. Of a plan
    that is stored, the file keeps what the carrier's list does not tell.
    """
    from core.bootstrap import control_center
    from core.carriers.offered_catalogue import compare_offers
    from core.carriers.plan_offers import read_plan_offers
    from core.files.rate_plan_table import write_rate_plans
    from core.settings import load_settings
    from core.storage.catalogue import find_provider, load_rate_plans

    _check_out(out)
    with open_current(database) as engine:
        found = find_provider(engine, provider)
        stored = load_rate_plans(engine, found.id)
    with control_center(found, load_settings()) as client, notices():
        offers = read_plan_offers(
            client.plan_offers(), mb_bytes=found.mb_bytes, currency=found.currency
        )
    catalogue = compare_offers(offers, stored)
    _show(found, offers, catalogue)
    if out is None:
        typer.echo("nothing was written; --out FILE.csv writes a rate plans file")
    elif not catalogue.plans:
        raise InputError(f"{out} was not written: no plan of {found.name} can be used")
    else:
        write_rate_plans(out, catalogue.plans, found.mb_bytes)
        typer.echo(
            f"{out}: {len(catalogue.plans)} plans; check the prices, then `carrier-opt plans import "
            f"--provider {found.id} --rate-plans {out}`"
        )


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    from core.files.names import check_name

    check_name(out)
    if out.suffix.lower() != ".csv":
        raise InputError(f"--out: {out} does not end in .csv")
    if not out.parent.is_dir():
        raise InputError(f"--out: the folder {out.parent} does not exist")
    if out.is_dir():
        raise InputError(f"--out: {out} is a folder: name a file in it")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"--out: nothing can be written in the folder {out.parent}")


def _show(provider: ProviderRecord, offers: PlanOffers, catalogue: OfferedCatalogue) -> None:
    if catalogue.offered:
        header = ("PLAN", "FEE", "INCLUDED MB", "OVERAGE", "BLOCK MB", "POOLED", "STORED PLAN")
        rows = [_row(offer, provider.mb_bytes) for offer in catalogue.offered]
        typer.echo(table_text([header, *rows]))
        typer.echo(
            "SMS, voice, proration and fees are not read; the file has those that are stored."
        )
    if offers.refused:
        typer.echo(f"\nplans that cannot be used: {len(offers.refused)}")
        kept = {plan.code for plan in catalogue.kept}
        lines = [
            (f"  {refused.name}", refused.reason + (" (kept as stored)" * (refused.name in kept)))
            for refused in offers.refused
        ]
        typer.echo(table_text(lines))
    if catalogue.gone:
        typer.echo(f"\nnot offered any more, and not in the file: {', '.join(catalogue.gone)}")


def _row(offer: OfferedPlan, mb_bytes: int) -> tuple[str, ...]:
    import polars as pl

    from core.units import exact_money_text, volume_texts

    plan = offer.plan
    volumes = pl.Series([plan.included_bytes, plan.overage_block_bytes], dtype=pl.Int64)
    included, block = volume_texts(volumes, mb_bytes)
    state = f"{offer.state}{': ' + ', '.join(offer.changed) if offer.changed else ''}"
    return (
        plan.code,
        exact_money_text(plan.monthly_rate_micros),
        included,
        exact_money_text(plan.overage_rate_micros),
        block,
        "yes" if plan.is_pooled else "no",
        state,
    )
