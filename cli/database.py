"""What the commands around the database share: opening it, naming who acts, showing rows."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import sqlalchemy as sa

    from core.storage.audit import Author
    from core.storage.catalogue_changes import ImportCounts

Database = Annotated[
    str | None,
    typer.Option("--database", help="Address of the database; else CARRIER_OPT_DATABASE_URL."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Provider = Annotated[str, typer.Option("--provider", help="Service provider: name or id.")]


@contextmanager
def opened(database: str | None) -> Iterator[sa.Engine]:
    """Open the database of a command, whatever its state, and close it afterwards."""
    from core.settings import load_settings
    from core.storage.engine import open_engine

    engine = open_engine(database or load_settings().database_url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_current(database: str | None) -> Iterator[sa.Engine]:
    """Open the database of a command, which needs its tables.

    Raises
    ------
    SchemaOutdatedError
        If it lacks tables; the message says how to make them.
    """
    from core.storage.migrate import require_current

    with opened(database) as engine:
        require_current(engine)
        yield engine


def acting_user() -> Author:
    """Tell who runs the command, for the audit log (D5)."""
    from core.storage.audit import Author

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user number without a name, as in many containers
        name = f"uid {os.getuid()}"
    return Author(actor=name, source="cli")


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(tz=UTC)


def counts_text(counts: ImportCounts) -> str:
    """Say what an import did."""
    return (
        f"{counts.added} added, {counts.changed} changed, {counts.unchanged} unchanged, "
        f"{counts.deactivated} set inactive"
    )


def table_text(rows: Sequence[Sequence[object]]) -> str:
    """Align columns by blanks; every line is as long as it needs to be, also in a pipe."""
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
