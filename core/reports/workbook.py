"""``report.xlsx``: how the tables look (R2). What stands in them is :mod:`core.reports.tables`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from core.interrupts import raise_if_interrupted
from core.outcome import Outcome
from core.reports.cell_text import cell_texts
from core.reports.device_sheets import MAX_AUTO_SIMS, DeviceSheets
from core.reports.meta import ReportMeta
from core.reports.summary_sheet import FONT, add_summary_sheet
from core.reports.tables import assignments_table, groups_table, rejects_table, taxes_table

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell import Cell
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

MAX_SHEET_ROWS = 1_048_576
"""Rows of a worksheet, with its header."""

MAX_REJECT_ROWS = 100_000
"""Rows on the Rejects sheet; ``rejects.csv`` holds all of them."""

MONEY = "#,##0.00"
"""Two decimals are shown; the cell holds all six."""
COUNT = "#,##0"
_WIDEST = 44
_SAMPLED_ROWS = 500
_CHUNK_ROWS = 10_000
_FORMATS = {
    "percent": '0.00"%"',
    "tax_percent": '0.00####"%"',
    "usage_mb": "#,##0.000",
    "date": "yyyy-mm-dd",
}
_HEADER_FILL = "1F3864"
_TOTAL_FILL = "D9E2F3"


def write_workbook(
    path: Path,
    outcome: Outcome,
    rejects: pl.DataFrame,
    meta: ReportMeta,
    *,
    max_sheet_rows: int = MAX_SHEET_ROWS,
) -> None:
    """Write the report as an Excel workbook.

    Sheets Summary, Groups, Taxes where there is a table of them, Assignments (one or more, or a
    pointer to ``assignments.parquet``) and Rejects. openpyxl keeps the rows in temporary files until
    the workbook is complete, about 1 KB a SIM in the system's folder for such files; after a failure
    they go when the program ends.

    Parameters
    ----------
    path
        File to write.
    rejects
        Columns of :data:`core.files.rejects.REJECT_SCHEMA`.
    max_sheet_rows
        Rows per sheet with the header, at least 2.
    """
    try:
        with _new_book() as book:
            add_summary_sheet(book, outcome, rejects, meta)
            _add_with_totals(book, "Groups", groups_table(outcome), len(outcome.groups))
            if outcome.taxes is not None:
                _add_with_totals(book, "Taxes", taxes_table(outcome.taxes), len(outcome.taxes))
            _add_assignments(book, outcome, meta, max_sheet_rows)
            shown_rejects = rejects_table(rejects, meta.listed).head(
                min(MAX_REJECT_ROWS, max_sheet_rows - 1)
            )
            _add_table(book, "Rejects", shown_rejects)
            book.save(path)
    except Exception as error:
        raise_if_interrupted(error)
        raise


@contextmanager
def _new_book() -> Iterator[Workbook]:
    """Workbook that streams its rows; after a failure, its sheets are closed in their order.

    Left to the garbage collector, half-written sheets print errors about closed files.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    try:
        yield book
    finally:
        for sheet in book.worksheets:
            if not sheet.closed:
                sheet.close()


def _add_with_totals(book: Workbook, title: str, table: pl.DataFrame, filtered_rows: int) -> None:
    """Add a sheet whose last row is the totals."""
    from openpyxl.styles import Font, PatternFill

    sheet = _new_sheet(book, title, table, filtered_rows=filtered_rows)
    _append_rows(sheet, table.head(-1), _column_cells(sheet, table))
    totals = _column_cells(sheet, table)
    for cell in totals:
        cell.font = Font(name=FONT, bold=True)
        cell.fill = PatternFill("solid", fgColor=_TOTAL_FILL)
    _append_rows(sheet, table.tail(1), totals)


def _add_assignments(
    book: Workbook, outcome: Outcome, meta: ReportMeta, max_sheet_rows: int
) -> None:
    if meta.device_sheets is DeviceSheets.NONE:
        return
    if meta.device_sheets is DeviceSheets.AUTO and outcome.devices > MAX_AUTO_SIMS:
        sheet = book.create_sheet("Assignments")
        sheet.append([f"{outcome.devices:,} SIMs are more than this workbook lists by itself."])
        sheet.append(["Every SIM is in the file assignments.parquet beside this workbook."])
        sheet.append(["The option --device-sheets all lists them here nevertheless."])
        return
    table = assignments_table(outcome, meta)
    for number, start in enumerate(range(0, max(table.height, 1), max_sheet_rows - 1), start=1):
        title = "Assignments" if number == 1 else f"Assignments {number}"
        _add_table(book, title, table.slice(start, max_sheet_rows - 1))


