"""``carrier-opt db purge`` and ``db maintain``: what goes, and what is looked after (R5)."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import AsJson, Database, acting_user, open_current, table_text, utc_now

if TYPE_CHECKING:
    from types import FrameType

    from core.stages.purging import PurgeSummary
    from core.storage.purge import Purged


def purge_command(
    older_than: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=36500,
            metavar="DAYS",
            help="Days since the end of a session; else CARRIER_OPT_RETENTION_DAYS.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go, and change nothing.")
    ] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Remove the results of sessions that finished long ago; the sessions themselves stay.

    Goes in small transactions. Ctrl-C ends it after the one at hand; the next purge goes on.
    """
    from core.settings import load_settings
    from core.stages.purging import preview_purge, purge_old_results

    days = load_settings().retention_days if older_than is None else older_than
    with open_current(database) as engine:
        if dry_run:
            found = preview_purge(engine, retention_days=days, now=utc_now())
        else:
            with _until_interrupted() as is_interrupted, _progress() as on_step:
                found = purge_old_results(
                    engine,
                    retention_days=days,
                    now=utc_now(),
                    author=acting_user(),
                    on_step=on_step,
                    should_stop=is_interrupted,
                )
    if as_json:
        typer.echo(json.dumps(_as_json(found, days, is_dry_run=dry_run), indent=2))
    else:
        typer.echo(_as_text(found, days, is_dry_run=dry_run))
    if not found.is_complete:
        typer.echo("carrier-opt: interrupted; the next purge goes on with the rest", err=True)
        raise typer.Exit(130)


def maintain_command(
    full: Annotated[
        bool, typer.Option("--full", help="Read every row for the statistics, not a sample.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Write tables and indexes anew, and give space back; nobody can write meanwhile.",
        ),
    ] = False,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the T-SQL for SQL Server, and touch no database."),
    ] = False,
    database: Database = None,
) -> None:
    """Update the statistics that queries are planned by, and tend the indexes."""
    from core.storage.engine import address_of
    from core.storage.maintenance import maintain, maintenance_script

    if sql:
        typer.echo(maintenance_script(full=full, rebuild=rebuild), nl=False)
        return
    with open_current(database) as engine:
        n_run = 0
        for statement in maintain(engine, full=full, rebuild=rebuild):
            n_run += 1
            if sys.stderr.isatty():
                typer.echo(statement, err=True)
        name = address_of(engine)
    typer.echo(f"{name}: {n_run} statements run")


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into an answer to a question; the second one ends the program."""
    asked = threading.Event()

    def remember(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress() -> Iterator[Callable[[Purged], None]]:
    """Show on a terminal what is being emptied; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("purging") as status:
        n_rows = 0

        def show(step: Purged) -> None:
            nonlocal n_rows
            n_rows += step.rows
            whose = (
                f"run {step.sync_run_id}"
                if step.session_id is None
                else f"session {step.session_id}"
            )
            status.update(f"{whose}: {step.table or 'marked'}, {n_rows:,} rows so far")

        yield show


def _as_json(found: PurgeSummary, days: int, *, is_dry_run: bool) -> dict[str, object]:
    return {
        "older_than_days": days,
        "cutoff": found.cutoff.isoformat().replace("+00:00", "Z"),
        "dry_run": is_dry_run,
        "complete": found.is_complete,
        "sessions": found.sessions,
        "sync_runs": found.sync_runs,
        "rows": found.rows,
    }


def _as_text(found: PurgeSummary, days: int, *, is_dry_run: bool) -> str:
    what = "would purge" if is_dry_run else "purged"
    first = (
        f"{what} {sum(found.rows.values()):,} rows of {found.sessions} sessions and "
        f"{found.sync_runs} synchronisation runs that ended over {days} days ago, before "
        f"{found.cutoff:%Y-%m-%d %H:%MZ}"
    )
    rows = [(f"  {table}", f"{number:,}") for table, number in found.rows.items()]
    return "\n".join([first, *([table_text(rows)] if rows else [])])
