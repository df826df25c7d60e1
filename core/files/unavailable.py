"""Refuses filled columns whose meaning is not part of this version, so that none is ignored."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import NotAvailableError
from core.files.tables import Table


def refuse_filled(table: Table, columns: Iterable[str]) -> None:
    """Raise where one of the columns is filled in any row.

    Raises
    ------
    NotAvailableError
        Naming the file, the column, and the first row and value.
    """
    for column in columns:
        text = table.text(column)
        rows = text.is_not_null().arg_true()
        if len(rows):
            first = rows[0]
            raise NotAvailableError(
                f"{table.path}: column {column} (row {table.rows[first]}: {text[first]!r})",
                "empty the column or leave it out",
            )


def is_filled(table: Table, column: str) -> bool:
    """Whether any row has a value in the column."""
    return bool(table.text(column).is_not_null().any())
