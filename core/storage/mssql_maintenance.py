"""Maintenance of a SQL Server database: statistics and indexes in T-SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

SESSION_OPTIONS = ("SET NOCOUNT ON", "SET QUOTED_IDENTIFIER ON", "SET ANSI_NULLS ON")
"""What a session needs to touch filtered indexes and computed columns; ``sqlcmd`` has the second off."""


def maintenance_statements(table_names: Sequence[str], *, full: bool, rebuild: bool) -> list[str]:
    """List the statements; see :func:`core.storage.maintenance.maintenance_statements`.

    Statistics come first: a rebuild makes those of its indexes from every row by itself, and a sample
    that is taken later would replace them.
    """
    statements = list(SESSION_OPTIONS)
    for name in table_names:
        statements.append(f"UPDATE STATISTICS [{name}]{' WITH FULLSCAN' if full else ''}")
        statements.append(f"ALTER INDEX ALL ON [{name}] {'REBUILD' if rebuild else 'REORGANIZE'}")
    return statements


def script(statements: Sequence[str]) -> str:
    """Spell statements as a script for an administrator."""
    return "".join(f"{statement};\n" for statement in statements)


def run_each(engine: sa.Engine, statements: Sequence[str]) -> Iterator[str]:
    """Run statements, each committed by itself, so that no lock outlives the one that needs it."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            yield statement
            connection.exec_driver_sql(statement)
