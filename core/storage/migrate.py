"""Which migrations a database has, and bringing it to the newest.

Alembic is configured here and not by a file, so that an installed package can migrate. All pending
migrations and the record of them are one transaction that holds the write lock: a crash leaves the
database as it was, and of two upgrades at once the second finds nothing to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from core.errors import SchemaOutdatedError, StorageError
from core.storage import sqlite
from core.storage.engine import reading, writing

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """Where a database stands.

    Attributes
    ----------
    applied
        Revisions that the database has, oldest first; empty for a new database.
    pending
        Revisions that it lacks, in the order in which they would run.
    head
        The newest revision of this version of the program.
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    head: str

    @property
    def is_current(self) -> bool:
        """Whether nothing is pending."""
        return not self.pending


def upgrade(engine: sa.Engine) -> SchemaStatus:
    """Bring the database to the newest revision; does nothing where it is there already.

    An SQLite file and its folder are made if they are missing.

    Returns
    -------
    SchemaStatus
        As it was before, so that ``pending`` says what has been done.

    Raises
    ------
    StorageError
        If the database fails, or was made by a newer version of the program.
    """
    from alembic import command

    sqlite.prepare(engine)
    before = status(engine)
    if before.pending:
        with writing(engine) as connection:
            command.upgrade(_config(connection), "head")
    return before


def status(engine: sa.Engine) -> SchemaStatus:
    """Compare the database with the migrations of this version; changes nothing.

    Raises
    ------
    StorageError
        If the database fails, or has a revision that this version does not know.
    """
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    known = [revision.revision for revision in script.walk_revisions()][::-1]
    current = _current_revision(engine)
    if current is not None and current not in known:
        msg = (
            f"the database {engine.url.render_as_string()} has revision {current}, which this "
            f"version does not know (its newest is {known[-1]}): install the newer version"
        )
        raise StorageError(msg)
    n_applied = 0 if current is None else known.index(current) + 1
    return SchemaStatus(
        applied=tuple(known[:n_applied]), pending=tuple(known[n_applied:]), head=known[-1]
    )


def require_current(engine: sa.Engine) -> None:
    """Refuse to work on a database that lacks migrations.

    Raises
    ------
    SchemaOutdatedError
        If it does, with the command that cures it.
    StorageError
        If the database fails, or was made by a newer version of the program.
    """
    found = status(engine)
    if found.is_current:
        return
    name = engine.url.render_as_string()
    what = f"lacks {', '.join(found.pending)}" if found.applied else "has no tables yet"
    msg = f"the database {name} {what}: run `carrier-opt db upgrade --database {name}`"
    raise SchemaOutdatedError(msg)


def _config(connection: sa.Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _current_revision(engine: sa.Engine) -> str | None:
    if not sqlite.exists(engine):
        return None
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Unicode))
        return connection.execute(sa.select(version.c.version_num)).scalar_one_or_none()
