"""Many rows at once, between Polars frames and tables (D3).

This module owns the seam between the repositories and the fast paths of one database. Column names
of a frame are those of the table. Rows go in slices, without an object per row:

- :func:`insert_frame` adds rows,
- :func:`merge_frame` adds rows or changes those that have the same key,
- :func:`read_frame` reads a statement's rows into a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import TypeVar

import polars as pl
import sqlalchemy as sa

from core.storage import sqlite

SLICE_ROWS = 50_000
"""Rows that are handed to the database at once."""

Value = TypeVar("Value", str, int)

MAX_LIST = 500
"""Longest list of values in one statement; below the limit of every database."""


class Merge(Enum):
    """What becomes of a column where a row with the same key is there already."""

    REPLACE = "replace"
    """The new value counts."""
    REPLACE_UNLESS_NULL = "replace_unless_null"
    """The new value counts where there is one."""


def insert_frame(connection: sa.Connection, table: sa.Table, frame: pl.DataFrame) -> None:
    """Add the rows of a frame to a table.

    Parameters
    ----------
    frame
        Columns of the table by name; those that are missing get their default.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If a key stands in the table already, or a row it refers to is missing.
    StorageError
        If the database fails.
    """
    if frame.is_empty():
        return
    statement, columns = sqlite.insert_statement(table, frame.columns)
    _run_many(connection, statement, frame.select(columns))


def merge_frame(
    connection: sa.Connection,
    table: sa.Table,
    frame: pl.DataFrame,
    *,
    keys: Sequence[str],
    rules: Mapping[str, Merge],
    newest_by: str | None = None,
) -> None:
    """Add the rows of a frame, or change the rows that have the same key; rows in order.

    Parameters
    ----------
    keys
        Columns of the table's primary key.
    rules
        What becomes of each further column of the frame.
    newest_by
        A row changes another only if its value here is at least as large.

    Raises
    ------
    StorageError
        If the database fails.
    """
    if frame.is_empty():
        return
    how = {name: rule.value for name, rule in rules.items()}
    statement, columns = sqlite.merge_statement(
        table, frame.columns, keys=keys, rules=how, newest_by=newest_by
    )
    _run_many(connection, statement, frame.select(columns))


def read_frame(
    connection: sa.Connection,
    statement: sa.Executable,
    schema: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    """Read the rows of a statement.

    Parameters
    ----------
    schema
        Name and type of each column, in the order of the statement's.

    Raises
    ------
    StorageError
        If the database fails.
    """
    parts = [
        sqlite.from_driver(rows, schema)
        for rows in sqlite.fetch_slices(connection, statement, SLICE_ROWS)
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict(schema))


def slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut a frame into parts of at most ``SLICE_ROWS`` rows; none for an empty frame."""
    if not frame.is_empty():
        yield from frame.iter_slices(SLICE_ROWS)


def in_lists(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Cut a list of values into parts that one statement can take."""
    for start in range(0, len(values), MAX_LIST):
        yield values[start : start + MAX_LIST]


def _run_many(connection: sa.Connection, statement: str, frame: pl.DataFrame) -> None:
    for part in slices(sqlite.to_driver(frame)):
        connection.exec_driver_sql(statement, part.rows())
