"""The way to the database: which engine, which transaction.

This module owns the seam between the repositories, which are the same for every database, and the
module of one dialect (:mod:`core.storage.dialect`). Use :func:`reading` and :func:`writing`:

- :func:`open_engine` makes the engine of an address,
- :func:`writing` is one transaction that writes,
- :func:`reading` is one consistent view,
- :func:`insert_row` adds one row and tells its number.

A function that opens a transaction of its own is decorated by :func:`core.storage.retry.retried`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from core.errors import NotAvailableError, StorageError
from core.storage import mssql, sqlite
from core.storage.dialect import Dialect

DEFAULT_URL = "sqlite:///carrier-opt.db"

_DIALECTS: dict[str, Dialect] = {"sqlite": sqlite, "mssql": mssql}


def open_engine(url: str) -> sa.Engine:
    """Make the engine of a database address; connects to nothing yet.

    Parameters
    ----------
    url
        SQLAlchemy address, such as ``sqlite:///carrier-opt.db`` or
        ``mssql+pyodbc://user:password@server/database`` (D1).

    Raises
    ------
    StorageError
        If the address cannot be read or used.
    NotAvailableError
        If it names a database that is not supported.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        msg = (
            f"the database address cannot be read: write it like {DEFAULT_URL} or "
            f"{mssql.EXAMPLE_URL}"
        )
        raise StorageError(msg) from error
    return dialect_named(parsed.get_backend_name()).create(parsed)


def dialect_of(bind: sa.Engine | sa.Connection) -> Dialect:
    """Find the module of an engine's or connection's database."""
    return dialect_named(bind.dialect.name)


def address_of(engine: sa.Engine) -> str:
    """Tell the address of a database for messages; it holds no password."""
    return dialect_of(engine).address(engine.url)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that writes: all of it or nothing.

    Raises
    ------
    StorageError
        If the database fails or stays locked.
    """
    with engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One consistent view of the database; nothing may be written through it.

    A writer never waits for it on SQLite, nor on SQL Server if the database allows snapshots.

    Raises
    ------
    StorageError
        If the database fails.
    """
    with engine.connect() as connection:
        dialect_of(engine).begin_reading(connection)
        with connection.begin():
            yield connection


def insert_row(connection: sa.Connection, table: sa.Table, **values: object) -> int:
    """Add one row to a table that numbers its rows, and return the number."""
    key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
    if key is None:
        msg = f"the database gave the new row of {table.name} no number"
        raise StorageError(msg)
    return int(key[0])


def append_only_statements(dialect: str, table: str) -> list[str]:
    """Spell, for a database, the triggers that make a table append-only (D5).

    Raises
    ------
    NotAvailableError
        If the database is not supported.
    """
    return dialect_named(dialect).append_only_statements(table)


def dialect_named(name: str) -> Dialect:
    """Find the module of a database by SQLAlchemy's name of it.

    Raises
    ------
    NotAvailableError
        If the database is not supported.
    """
    found = _DIALECTS.get(name)
    if found is None:
        msg = f"write {DEFAULT_URL} or {mssql.EXAMPLE_URL}"
        raise NotAvailableError(f"the database {name}", msg)
    return found
