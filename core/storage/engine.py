"""The way to the database: which engine, which transaction.

This module owns the seam between the repositories, which are the same for every database, and the
module of one dialect (:mod:`core.storage.sqlite`). Use :func:`reading` and :func:`writing`:

- :func:`open_engine` makes the engine of an address,
- :func:`writing` is one transaction that writes,
- :func:`reading` is one consistent view that never makes a writer wait,
- :func:`insert_row` adds one row and tells its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from core.errors import NotAvailableError, StorageError
from core.storage import sqlite

DEFAULT_URL = "sqlite:///carrier-opt.db"


def open_engine(url: str) -> sa.Engine:
    """Make the engine of a database address; connects to nothing yet.

    Parameters
    ----------
    url
        SQLAlchemy address, such as ``sqlite:///carrier-opt.db`` (D1).

    Raises
    ------
    StorageError
        If the address cannot be read.
    NotAvailableError
        If it names a database that this version does not support.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        msg = f"the database address cannot be read: write it like {DEFAULT_URL}"
        raise StorageError(msg) from error
    name = parsed.get_backend_name()
    if name == "sqlite":
        return sqlite.create(parsed)
    raise NotAvailableError(f"the database {name}", f"use an SQLite file, such as {DEFAULT_URL}")


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

    Raises
    ------
    StorageError
        If the database fails.
    """
    with (
        engine.connect().execution_options(**{sqlite.READ_ONLY_OPTION: True}) as connection,
        connection.begin(),
    ):
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
        If this version does not support the database.
    """
    if dialect == "sqlite":
        return sqlite.append_only_statements(table)
    raise NotAvailableError(f"the database {dialect}", f"use an SQLite file, such as {DEFAULT_URL}")
