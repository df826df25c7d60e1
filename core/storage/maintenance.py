"""Statistics and indexes of the database: what is run for them, and running it.

The statements are those of one database each (:mod:`core.storage.sqlite`,
:mod:`core.storage.mssql`); here stands only for which tables: all of them, largest or not,
since those of a small one take no time.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from core.storage.engine import dialect_named, dialect_of
from core.storage.schema import metadata

TABLE_NAMES = tuple(table.name for table in metadata.sorted_tables)
"""Tables that are looked after."""


def maintenance_statements(dialect: str, *, full: bool, rebuild: bool) -> list[str]:
    """List the statements for a database, in the order in which they run.

    Parameters
    ----------
    dialect
        ``sqlite`` or ``mssql``.
    full
        Read every row for the statistics, instead of a sample.
    rebuild
        Write tables and indexes anew, which nobody may write to meanwhile.

    Raises
    ------
    NotAvailableError
        If this version does not support the database.
    """
    module = dialect_named(dialect)
    return module.maintenance_statements(TABLE_NAMES, full=full, rebuild=rebuild)


def maintenance_script(*, full: bool, rebuild: bool) -> str:
    """Spell the statements for SQL Server as a script that an administrator may run."""
    statements = maintenance_statements("mssql", full=full, rebuild=rebuild)
    return "".join(f"{statement};\n" for statement in statements)


def maintain(engine: sa.Engine, *, full: bool, rebuild: bool) -> Iterator[str]:
    """Run the statements one after another, each by itself; tells each before it runs.

    Raises
    ------
    StorageError
        If one fails; those before it have had their effect.
    """
    statements = maintenance_statements(engine.dialect.name, full=full, rebuild=rebuild)
    yield from dialect_of(engine).run_each(engine, statements)