def _add_table(book: Workbook, title: str, table: pl.DataFrame) -> None:
    sheet = _new_sheet(book, title, table, filtered_rows=table.height)
    _append_rows(sheet, table, _column_cells(sheet, table))


def _new_sheet(
    book: Workbook, title: str, table: pl.DataFrame, *, filtered_rows: int
) -> WriteOnlyWorksheet:
    """Add a sheet with a header row that stays in sight, and columns as wide as their contents.

    What applies to the whole sheet is set here, since openpyxl writes it before the first row.
    """
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(title)
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(table.width)}{filtered_rows + 1}"
    sheet.print_title_rows = "1:1"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.row_dimensions[1].height = 32
    for place, width in enumerate(_widths(table), start=1):
        sheet.column_dimensions[get_column_letter(place)].width = width
    sheet.append(_header_cells(sheet, table))
    return sheet


def _header_cells(sheet: WriteOnlyWorksheet, table: pl.DataFrame) -> list[Cell]:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font, PatternFill

    cells = []
    for name, dtype in table.schema.items():
        cell = WriteOnlyCell(sheet, heading(name))
        cell.font = Font(name=FONT, bold=True, color="FFFFFF")
        cell.fill = PatternFill("solid", fgColor=_HEADER_FILL)
        cell.alignment = Alignment(
            wrap_text=True, vertical="center", horizontal="right" if dtype.is_numeric() else "left"
        )
        cells.append(cell)
    return cells


def _column_cells(sheet: WriteOnlyWorksheet, table: pl.DataFrame) -> list[Cell]:
    """One empty cell per column, with the column's format."""
    from openpyxl.cell import WriteOnlyCell

    cells = []
    for name, dtype in table.schema.items():
        cell = WriteOnlyCell(sheet)
        cell.number_format = number_format(name, dtype)
        cells.append(cell)
    return cells


def _append_rows(sheet: WriteOnlyWorksheet, rows: pl.DataFrame, cells: list[Cell]) -> None:
    """Write rows with the same cells again and again: openpyxl writes each row at once."""
    for chunk in rows.iter_slices(_CHUNK_ROWS):
        for row in chunk.with_columns(cell_texts(pl.col(pl.String))).iter_rows():
            for cell, value in zip(cells, row, strict=True):
                cell.value = value
                if isinstance(value, str):
                    cell.data_type = "s"  # never a formula or an error
            sheet.append(cells)


def _widths(table: pl.DataFrame) -> list[float]:
    sample = pl.concat([table.head(_SAMPLED_ROWS), table.tail(1)])
    widths = []
    for name, dtype in table.schema.items():
        two_lines = len(heading(name)) * 0.6 + 4
        shown = sample[name].round(2) if dtype.is_float() else sample[name]
        longest: Any = shown.cast(pl.String).str.len_chars().max() or 0
        extra = 5 if dtype.is_numeric() else 2  # separators of thousands, and the filter's button
        widths.append(min(max(two_lines, longest + extra), 90 if name == "meaning" else _WIDEST))
    return widths


def heading(name: str) -> str:
    """Turn a column name into a heading: ``baseline_cost`` is Baseline cost."""
    special = {
        "iccid": "ICCID",
        "devices": "SIMs",
        "usage_mb": "Usage (MB)",
        "savings_percent": "Savings (%)",
        "sms_count": "SMS count",
    }
    words = name.removesuffix("_id").replace("_", " ").replace("optimized", "optimised")
    return special.get(name, words.capitalize())


def number_format(name: str, dtype: pl.DataType) -> str:
    """Format of a column's cells: money with two decimals, counts with separators, text as text."""
    if dtype == pl.String:
        return "@"
    if dtype == pl.Date:
        return _FORMATS["date"]
    if name == "usage_mb":
        return _FORMATS["usage_mb"]
    if name == "percent":
        return _FORMATS["tax_percent"]
    if name.endswith("_percent"):
        return _FORMATS["percent"]
    return MONEY if dtype.is_float() else COUNT
