"""``carrier-opt periods``: billing periods of service providers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from cli.database import AsJson, Database, Provider, acting_user, open_current, table_text, utc_now
from cli.notices import notices

app = typer.Typer(help="Sets up billing periods.", no_args_is_help=True)


@app.command("add")
def add_command(
    provider: Provider,
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, local to the provider.")
    ],
    end: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day; it belongs to the period.")
    ],
    database: Database = None,
) -> None:
    """Add a billing period; one with the same dates stays as it is."""
    from core.storage.catalogue import find_provider
    from core.storage.catalogue_changes import add_period

    with open_current(database) as engine:
        found = find_provider(engine, provider)
        period = add_period(
            engine, found.id, start.date(), end.date(), now=utc_now(), author=acting_user()
        )
    days = period.cycle.days
    typer.echo(
        f"billing period {period.id} of provider {found.name}: {period.start_date} to "
        f"{period.end_date} ({days} days)"
    )


@app.command("change")
def change_command(
    period: Annotated[
        int, typer.Argument(metavar="PERIOD_ID", help="Billing period, by its number.")
    ],
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, local to the provider.")
    ],
    end: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day; it belongs to the period.")
    ],
    database: Database = None,
) -> None:
    """Correct the dates of a billing period that no session has used yet.

    With another first day it becomes a new period, whose usage the next synchronisation reads.
    """
    from core.storage.catalogue_changes import change_period

    with open_current(database) as engine:
        changed = change_period(
            engine, period, start.date(), end.date(), now=utc_now(), author=acting_user()
        )
    typer.echo(
        f"billing period {changed.id}: {changed.start_date} to {changed.end_date} "
        f"({changed.cycle.days} days)"
    )


@app.command("fetch")
def fetch_command(
    provider: Provider,
    iccid: Annotated[
        str | None, typer.Option(help="SIM whose usage is asked for; else one of the last sync.")
    ] = None,
    database: Database = None,
) -> None:
    """Add the billing period that the carrier is in now, as it reports it itself."""
    from core import bootstrap
    from core.errors import InputError
    from core.settings import load_settings
    from core.storage.catalogue import find_provider
    from core.storage.catalogue_changes import add_period
    from core.storage.devices import any_iccid
    from core.sync.cycle_check import local_cycle, offset_text

    with open_current(database) as engine:
        found = find_provider(engine, provider)
        sim = iccid or any_iccid(engine, found.id)
        if sim is None:
            msg = f"no SIM of provider {found.name} is known: give one with --iccid"
            raise InputError(msg)
        client = bootstrap.carrier_client(found, load_settings(), engine)
        try:
            with notices():
                told = client.billing_cycle(sim)
        finally:
            client.close()
        if told is None:
            msg = (
                f"the carrier does not tell the billing cycle of SIM {sim}: it may not know the SIM, "
                "or the account may not ask, as those of the smallest level and of ThingSpace; else "
                "add the period with `carrier-opt periods add`"
            )
            raise InputError(msg)
        cycle = local_cycle(told, found.time_zone)
        if cycle is None:
            msg = (
                f"the carrier's billing cycle begins {told.start:%Y-%m-%d %H:%M} UTC, which is no "
                f"midnight in {found.time_zone}: the account's zone may be {offset_text(told)}; "
                "correct its time_zone in a file for `carrier-opt providers import`"
            )
            raise InputError(msg)
        period = add_period(
            engine, found.id, cycle.start_date, cycle.end_date, now=utc_now(), author=acting_user()
        )
    typer.echo(
        f"billing period {period.id} of provider {found.name}: {period.start_date} to "
        f"{period.end_date} ({cycle.days} days)"
    )


@app.command("list")
def list_command(
    provider: Annotated[
        str | None, typer.Option("--provider", help="Only this service provider: name or id.")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List billing periods, oldest first."""
    from core.storage.catalogue import find_provider, list_periods, list_providers

    with open_current(database) as engine:
        chosen = list_providers(engine) if provider is None else [find_provider(engine, provider)]
        rows = [
            {
                "id": period.id,
                "provider_id": found.id,
                "provider": found.name,
                "start": period.start_date.isoformat(),
                "end": period.end_date.isoformat(),
            }
            for found in chosen
            for period in list_periods(engine, found.id)
        ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        header = [name.upper().replace("_", " ") for name in rows[0]]
        typer.echo(table_text([header, *(list(row.values()) for row in rows)]))
    else:
        typer.echo("no billing periods; add one with `carrier-opt periods add`")
