"""``carrier-opt providers``: carrier accounts of tenants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import (
    AsJson,
    Database,
    acting_user,
    counts_text,
    open_current,
    table_text,
    utc_now,
)
from core.domain import PoolScope, ProrationBasis

if TYPE_CHECKING:
    from core.storage.records import ProviderRecord

app = typer.Typer(help="Sets up service providers.", no_args_is_help=True)


@app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the service provider.")],
    *,
    tenant: Annotated[str, typer.Option(help="Tenant it belongs to; made if it is new.")],
    integration: Annotated[
        str, typer.Option(help="jasper, pod19, tmobile_jasper, rogers or thingspace.")
    ],
    base_url: Annotated[str, typer.Option(help="Address of the carrier's API.")],
    credential_ref: Annotated[
        str,
        typer.Option(
            help="Where the credentials are: env:NAME, file:/path or store. No secret here."
        ),
    ],
    time_zone: Annotated[str, typer.Option(help="IANA name, such as America/New_York.")],
    start_hour: Annotated[int, typer.Option(help="Hour from which scheduled runs start.")] = 2,
    billable_statuses: Annotated[
        str, typer.Option(help="SIM statuses that are billed, ';' between.")
    ] = "ACTIVATED",
    proration: Annotated[bool, typer.Option(help="The carrier prorates plans that say so.")] = True,
    proration_basis: Annotated[
        ProrationBasis, typer.Option(help="How prorated plans shrink.")
    ] = ProrationBasis.CYCLE,
    pool_scope: Annotated[
        PoolScope, typer.Option(help="Which SIMs on pooled plans share their allowance.")
    ] = PoolScope.PLAN,
    pooling: Annotated[bool, typer.Option(help="Pooled plans share their allowance.")] = True,
    mb_bytes: Annotated[int, typer.Option(help="Bytes of one MB: 1048576 or 1000000.")] = 1048576,
    currency: Annotated[str, typer.Option(help="Currency of the account.")] = "USD",
    page_size: Annotated[
        int | None,
        typer.Option(
            help="Rows per page of the carrier's lists; else what it sends at most, 50 or 2000."
        ),
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(help="Calls that the carrier grants the account; else 1.")
    ] = None,
    unthrottled: Annotated[
        bool, typer.Option("--unthrottled", help="No limit of calls; only for simulators.")
    ] = False,
    database: Database = None,
) -> None:
    """Add a service provider."""
    from core.errors import InputError
    from core.storage.catalogue_changes import add_provider
    from core.storage.provider_file import split_statuses
    from core.storage.records import POLITE_REQUESTS_PER_SECOND, ProviderSettings, largest_page

    if unthrottled and requests_per_second is not None:
        raise InputError("give --unthrottled or --requests-per-second, not both")
    rate = POLITE_REQUESTS_PER_SECOND if requests_per_second is None else requests_per_second
    settings = ProviderSettings(
        name=name,
        tenant=tenant,
        integration=integration,
        base_url=base_url,
        credential_ref=credential_ref,
        time_zone=time_zone,
        start_hour=start_hour,
        billable_statuses=split_statuses(billable_statuses),
        uses_proration=proration,
        proration_basis=proration_basis,
        pool_scope=pool_scope,
        pooling_enabled=pooling,
        mb_bytes=mb_bytes,
        currency=currency,
        page_size=largest_page(integration) if page_size is None else page_size,
        requests_per_second=None if unthrottled else rate,
    )
    with open_current(database) as engine:
        provider = add_provider(engine, settings, now=utc_now(), author=acting_user())
    typer.echo(f"provider {provider.id}: {provider.name} of tenant {provider.tenant}")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, Parquet or xlsx.")],
    database: Database = None,
) -> None:
    """Add the service providers of a file, and change those that differ, all or none.

    Columns are named as the options of `providers add`, with underscores: name, tenant,
    integration, base_url, credential_ref, time_zone, and the optional ones.
    """
    from core.storage.catalogue_changes import import_providers
    from core.storage.provider_file import read_providers

    with open_current(database) as engine:
        settings, notes = read_providers(file)
        for text in notes:
            typer.echo(f"note: {text}", err=True)
        counts = import_providers(engine, settings, now=utc_now(), author=acting_user())
    typer.echo(f"providers: {counts_text(counts)}")


@app.command("list")
def list_command(database: Database = None, as_json: AsJson = False) -> None:
    """List service providers."""
    from core.storage.catalogue import list_providers

    with open_current(database) as engine:
        found = list_providers(engine)
    if as_json:
        typer.echo(json.dumps([_shown(provider) for provider in found], indent=2))
    elif found:
        header = ("ID", "NAME", "TENANT", "INTEGRATION", "TIME ZONE", "HOUR", "ADDRESS")
        rows = [
            (p.id, p.name, p.tenant, p.integration, p.time_zone, p.start_hour, p.base_url)
            for p in found
        ]
        typer.echo(table_text([header, *rows]))
    else:
        typer.echo("no service providers; add one with `carrier-opt providers add`")


def _shown(provider: ProviderRecord) -> dict[str, Any]:
    """Everything about a provider; the credential reference is a name, not a secret."""
    from dataclasses import asdict

    return {"id": provider.id, **asdict(provider)}
