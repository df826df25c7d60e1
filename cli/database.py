"""What the commands around the database share: opening it, naming who acts, showing rows."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
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


def database_url(database: str | None) -> str:
    """Return the address that the option names, or the settings do."""
    from core.settings import load_settings

    return database or load_settings().database_url


def open_current(database: str | None) -> sa.Engine:
    """Open the database of a command.

    Raises
    ------
    SchemaOutdatedError
        If it lacks tables; the message says how to make them.
    """
    from core.storage.engine import open_engine
    from core.storage.migrate import require_current

    engine = open_engine(database_url(database))
    require_current(engine)
    return engine


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
