"""Opening the accounts of ``simulate-carrier``: one, or several side by side from a file."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer

from cli.simulate_address import listening, write_ready
from core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.domain import BillingCycle
    from core.simulator.account import SimulatedAccount
    from core.simulator.faults import Fault
    from core.simulator.files import SimulatedPod
    from core.simulator.options import SimulatorOptions
    from core.simulator.server import SimulatorServer

_WAIT_SECONDS = 0.5
"""Ctrl-C ends no wait without an end: Polars, once imported, lets system calls begin anew."""


def serve_several(
    path: Path,
    common: SimulatorOptions,
    script: Sequence[Fault],
    *,
    host: str,
    month: str | None,
    ready_file: Path | None,
) -> None:
    """Serve the accounts of a file side by side until Ctrl-C or SIGTERM."""
    from core.simulator.files import load_pods

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    pods = load_pods(path, common)
    servers: list[SimulatorServer] = []
    try:
        for number, (pod, options) in enumerate(pods):
            remedy = f'give the account {pod.name} another "port" in {path}, or 0'
            account = _account_of(number, pod, options, month)
            options = with_credentials(options, pod.credential_ref)
            with listening(host, pod.port, remedy):
                server = open_server(account, options, script, host, pod.port)
            servers.append(server.start())
        urls = [
            f"{pod.name} {server.base_url}" for (pod, _), server in zip(pods, servers, strict=True)
        ]
        write_ready(ready_file, "\n".join(urls))
        for (pod, _), server in zip(pods, servers, strict=True):
            _announce_pod(pod, server)
        while not stopping.wait(_WAIT_SECONDS):
            pass
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        for server in servers:
            server.stop()


def _announce_pod(pod: SimulatedPod, server: SimulatorServer) -> None:
    """Tell address, credentials and cycle; a key that somebody chose is not shown."""
    options, cycle = server.options, server.account.cycle
    key = f"user {options.username}, key {options.api_key}"
    if pod.credential_ref is not None:
        key = f"user and key from {pod.credential_ref}"
    typer.echo(
        f"{pod.name}: {server.account.n_devices:,} SIMs at {server.base_url}, {key}, "
        f"billing cycle {cycle.start_date} to {cycle.end_date} ({options.time_zone})"
    )


def _account_of(
    number: int, pod: SimulatedPod, options: SimulatorOptions, month: str | None
) -> SimulatedAccount:
    from core.simulator.account import simulated_account
    from core.simulator.cycles import cycle_on
    from core.simulator.server import utc_now

    today = begun_day(utc_now(), options.time_zone)
    if month is not None:
        today = month_cycle(month).start_date.replace(day=pod.cycle_start_day)
    cycle = cycle_on(today, pod.cycle_start_day)
    check_begun(cycle)
    return simulated_account(
        pod.devices, pod.seed, cycle, now=utc_now(), account_id=str(100_020_620 + number)
    )


def open_server(
    account: SimulatedAccount,
    options: SimulatorOptions,
    script: Sequence[Fault],
    host: str,
    port: int,
) -> SimulatorServer:
    """Open the port of one account; nothing is answered yet."""
    from core.simulator.server import SimulatorServer

    return SimulatorServer(account, options, host=host, port=port, faults=script)


def check_begun(cycle: BillingCycle) -> None:
    """Refuse a cycle of the future."""
    from core.simulator.server import utc_now

    if utc_now().date() < cycle.start_date:
        msg = f"--month {cycle.start_date:%Y-%m} has not begun: usage exists for the present and the past"
        raise InputError(msg)


def begun_day(now: datetime, time_zone: str) -> date:
    """Return today's date in a zone, or UTC's where that is the earlier one.

    A fleet's past ends now, so that its cycle must have begun in both.
    """
    return min(now.astimezone(ZoneInfo(time_zone)).date(), now.date())


def month_cycle(month: str | None, time_zone: str = "UTC") -> BillingCycle:
    """Return the calendar month that an option names; None: the current one of the zone."""
    from core.simulator.fleet import current_cycle
    from core.simulator.server import utc_now

    if month is None:
        return current_cycle(begun_day(utc_now(), time_zone))
    try:
        return current_cycle(date.fromisoformat(f"{month}-01"))
    except ValueError:
        msg = f"--month {month!r} is not a month: write YYYY-MM, such as 2026-10"
        raise InputError(msg) from None


def with_credentials(options: SimulatorOptions, credential_ref: str | None) -> SimulatorOptions:
    """Return the options with the user name and key behind a reference, if there is one."""
    if credential_ref is None:
        return options
    from core.carriers.credentials import resolve_credentials

    credentials = resolve_credentials(credential_ref)
    return replace(
        options,
        username=credentials.username.get_secret_value(),
        api_key=credentials.api_key.get_secret_value(),
    )
