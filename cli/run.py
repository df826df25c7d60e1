"""``carrier-opt run``: one optimisation of a provider, on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cli.database import Database
from cli.paths import path_option
from core.domain import ChargeType


def run(
    provider: Annotated[str, typer.Argument(help="Service provider: name or id.")],
    period: Annotated[
        int | None, typer.Option(help="Id of the billing period; else the one that holds today.")
    ] = None,
    charge_type: Annotated[
        ChargeType, typer.Option(help="Charges to minimise.")
    ] = ChargeType.RATE_AND_OVERAGE,
    has_synced: Annotated[
        bool, typer.Option("--has-synced", help="Use the devices of the last synchronisation.")
    ] = False,
    skip_lower_cost_check: Annotated[
        bool, typer.Option(help="Accept the best changed assignment even if it saves nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Mark everything DRY RUN.")] = False,
    out: Annotated[
        Path | None, path_option("Folder for reports; else CARRIER_OPT_OUTPUT_DIR.")
    ] = None,
    database: Database = None,
) -> None:
    """Fetch a provider's SIMs, find the cheapest plans and report; a Prefect server is started for it.

    The server of PREFECT_API_URL is used instead, if that is set. Reports go to a folder per
    session.
    """
    from cli.database import open_current
    from cli.embedded import embedded_prefect, export_environment, free_home
    from cli.flow_run import STATE, log_to, read_summary, run_flow
    from cli.run_view import narrate, show_summary
    from core.settings import load_settings
    from core.storage.catalogue import find_provider

    settings = load_settings()
    folder = out or settings.output_dir
    with ExitStack() as stack:
        engine = stack.enter_context(open_current(database))
        provider_id = find_provider(engine, provider).id
        export_environment(
            {
                "CARRIER_OPT_DATABASE_URL": database or settings.database_url,
                "CARRIER_OPT_OUTPUT_DIR": str(folder.resolve()),
            }
        )
        home = stack.enter_context(free_home(folder / STATE))
        log_to(folder / STATE / "run.log")
        wait_for_prefect = stack.enter_context(embedded_prefect(home))
        with narrate(engine, provider_id):
            wait_for_prefect()
            result = run_flow(
                engine,
                service_provider_id=provider_id,
                billing_period_id=period,
                charge_type=charge_type,
                has_synced=has_synced,
                skip_lower_cost_check=skip_lower_cost_check,
                dry_run=dry_run,
            )
    reports = Path(result["report_dir"])
    show_summary(read_summary(reports), result, reports)
