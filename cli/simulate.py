"""``carrier-opt simulate-carrier``: a Control Center to try things with, without a carrier."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import InputError

if TYPE_CHECKING:
    from core.domain import BillingCycle
    from core.simulator.options import SimulatorOptions
    from core.simulator.server import SimulatorServer


def simulate_carrier(
    *,
    devices: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="SIMs in the simulated fleet.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same fleet.")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8900,
    max_page_size: Annotated[
        int, typer.Option(min=1, max=10_000, help="Largest page; the real API has 50.")
    ] = 50,
    requests_per_second: Annotated[
        float | None,
        typer.Option(help="Calls a second that the account may make; real accounts: 1 to 5."),
    ] = None,
    single_call: Annotated[
        bool, typer.Option("--single-call", help="Refuse a call while another one is served.")
    ] = False,
    credential_ref: Annotated[
        str | None,
        typer.Option(
            help="Where the accepted username:apiKey stands: env:NAME or file:/absolute/path. "
            "Default: simulator:simulated-key."
        ),
    ] = None,
    month: Annotated[
        str | None, typer.Option(help="Billing cycle as YYYY-MM. Default: the current month, UTC.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the base URL here once the port is open.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the fleet and its plans as CSV files here, and exit."),
    ] = None,
) -> None:
    """Serve a simulated carrier account over HTTP until Ctrl-C.

    The fleet depends on nothing but its size, its seed and the month.
    """
    cycle = _cycle(month)
    if export is not None:
        _export(export, devices, seed, cycle)
        return
    from core.simulator.account import simulated_account
    from core.simulator.server import SimulatorServer, utc_now

    options = _options(max_page_size, requests_per_second, credential_ref, single_call=single_call)
    if utc_now().date() < cycle.start_date:
        msg = f"--month {cycle.start_date:%Y-%m} has not begun: usage exists for the present and the past"
        raise InputError(msg)
    account = simulated_account(devices, seed, cycle, now=utc_now())
    try:
        server = SimulatorServer(account, options, host=host, port=port)
    except OSError as error:
        msg = f"cannot listen on {host}:{port} ({error.strerror}): choose another --port, or 0"
        raise InputError(msg) from None
    _announce(server, ready_file, is_default_key=credential_ref is None)
    signal.signal(signal.SIGTERM, lambda *_: server.interrupt())
    try:
        server.serve()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        server.stop()


def _cycle(month: str | None) -> BillingCycle:
    from core.simulator.fleet import current_cycle

    if month is None:
        return current_cycle(datetime.now(tz=UTC).date())
    try:
        return current_cycle(date.fromisoformat(f"{month}-01"))
    except ValueError:
        msg = f"--month {month!r} is not a month: write YYYY-MM, such as 2026-10"
        raise InputError(msg) from None


def _options(
    max_page_size: int,
    requests_per_second: float | None,
    credential_ref: str | None,
    *,
    single_call: bool,
) -> SimulatorOptions:
    from core.simulator.options import SimulatorOptions

    try:
        options = SimulatorOptions(
            max_page_size=max_page_size,
            requests_per_second=requests_per_second,
            single_call=single_call,
        )
    except ValueError as error:
        msg = f"simulate-carrier: {error}"
        raise InputError(msg) from None
    if credential_ref is None:
        return options
    from core.carriers.credentials import resolve_credentials

    credentials = resolve_credentials(credential_ref)
    return replace(
        options,
        username=credentials.username.get_secret_value(),
        api_key=credentials.api_key.get_secret_value(),
    )


def _export(folder: Path, devices: int, seed: int, cycle: BillingCycle) -> None:
    from core.simulator.export import export_account
    from core.simulator.fleet import make_fleet
    from core.simulator.tariffs import simulated_communication_plans, simulated_rate_plans

    fleet = make_fleet(devices, seed, cycle)
    try:
        paths = export_account(
            folder, fleet, simulated_rate_plans(), simulated_communication_plans()
        )
    except OSError as error:
        msg = f"--export {folder}: cannot be written ({error.strerror})"
        raise InputError(msg) from None
    for path in paths:
        typer.echo(path)


def _announce(server: SimulatorServer, ready_file: Path | None, *, is_default_key: bool) -> None:
    url = server.base_url
    key = "simulator:simulated-key" if is_default_key else "USERNAME:APIKEY"
    cycle = server.account.cycle
    typer.echo(f"Simulated Control Center with {server.account.n_devices:,} SIMs at {url}")
    typer.echo(f"Billing cycle {cycle.start_date} to {cycle.end_date}. Ctrl-C stops it. Try:")
    typer.echo(
        f"  curl -u {key} '{url}/rws/api/v1/devices?modifiedSince=2004-01-01T00:00:00Z&pageSize=5'"
    )
    typer.echo(f"  curl -u {key} '{url}/rws/api/v1/rateplans'")
    if ready_file is not None:
        unready = ready_file.with_name(f"{ready_file.name}.part")
        unready.write_text(url, encoding="utf-8")
        unready.replace(ready_file)
