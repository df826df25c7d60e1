"""Opening the ThingSpace account of ``simulate-carrier``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.simulator.account import SimulatedAccount
    from core.simulator.faults import Fault
    from core.simulator.options import SimulatorOptions
    from core.simulator.server import SimulatorServer
    from core.simulator.thingspace_api import ThingSpaceOptions


def open_thingspace_server(
    account: SimulatedAccount,
    options: SimulatorOptions,
    thingspace: ThingSpaceOptions,
    script: Sequence[Fault],
    host: str,
    port: int,
) -> SimulatorServer:
    """Open the port of one account; nothing is answered yet."""
    from core.simulator.thingspace_server import ThingSpaceServer

    return ThingSpaceServer(
        account, options, thingspace=thingspace, host=host, port=port, faults=script
    )


def announce_thingspace(server: SimulatorServer, *, is_default_key: bool) -> None:
    """Tell the address, and how to try it."""
    from core.simulator.thingspace_api import TOKEN_PATH, ThingSpaceOptions

    made_up = ThingSpaceOptions()
    key = f"{made_up.client_key}:{made_up.client_secret}" if is_default_key else "KEY:SECRET"
    cycle = server.account.cycle
    typer.echo(f"Simulated ThingSpace with {server.account.n_devices:,} SIMs at {server.base_url}")
    typer.echo(f"Billing cycle {cycle.start_date} to {cycle.end_date}. Ctrl-C stops it. Try:")
    typer.echo(f"  curl -u {key} -d grant_type=client_credentials {server.base_url}{TOKEN_PATH}")
    if is_default_key:
        rest = f"{made_up.account_name};{made_up.username};{made_up.password}"
        typer.echo(f"A provider's credential reference leads to: {key};{rest}")


def thingspace_options(credential_ref: str | None) -> ThingSpaceOptions:
    """Return the options with the credentials behind a reference, if there is one."""
    from core.simulator.thingspace_api import ThingSpaceOptions

    if credential_ref is None:
        return ThingSpaceOptions()
    from core.carriers.credentials import resolve_credentials
    from core.carriers.thingspace_auth import thingspace_login

    login = thingspace_login(resolve_credentials(credential_ref))
    return ThingSpaceOptions(
        client_key=login.client_key.get_secret_value(),
        client_secret=login.client_secret.get_secret_value(),
        account_name=login.account,
        username=login.user.get_secret_value(),
        password=login.password.get_secret_value(),
    )
