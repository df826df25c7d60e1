"""Refuses filled columns whose meaning is not part of this version, so that none is ignored."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import NotAvailableError
from core.files.tables import Table
from core.files.values import FALSE_TEXTS


def refuse_filled(table: Table, columns: Iterable[str], *, allow_false: Iterable[str] = ()) -> None:
    """Raise where one of the columns is filled in any row.

    Parameters
    ----------
    allow_false
        Columns in which false, no and 0 mean the same as an empty cell.

    Raises
    ------
    NotAvailableError
        Naming the file, the column, and the first row and value.
    """
    neutral = dict.fromkeys(allow_false, FALSE_TEXTS)
    for column in (*columns, *neutral):
        text = table.text(column)
        filled = text.is_not_null() & ~text.str.to_lowercase().is_in(neutral.get(column, ()))
        rows = filled.fill_null(value=False).arg_true()
        if len(rows):
            first = rows[0]
            raise NotAvailableError(
                f"{table.path}: column {column} (row {table.rows[first]}: {text[first]!r})",
                "empty the column or leave it out",
            )


def is_filled(table: Table, column: str) -> bool:
    """Whether any row has a value in the column."""
    return bool(table.text(column).is_not_null().any())
