"""``report.xlsx``: how the tables look (R2). What stands in them is :mod:`core.reports.tables`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from core.files.interrupts import raise_if_interrupted
from core.outcome import Outcome
from core.reports.device_sheets import MAX_AUTO_SIMS, DeviceSheets
from core.reports.meta import ReportMeta
from core.reports.sheet_rows import (
    MAX_SHEET_ROWS,
    LongSheet,
    column_letters,
    insert_rows,
    plain_text,
)
from core.reports.summary_sheet import FONT, add_summary_sheet
from core.reports.tables import assignments_table, groups_table, rejects_table

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

MAX_REJECT_ROWS = 100_000
"""Rows on the Rejects sheet; ``rejects.csv`` holds all of them."""

MONEY = "#,##0.00"
"""Two decimals are shown; the cell holds all six."""
COUNT = "#,##0"
_WIDEST = 44
_SAMPLED_ROWS = 500
_FORMATS = {"percent": '0.00"%"', "usage_mb": "#,##0.000", "date": "yyyy-mm-dd"}
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

    Sheets Summary, Groups, Assignments (one or more, or a pointer to ``assignments.parquet``) and
    Rejects.

    Parameters
    ----------
    path
        File to write; a second file beside it is used on the way.
    rejects
        Columns of :data:`core.files.rejects.REJECT_SCHEMA`.
    max_sheet_rows
        Rows per sheet with the header, at least 2.
    """
    try:
        _write(path, outcome, rejects, meta, max_sheet_rows)
    except Exception as error:
        raise_if_interrupted(error)
        raise


def _write(
    path: Path, outcome: Outcome, rejects: pl.DataFrame, meta: ReportMeta, max_sheet_rows: int
) -> None:
    from openpyxl import Workbook

    book = Workbook()
    summary_sheet = book.active
    add_summary_sheet(summary_sheet, outcome, rejects, meta)
    _add_groups(book, outcome)
    long_sheets = _add_assignments(book, outcome, meta, max_sheet_rows)
    shown_rejects = rejects_table(rejects, meta.listed).head(
        min(MAX_REJECT_ROWS, max_sheet_rows - 1)
    )
    long_sheets.append(_add_long_sheet(book, "Rejects", shown_rejects))
    unfinished = path.with_name(f"{path.name}.head")
    try:
        book.save(unfinished)
        insert_rows(unfinished, path, long_sheets)
    finally:
        unfinished.unlink(missing_ok=True)


def _add_groups(book: Workbook, outcome: Outcome) -> None:
    from openpyxl.styles import Font, PatternFill

    table = groups_table(outcome)
    sheet = book.create_sheet("Groups")
    _add_head(sheet, table)
    for row in table.with_columns(plain_text(pl.col(pl.String))).iter_rows():
        sheet.append(row)
    for place, name in enumerate(table.columns, start=1):
        for cell_row in range(2, table.height + 2):
            cell = sheet.cell(cell_row, place)
            if isinstance(cell.value, str):
                cell.data_type = "s"  # never a formula
            cell.number_format = number_format(name, table.schema[name])
        total = sheet.cell(table.height + 1, place)
        total.font = Font(name=FONT, bold=True)
        total.fill = PatternFill("solid", fgColor=_TOTAL_FILL)
    sheet.auto_filter.ref = f"A1:{column_letters(table.width - 1)}{len(outcome.groups) + 1}"


def _add_assignments(
    book: Workbook, outcome: Outcome, meta: ReportMeta, max_sheet_rows: int
) -> list[LongSheet]:
    if meta.device_sheets is DeviceSheets.NONE:
        return []
    if meta.device_sheets is DeviceSheets.AUTO and outcome.devices > MAX_AUTO_SIMS:
        sheet = book.create_sheet("Assignments")
        sheet.append([f"{outcome.devices:,} SIMs are more than this workbook lists by itself."])
        sheet.append(["Every SIM is in the file assignments.parquet beside this workbook."])
        sheet.append(["The option --device-sheets all lists them here nevertheless."])
        return []
    table = assignments_table(outcome, meta)
    sheets = []
    for number, start in enumerate(range(0, max(table.height, 1), max_sheet_rows - 1), start=1):
        title = "Assignments" if number == 1 else f"Assignments {number}"
        sheets.append(_add_long_sheet(book, title, table.slice(start, max_sheet_rows - 1)))
    return sheets


def _add_long_sheet(book: Workbook, title: str, table: pl.DataFrame) -> LongSheet:
    """Add a sheet with its header, and remember the rows that go below it."""
    from openpyxl.cell import Cell

    sheet = book.create_sheet(title)
    _add_head(sheet, table)
    sheet.auto_filter.ref = f"A1:{column_letters(table.width - 1)}{table.height + 1}"
    style_ids = []
    for name, dtype in table.schema.items():
        pattern = Cell(sheet)
        pattern.number_format = number_format(name, dtype)
        style_ids.append(pattern.style_id)
    return LongSheet(number=len(book.sheetnames), rows=table, style_ids=style_ids)


def _add_head(sheet: Worksheet, table: pl.DataFrame) -> None:
    """Header row that stays in sight, and columns as wide as their contents."""
    from openpyxl.styles import Alignment, Font, PatternFill

    sheet.append([heading(name) for name in table.columns])
    sheet.freeze_panes = "B2"
    for cell, dtype in zip(sheet[1], table.dtypes, strict=True):
        cell.font = Font(name=FONT, bold=True, color="FFFFFF")
        cell.fill = PatternFill("solid", fgColor=_HEADER_FILL)
        cell.alignment = Alignment(
            wrap_text=True, vertical="center", horizontal="right" if dtype.is_numeric() else "left"
        )
    sheet.row_dimensions[1].height = 32
    sheet.print_title_rows = "1:1"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    for place, width in enumerate(_widths(table)):
        sheet.column_dimensions[column_letters(place)].width = width


def _widths(table: pl.DataFrame) -> Sequence[float]:
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
    if name.endswith("_percent"):
        return _FORMATS["percent"]
    return MONEY if dtype.is_float() else COUNT
