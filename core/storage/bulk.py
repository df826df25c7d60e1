"""Many rows at once, between Polars frames and tables (D3).

This module owns the seam between the repositories and the fast paths of one database. Column names
of a frame are those of the table. Rows go in slices, so that no more than one of them is ever held
as Python objects:

- :func:`insert_frame` adds rows,
- :func:`merge_frame` adds rows or changes those that have the same key,
- :func:`read_frame` reads a statement's rows into a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

import polars as pl
import sqlalchemy as sa

from core.storage.engine import dialect_of

SLICE_ROWS = 50_000
"""Rows that are handed to the database at once."""

Value = TypeVar("Value", str, int)

MAX_LIST = 500
"""Longest list of values in one statement; below the limit of every database."""


MERGE_KEYS = 1_000
"""Keys that are merged at once: a carrier's largest page."""


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
    insert = sa.insert(table).inline()
    compiled = insert.compile(dialect=connection.dialect, column_keys=frame.columns)
    to_driver = dialect_of(connection).to_driver
    for part in slices(frame.select(compiled.positiontup or ())):
        connection.exec_driver_sql(str(compiled), to_driver(part).rows())


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

    What is there is read, combined and written anew, so that every database comes to the same end.
    The caller sees to it that nobody else writes rows of these keys meanwhile.

    Parameters
    ----------
    frame
        All columns of the table, none of them a moment.
    keys
        Columns of the table's primary key.
    rules
        What becomes of each further column of the frame.
    newest_by
        A row changes another only if its value here, never null, is at least as large.

    Raises
    ------
    StorageError
        If the database fails.
    """
    if frame.is_empty():
        return
    chosen, common = _spread(frame, keys)
    for new in _parts(frame, chosen):
        values = new[chosen].unique().to_list()
        is_same = sa.and_(
            table.c[chosen].in_(values), *(table.c[name] == value for name, value in common.items())
        )
        statement = sa.select(*(table.c[name] for name in frame.columns)).where(is_same)
        known = read_frame(connection, statement, frame.schema)
        rows = new
        if not known.is_empty():
            connection.execute(sa.delete(table).where(is_same))
            rows = pl.concat([known, new])
        if not known.is_empty() or rows.select(keys).is_duplicated().any():
            rows = _combined(rows, keys, rules, newest_by)
        insert_frame(connection, table, rows)


def read_frame(
    connection: sa.Connection,
    statement: sa.Select[Any],
    schema: Mapping[str, pl.DataType],
    *,
    in_bulk: bool = False,
) -> pl.DataFrame:
    """Read the rows of a statement.

    Parameters
    ----------
    schema
        Name and type of each column, in the order of the statement's; no moments.
    in_bulk
        Expect very many rows, of columns of limited length, and take the fastest way: on SQL Server
        through Arrow, on a connection of its own. For connections that only read.

    Raises
    ------
    StorageError
        If the database fails.
    """
    dialect = dialect_of(connection)
    read = dialect.read_slices_in_bulk if in_bulk else dialect.read_slices
    parts = list(read(connection, statement, schema, SLICE_ROWS))
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict(schema))


def slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut a frame into parts of at most ``SLICE_ROWS`` rows; none for an empty frame."""
    if not frame.is_empty():
        yield from frame.iter_slices(SLICE_ROWS)


def in_lists(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Cut a list of values into parts that one statement can take."""
    for start in range(0, len(values), MAX_LIST):
        yield values[start : start + MAX_LIST]


def _spread(frame: pl.DataFrame, keys: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Choose the key column with the most values, and tell those that have one value only."""
    counts = {name: frame[name].n_unique() for name in keys}
    chosen = max(keys, key=lambda name: counts[name])
    common = {name: frame[name][0] for name in keys if counts[name] == 1 and name != chosen}
    return chosen, common


def _parts(frame: pl.DataFrame, key: str) -> Sequence[pl.DataFrame]:
    """Cut a frame into parts with at most ``MERGE_KEYS`` values of a column, each value in one part."""
    if frame.height <= MERGE_KEYS:
        return [frame]
    part = ((pl.col(key).rank("dense") - 1) // MERGE_KEYS).alias("part")
    return frame.with_columns(part).partition_by("part", maintain_order=True, include_key=False)


def _combined(
    rows: pl.DataFrame, keys: Sequence[str], rules: Mapping[str, Merge], newest_by: str | None
) -> pl.DataFrame:
    """One row per key, each row in order counting against those before it."""
    if newest_by is not None:
        newest = pl.col(newest_by)
        rows = rows.filter(newest >= newest.cum_max().over(keys))
    return (
        rows.group_by(keys, maintain_order=True)
        .agg(
            pl.col(name).last() if rule is Merge.REPLACE else pl.col(name).drop_nulls().last()
            for name, rule in rules.items()
        )
        .select(rows.columns)
    )
