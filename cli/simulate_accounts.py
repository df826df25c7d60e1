"""Opening the accounts of ``simulate-carrier``: one, or several side by side from a file."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import typer

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
    servers: list[SimulatorServer] = []
    lines = []
    try:
        for number, (pod, options) in enumerate(load_pods(path, common)):
            server = _open_pod(number, pod, options, script, host=host, month=month)
            servers.append(server.start())
            lines.append(f"{pod.name} {server.base_url}")
            cycle = server.account.cycle
            typer.echo(
                f"{pod.name}: {server.account.n_devices:,} SIMs at {server.base_url}, billing cycle "
                f"{cycle.start_date} to {cycle.end_date} ({options.time_zone})"
            )
        if ready_file is not None:
            write_ready(ready_file, "\n".join(lines))
        while not stopping.wait(_WAIT_SECONDS):
            pass
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        for server in servers:
            server.stop()


def _open_pod(
    number: int,
    pod: SimulatedPod,
    options: SimulatorOptions,
    script: Sequence[Fault],
    *,
    host: str,
    month: str | None,
) -> SimulatorServer:
    from zoneinfo import ZoneInfo

    from core.simulator.account import simulated_account
    from core.simulator.cycles import cycle_on
    from core.simulator.server import utc_now

    today = utc_now().astimezone(ZoneInfo(options.time_zone)).date()
    if month is not None:
        today = month_cycle(month).start_date.replace(day=pod.cycle_start_day)
    cycle = cycle_on(today, pod.cycle_start_day)
    check_begun(cycle)
    account = simulated_account(
        pod.devices, pod.seed, cycle, now=utc_now(), account_id=str(100_020_620 + number)
    )
    return open_server(
        account, with_credentials(options, pod.credential_ref), script, host, pod.port
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

    try:
        return SimulatorServer(account, options, host=host, port=port, faults=script)
    except OSError as error:
        msg = f"cannot listen on {host}:{port} ({error.strerror}): choose another --port, or 0"
        raise InputError(msg) from None


def check_begun(cycle: BillingCycle) -> None:
    """Refuse a cycle of the future."""
    from core.simulator.server import utc_now

    if utc_now().date() < cycle.start_date:
        msg = f"--month {cycle.start_date:%Y-%m} has not begun: usage exists for the present and the past"
        raise InputError(msg)


def month_cycle(month: str | None) -> BillingCycle:
    """Return the calendar month that an option names; None: the current one, UTC."""
    from core.simulator.fleet import current_cycle

    if month is None:
        return current_cycle(datetime.now(tz=UTC).date())
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


def write_ready(ready_file: Path, text: str) -> None:
    """Write the ready file so that it appears with all of its content."""
    unready = ready_file.with_name(f"{ready_file.name}.part")
    unready.write_text(text, encoding="utf-8")
    unready.replace(ready_file)
