"""``carrier-opt sync``: a provider's SIMs and usage into the database, and what follows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import AsJson, Database, acting_user, open_current, utc_now
from cli.notices import notices
from core.domain import NextStep

if TYPE_CHECKING:
    from core.sync.run import SyncResult
    from core.sync.store import OnProgress


def sync(
    provider: Annotated[str, typer.Argument(help="Service provider: name or id.")],
    period: Annotated[
        int | None, typer.Option(help="Id of the billing period; else the one that holds today.")
    ] = None,
    full: Annotated[
        bool | None,
        typer.Option(
            "--full/--incremental",
            help="Read the whole account again, or only what was modified; else as needed.",
        ),
    ] = None,
    accept_lower_usage: Annotated[
        bool,
        typer.Option(
            "--accept-lower-usage",
            help="Take the carrier's figures also where they are below what was known of the period.",
        ),
    ] = False,
    next_step: Annotated[
        NextStep, typer.Option(help="What follows the synchronisation.")
    ] = NextStep.DEVICE_USAGE_BY_RATE_PLAN,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a provider's SIMs and usage; the device tables change as a whole or not at all.

    After a crash the next call goes on where the last one was. The step device_usage_export writes
    files to CARRIER_OPT_EXPORT_URL; update_device_rate_plan turns the plan changes of the last session
    into proposals and changes nothing at the carrier.
    """
    from datetime import timedelta

    from core import bootstrap
    from core.settings import load_settings
    from core.stages.follow_up import follow_up, require_follow_up
    from core.stages.schedule import find_period
    from core.stages.syncing import SyncOptions, sync_provider
    from core.storage.catalogue import find_provider
    from tasks.interrupt import insistent_interrupts

    settings = load_settings()
    with open_current(database) as engine:
        found, billing_period = find_period(engine, find_provider(engine, provider).id, period)
        require_follow_up(engine, found, billing_period, next_step, export_url=settings.export_url)
        client = bootstrap.carrier_client(found, settings, engine)
        try:
            with insistent_interrupts(), notices(), _progress() as on_progress:
                result = sync_provider(
                    engine,
                    found,
                    billing_period,
                    client,
                    options=SyncOptions(
                        full_sync=full,
                        full_sync_max_age=timedelta(days=settings.full_sync_max_age_days),
                        accept_lower_usage=accept_lower_usage,
                        next_step=next_step,
                    ),
                    now=utc_now,
                    on_progress=on_progress,
                )
        finally:
            client.close()
        if not as_json:
            _say(result)
        left = follow_up(
            engine,
            found,
            billing_period,
            next_step,
            export_url=settings.export_url,
            author=acting_user(),
            now=utc_now(),
        )
    if as_json:
        typer.echo(json.dumps(_shown(result) | left, indent=2))
        return
    for name, value in left.items():
        values = value if isinstance(value, list) else [value]
        typer.echo(f"{name.replace('_', ' ')}: {', '.join(str(v) for v in values)}")


def _say(result: SyncResult) -> None:
    typer.echo(
        f"run {result.run_id} ({result.kind}{', continued' if result.attempt > 1 else ''}): "
        f"{result.devices:,} SIMs, usage of {result.usage_rows:,}, {result.removed:,} gone, "
        f"{result.calls:,} calls"
    )
    for name, counts in (("rejected", result.rejects), ("flagged", result.flags)):
        for reason, number in counts.items():
            typer.echo(f"{name}: {number:,} rows, {reason}", err=True)


def _shown(result: SyncResult) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(result) | {
        "started_at": result.started_at.isoformat(),
        "finished_at": result.finished_at.isoformat(),
    }


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """Count what is read: on a terminal all the time, elsewhere with a line a minute."""
    from core.sync.telling import each_minute

    if not sys.stderr.isatty():
        yield each_minute(lambda line: typer.echo(line, err=True))
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("asking the carrier")
        yield lambda what, n: progress.update(bar, description=f"{n:,} {what}")
