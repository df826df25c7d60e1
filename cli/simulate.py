"""``carrier-opt simulate-carrier``: a carrier's API to try things with, without a carrier."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.simulate_accounts import (
    check_begun,
    month_cycle,
    open_server,
    serve_several,
    with_credentials,
)
from cli.simulate_address import check_ready_file, listening, write_ready
from cli.simulate_checks import refuse_idle_options
from cli.simulate_thingspace import announce_thingspace, open_thingspace_server, thingspace_options
from core.errors import InputError

if TYPE_CHECKING:
    from core.domain import BillingCycle
    from core.simulator.faults import Fault
    from core.simulator.options import SimulatorOptions
    from core.simulator.server import SimulatorServer


class SimulatedIntegration(StrEnum):
    """Carrier APIs that can be simulated."""

    JASPER = "jasper"
    THINGSPACE = "thingspace"


def simulate_carrier(
    ctx: typer.Context,
    *,
    integration: Annotated[
        SimulatedIntegration,
        typer.Option(
            help="Whose API: Control Center's or ThingSpace's, which has only the options of fleet, "
            "address, rate, faults and credentials."
        ),
    ] = SimulatedIntegration.JASPER,
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
            "Default: simulator:simulated-key. ThingSpace: KEY:SECRET;ACCOUNT;USER;PASSWORD."
        ),
    ] = None,
    month: Annotated[
        str | None,
        typer.Option(help="Billing cycle as YYYY-MM. Default: the current month of --time-zone."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the base URL here once the port is open.")
    ] = None,
    past_end: Annotated[
        str, typer.Option(help="What a page past the end gets: error or empty.")
    ] = "error",
    strict_dates: Annotated[
        bool,
        typer.Option(
            "--strict-dates", help="Refuse modifiedSince over a year old or in the future."
        ),
    ] = False,
    total_count: Annotated[
        bool, typer.Option("--total-count", help="Lists of SIMs tell how many there are.")
    ] = False,
    time_zone: Annotated[
        str, typer.Option(help="IANA name of the zone at whose midnights billing cycles begin.")
    ] = "UTC",
    roll_over: Annotated[
        bool,
        typer.Option("--roll-over", help="Begin the next cycle when the current one has ended."),
    ] = False,
    usage_growth_percent: Annotated[
        int, typer.Option(min=0, help="What each call adds to every SIM's usage, in percent.")
    ] = 0,
    async_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Answer changes with 202 and let them land so much later."),
    ] = None,
    rate_limit_status: Annotated[
        int, typer.Option(help="HTTP status of error 40000029: 200, 400 or 429.")
    ] = 400,
    strict_throttle: Annotated[
        bool, typer.Option("--strict-throttle", help="Refused calls count against the limit, too.")
    ] = False,
    iccid_digits: Annotated[
        str | None,
        typer.Option(
            help="19, 20, or both: lists in one form, answers about one SIM in the other."
        ),
    ] = None,
    essential: Annotated[
        bool, typer.Option("--essential", help="An account without /usages and usageInZone.")
    ] = False,
    no_account_admin: Annotated[
        bool, typer.Option("--no-account-admin", help="An API user that may not read /rateplans.")
    ] = False,
    unknown_plan_types: Annotated[
        bool, typer.Option("--unknown-plan-types", help="List event, prepaid and fixed plans, too.")
    ] = False,
    two_versions: Annotated[
        list[str] | None,
        typer.Option(help="A plan of which two versions are in use; may be repeated."),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(
            help="JSON file: a list of objects with kind, on_call, times, matching, seconds, devices."
        ),
    ] = None,
    accounts: Annotated[
        Path | None,
        typer.Option(
            help="JSON file: several accounts in place of one, a list of objects with name, devices, "
            "seed, port, credential_ref, cycle_start_day, options."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the fleet and its plans as CSV files here, and exit."),
    ] = None,
) -> None:
    """Serve a simulated carrier account over HTTP until Ctrl-C.

    The fleet depends on nothing but its size, its seed and the month.
    """
    is_thingspace = integration is SimulatedIntegration.THINGSPACE
    refuse_idle_options(ctx, is_thingspace=is_thingspace)
    check_ready_file(ready_file)
    if export is not None:
        _export(export, devices, seed, month_cycle(month))
        return
    options = _options(
        max_page_size=max_page_size,
        requests_per_second=requests_per_second,
        single_call=single_call,
        strict_throttle=strict_throttle,
        rate_limit_status=rate_limit_status,
        past_end=past_end,
        strict_dates=strict_dates,
        has_total_count=total_count,
        time_zone=time_zone,
        rolls_over=roll_over,
        usage_growth_percent=usage_growth_percent,
        async_seconds=async_seconds,
        iccid_digits=int(iccid_digits) if iccid_digits in ("19", "20") else iccid_digits,
        is_essential=essential,
        is_account_admin=not no_account_admin,
        has_unknown_plan_types=unknown_plan_types,
        plans_with_two_versions=tuple(two_versions or ()),
    )
    script = _faults(faults, is_thingspace=is_thingspace)
    if accounts is not None:
        serve_several(accounts, options, script, host=host, month=month, ready_file=ready_file)
        return
    from core.simulator.account import simulated_account
    from core.simulator.server import utc_now

    cycle = month_cycle(month, options.time_zone)
    check_begun(cycle)
    account = simulated_account(devices, seed, cycle, now=utc_now())
    remedy = "choose another --port, or 0"
    if is_thingspace:
        thingspace = thingspace_options(credential_ref)
        with listening(host, port, remedy):
            server = open_thingspace_server(account, options, thingspace, script, host, port)
    else:
        options = with_credentials(options, credential_ref)
        with listening(host, port, remedy):
            server = open_server(account, options, script, host, port)
    signal.signal(signal.SIGTERM, lambda *_: server.interrupt())
    try:
        write_ready(ready_file, server.base_url)
        announce = announce_thingspace if is_thingspace else _announce
        announce(server, is_default_key=credential_ref is None)
        server.serve()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        server.stop()


def _options(**switches: Any) -> SimulatorOptions:
    from core.simulator.options import SimulatorOptions
    from core.simulator.tariffs import unknown_plans

    choices = {
        "past_end": ("error", "empty"),
        "rate_limit_status": (200, 400, 429),
        "iccid_digits": (None, 19, 20, "both"),
    }
    for name, allowed in choices.items():
        if switches[name] not in allowed:
            listed = ", ".join(str(value) for value in allowed if value is not None)
            msg = f"--{name.replace('_', '-')} {switches[name]} is unknown; allowed: {listed}"
            raise InputError(msg)
    for plan in unknown_plans(switches["plans_with_two_versions"]):
        msg = f"--two-versions {plan}: the account has no such plan"
        raise InputError(msg)
    try:
        return SimulatorOptions(**switches)
    except ValueError as error:
        msg = f"simulate-carrier: {error}"
        raise InputError(msg) from None


def _faults(path: Path | None, *, is_thingspace: bool) -> list[Fault]:
    if path is None:
        return []
    from core.simulator.files import load_faults

    return load_faults(path, is_thingspace=is_thingspace)


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


def _announce(server: SimulatorServer, *, is_default_key: bool) -> None:
    url = server.base_url
    key = "simulator:simulated-key" if is_default_key else "USERNAME:APIKEY"
    cycle = server.account.cycle
    typer.echo(f"Simulated Control Center with {server.account.n_devices:,} SIMs at {url}")
    typer.echo(f"Billing cycle {cycle.start_date} to {cycle.end_date}. Ctrl-C stops it. Try:")
    typer.echo(
        f"  curl -u {key} '{url}/rws/api/v1/devices?modifiedSince=2004-01-01T00:00:00Z&pageSize=5'"
    )
    typer.echo(f"  curl -u {key} '{url}/rws/api/v1/rateplans'")
