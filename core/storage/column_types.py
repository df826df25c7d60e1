"""Column types that mean the same on every database.

Times are naive UTC in the database and timezone-aware UTC in Python; :class:`UtcDateTime` converts at
this border. Identifiers of large tables are 64 bit. Money, data and voice are whole numbers (B1): a
decimal or floating-point column holds none of them.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import mssql


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A moment: aware in Python, naive UTC with microseconds in the database.

    Raises
    ------
    ValueError
        If a bound value has no time zone.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[datetime]:
        """``datetime2`` on SQL Server, whose plain ``datetime`` rounds to 3 ms."""
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.DATETIME2(6))  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """To naive UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"a stored moment needs a time zone, got {value.isoformat()} without one"
            raise ValueError(msg)
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """To aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit row number; SQLite numbers rows by itself only where the type is INTEGER (also 64 bit)."""


def key_text(length: int) -> sa.Unicode:
    """Text that is looked up by its exact value: ICCIDs, plan codes, names.

    Upper and lower case differ, and the order is that of code points, as in SQLite and Polars. On SQL
    Server, whose default collation folds case, that takes a binary one; it still ignores blanks at
    the end, which no such text has.
    """
    binary = mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2")
    return sa.Unicode(length).with_variant(binary, "mssql")


GUID = sa.Unicode(36)
"""A GUID as text of 36 characters."""

LONG_TEXT = sa.Unicode()
"""Text of any length; never a key."""

JSON_TEXT = sa.Unicode()
"""JSON as text of any length; written and read by whoever owns the column."""
