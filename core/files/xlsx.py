"""Reads the first sheet of an Excel workbook, cell by cell.

Every value becomes text as in the other formats. Where a cell held a number is remembered, since a
number cannot hold an ICCID's digits. A formula counts with the value stored beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError
from core.files.tables import RawTable
from core.interrupts import raise_if_interrupted

_OLD_EXCEL = b"\xd0\xcf\x11\xe0"


def read_xlsx(path: Path, used_columns: Collection[str]) -> RawTable:
    """Read the first sheet with all its cells as text.

    Parameters
    ----------
    used_columns
        Names in lower case; only in these columns each formula must have a stored value.

    Raises
    ------
    InputError
        If the file is no workbook, is protected by a password, or a formula has no stored value.
    """
    sheet_names, header, body = _read_cells(path, used_columns)
    width = len(header)
    n_rows = len(body)
    columns = []
    number_cells = {}
    for place in range(width):
        values = [row[place] if place < len(row) else None for row in body]
        columns.append(pl.Series(str(place), map(_cell_text, values), dtype=pl.String))
        not_text = [value is not None and not isinstance(value, str) for value in values]
        number_cells[place] = pl.Series(not_text, dtype=pl.Boolean)
    notes: tuple[str, ...] = ()
    if len(sheet_names) > 1:
        notes = (f"{path.name}: only the first sheet ({sheet_names[0]}) was read",)
    rows = pl.select(pl.int_range(2, n_rows + 2, dtype=pl.Int64)).to_series()
    return RawTable(
        header=[_cell_text(name) or "" for name in header],
        columns=columns,
        rows=rows,
        number_cells=number_cells,
        notes=notes,
    )


def _read_cells(
    path: Path, used_columns: Collection[str]
) -> tuple[list[str], Sequence[Any], list[Sequence[Any]]]:
    """Sheet names, the cells of row 1, and those of all further rows."""
    sheet_names, rows = _load(path, stored_values=False)
    if not rows:
        raise InputError(f"{path} is empty: its first sheet ({sheet_names[0]}) holds no header")
    if any(_is_formula(cell) for row in rows for cell in row):
        rows = list(_with_stored_values(path, sheet_names[0], rows, used_columns))
    header, *body = rows
    return sheet_names, header, body


def _load(path: Path, *, stored_values: bool) -> tuple[list[str], list[Sequence[Any]]]:
    from openpyxl import load_workbook

    with path.open("rb") as file:
        if file.read(len(_OLD_EXCEL)) == _OLD_EXCEL:
            raise InputError(
                f"{path} is protected by a password or an old .xls file: save it as plain .xlsx"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which are not read
            book = load_workbook(path, read_only=True, data_only=stored_values)
            try:
                sheet_names = [sheet.title for sheet in book.worksheets]
                if not sheet_names:
                    raise InputError(f"{path} is empty: it holds no sheet with cells")
                sheet = book.worksheets[0]
                sheet.reset_dimensions()  # some programs store a wrong size
                return sheet_names, list(sheet.iter_rows(values_only=True))
            finally:
                book.close()
    except InputError:
        raise
    except Exception as error:  # whatever openpyxl, zipfile and the XML parser raise
        raise_if_interrupted(error)
        raise InputError(f"{path} is not a readable Excel workbook (.xlsx): {error}") from error


def _is_formula(cell: object) -> bool:
    if isinstance(cell, str):
        return cell.startswith("=")
    return type(cell).__name__.endswith("Formula")  # array and data table formulas


def _with_stored_values(
    path: Path, sheet_name: str, rows: Sequence[Sequence[Any]], used_columns: Collection[str]
) -> Iterator[Sequence[Any]]:
    from openpyxl.utils import get_column_letter

    _, stored_rows = _load(path, stored_values=True)
    names = [(_cell_text(name) or "").strip().lower() for name in stored_rows[0]]
    used = {place for place, name in enumerate(names) if name in used_columns}
    for number, (row, stored_row) in enumerate(zip(rows, stored_rows, strict=True), start=1):
        for place, (cell, stored) in enumerate(zip(row, stored_row, strict=True)):
            if stored is None and place in used and _is_formula(cell):
                raise InputError(
                    f"{path}, sheet {sheet_name}, cell {get_column_letter(place + 1)}{number}: the "
                    "formula has no stored value: open the file in Excel and save it again"
                )
        yield stored_row


def _cell_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, datetime):
        return (value.date() if value.time() == time() else value).isoformat()
    return str(value)
