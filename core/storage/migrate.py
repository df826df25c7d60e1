"""Which migrations a database has, and bringing it to the newest.

Alembic is configured here and not by a file, so that an installed package can migrate. All pending
migrations and the record of them are one transaction that holds the write lock: a crash leaves the
database as it was, and of two upgrades at once the second finds nothing to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from core.errors import InputError, SchemaOutdatedError, StorageError
from core.storage.engine import address_of, dialect_of, reading, writing
from core.storage.retry import retried

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "alembic_version"

_SQL_HEADER = """\
-- Run with `sqlcmd -b -I`, which ends at the first error: then nothing of it has taken effect.
SET XACT_ABORT ON;

GO

"""


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


@retried
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

    dialect_of(engine).prepare(engine)
    before = status(engine)
    if before.pending:
        with writing(engine) as connection:
            dialect_of(connection).lock_migrations(connection)
            command.upgrade(_config(connection), "head")
    return before


def upgrade_sql(dialect: str = "mssql", since: str | None = None) -> str:
    """Spell the migrations as SQL, for administrators who run it themselves.

    Parameters
    ----------
    dialect
        ``mssql``, whose script has ``GO`` between its batches, or ``sqlite``.
    since
        Revision that the database has; None for an empty one.

    Raises
    ------
    InputError
        If the revision is unknown.
    """
    from alembic import command
    from alembic.util import CommandError

    config = _config()
    config.attributes["dialect_name"] = dialect
    config.output_buffer = StringIO()
    try:
        command.upgrade(config, f"{since}:head" if since else "head", sql=True)
    except CommandError as error:
        known = ", ".join(_known_revisions())
        raise InputError(f"revision {since!r} is unknown; there are {known}") from error
    script = config.output_buffer.getvalue()
    return f"{_SQL_HEADER}{script}" if dialect == "mssql" else script


def status(engine: sa.Engine) -> SchemaStatus:
    """Compare the database with the migrations of this version; changes nothing.

    Raises
    ------
    StorageError
        If the database fails, or has a revision that this version does not know.
    """
    known = _known_revisions()
    current = _current_revision(engine)
    if current is not None and current not in known:
        msg = (
            f"the database {address_of(engine)} has revision {current}, which this "
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
    name = address_of(engine)
    what = f"lacks {', '.join(found.pending)}" if found.applied else "has no tables yet"
    option = f" --database {name}" if "://" in name else ""
    msg = f"the database {name} {what}: run `carrier-opt db upgrade{option}`"
    raise SchemaOutdatedError(msg)


def _known_revisions() -> list[str]:
    """Every revision of this version, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    return [revision.revision for revision in script.walk_revisions()][::-1]


def _config(connection: sa.Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@retried
def _current_revision(engine: sa.Engine) -> str | None:
    if not dialect_of(engine).exists(engine):
        return None
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Unicode))
        return connection.execute(sa.select(version.c.version_num)).scalar_one_or_none()
