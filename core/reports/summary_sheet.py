"""The first sheet of the workbook: key figures, a chart, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from core.domain import SolveStatus
from core.files.rejects import count_by_reason
from core.outcome import SKIPPED, Outcome
from core.reports.cell_text import cell_text
from core.reports.meta import ReportMeta
from core.reports.remarks import is_legacy_compared, meaning_of, remarks
from core.reports.summary import SHOWN_GAP_PLACES, savings_percent, shown_gap_percent
from core.reports.tables import chart_table, units_of

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

Figure = tuple[str, float | str, str]
"""Label, value and number format of a key figure."""

FONT = "Calibri"
"""The workbook's font; without a name programs choose their own."""

_MONEY = "#,##0.00"
_COUNT = "#,##0"
_PERCENT = '0.00"%"'
_GAP_PERCENT = f'0.{"0" * SHOWN_GAP_PLACES}"%"'
_TEXT = "@"
_BOLD_FIGURES = ("Baseline cost", "Optimised cost", "Savings")
_HEADING_COLOR = "1F3864"
_SERIES_COLORS = ("8497B0", "2E75B6")


def key_figures(outcome: Outcome, rejects: pl.DataFrame, meta: ReportMeta) -> list[Figure]:
    """Return the totals in reading order."""
    baseline, optimized = outcome.baseline, outcome.optimized
    percent = savings_percent(baseline.objective_micros, optimized.objective_micros)
    gap = shown_gap_percent(optimized.objective_micros, outcome.lower_bound_micros)
    unknown = "not known"
    figures: list[Figure] = [
        ("SIMs", outcome.devices, _COUNT),
        ("SIMs without a price (unknown rate plan)", outcome.unpriced, _COUNT),
        ("Plan changes recommended", outcome.plan_changes, _COUNT),
        ("Baseline cost", units_of(baseline.objective_micros), _MONEY),
        ("  of it fees", units_of(baseline.rate_micros), _MONEY),
        ("  of it overage", units_of(baseline.overage_micros), _MONEY),
        ("Optimised cost", units_of(optimized.objective_micros), _MONEY),
        ("  of it fees", units_of(optimized.rate_micros), _MONEY),
        ("  of it overage", units_of(optimized.overage_micros), _MONEY),
        ("Savings", units_of(outcome.savings_micros), _MONEY),
        ("Savings in percent of the baseline", percent, _PERCENT),
        ("Lower bound of the cost", *_money_or(_cents_below(outcome.lower_bound_micros), unknown)),
        (
            "Gap to the lower bound",
            *((float(gap), _GAP_PERCENT) if gap is not None else (unknown, _TEXT)),
        ),
        ("Solve units", len(outcome.units), _COUNT),
        ("  of which optimal", _n_optimal(outcome), _COUNT),
        (
            "Best cost by the legacy method" if meta.walk is None else "Cost by this walk",
            *_money_or(outcome.legacy_best_cost_micros, _why_no_legacy(outcome, meta)),
        ),
        *_tax_figures(outcome),
        ("Rejected rows", rejects.height, _COUNT),
        ("Warnings", meta.warnings.count, _COUNT),
    ]
    if meta.listed is not None:
        figures.insert(1, ("SIMs listed, not optimised", meta.listed.height, _COUNT))
    return figures


def add_summary_sheet(
    book: Workbook, outcome: Outcome, rejects: pl.DataFrame, meta: ReportMeta
) -> None:
    """Add the sheet to a write-only workbook; every text is a text cell, never a formula."""
    sheet = book.create_sheet("Summary")
    for letter, width in {"A": 46, "B": 18, "C": 18}.items():
        sheet.column_dimensions[letter].width = width
    sheet.sheet_view.showGridLines = False
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    cells = _Cells(sheet)
    _add_title(cells, meta)
    cells.heading("Key figures" + (f" ({meta.currency})" if meta.currency else ""))
    chart_row = cells.row
    for label, value, number_format in key_figures(outcome, rejects, meta):
        cells.line([label, value], number_format, is_bold=label in _BOLD_FIGURES)
    _add_chart(cells, outcome, chart_row)
    _add_reasons(cells, outcome, rejects, meta)
    cells.heading("Remarks")
    for remark in remarks(outcome, meta):
        cells.line([remark])


class _Cells:
    """Writes a sheet from top to bottom; ``row`` is the next free row."""

    def __init__(self, sheet: WriteOnlyWorksheet) -> None:
        self.sheet = sheet
        self.row = 1

    def line(
        self,
        values: Sequence[float | str],
        number_format: str = _TEXT,
        *,
        is_bold: bool = False,
        size: int = 11,
        color: str = "000000",
    ) -> None:
        """Write one row from column A on; numbers get the format, texts stay texts."""
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Alignment, Font

        cells = []
        for place, value in enumerate(values):
            if isinstance(value, str):
                cell = WriteOnlyCell(self.sheet, cell_text(value))
                cell.data_type = "s"
            else:
                cell = WriteOnlyCell(self.sheet, value)
                cell.number_format = number_format
            cell.font = Font(name=FONT, bold=is_bold, size=size, color=color)
            if place and isinstance(value, str):
                is_sentence = value.endswith(".")
                cell.alignment = Alignment(
                    horizontal="left" if is_sentence else "right", indent=int(is_sentence)
                )
            cells.append(cell)
        self.sheet.append(cells)
        self.row += 1

    def heading(self, text: str) -> None:
        """Leave a row free and write a heading."""
        self.sheet.append([])
        self.row += 1
        self.line([text], is_bold=True, size=13, color=_HEADING_COLOR)


def _tax_figures(outcome: Outcome) -> list[Figure]:
    """Return taxes, and bills with them: all fees and overage, whatever was minimised (B6)."""
    if outcome.taxes is None:
        return []
    figures: list[Figure] = []
    bills = []
    for label, cost, tax in (
        ("Baseline", outcome.baseline, outcome.baseline_tax_micros or 0),
        ("Optimised", outcome.optimized, outcome.optimized_tax_micros or 0),
    ):
        bills.append(cost.rate_micros + cost.overage_micros + tax)
        figures.append((f"{label} taxes", units_of(tax), _MONEY))
        figures.append((f"{label} fees, overage and taxes", units_of(bills[-1]), _MONEY))
    return [*figures, ("Savings with taxes", units_of(bills[0] - bills[1]), _MONEY)]


def _n_optimal(outcome: Outcome) -> int:
    return sum(unit.status is SolveStatus.OPTIMAL for unit in outcome.units)


def _why_no_legacy(outcome: Outcome, meta: ReportMeta) -> str:
    if all(group.status == SKIPPED for group in outcome.groups):
        return "not known"
    if not is_legacy_compared(outcome):
        return "does not compete"
    return "none is feasible" if meta.walk is None else "not feasible"


def _cents_below(bound_micros: int | None) -> int | None:
    """Round a bound down to what is shown of it, so that it stays one."""
    return bound_micros and bound_micros // 10_000 * 10_000


def _money_or(micros: int | None, otherwise: str) -> tuple[float | str, str]:
    return (otherwise, _TEXT) if micros is None else (units_of(micros), _MONEY)


def _add_title(cells: _Cells, meta: ReportMeta) -> None:
    cells.line([meta.title], is_bold=True, size=16, color=_HEADING_COLOR)
    if meta.is_dry_run:
        cells.line(["DRY RUN"], is_bold=True, size=14, color="C00000")
    about = {"Provider": meta.provider, "Period": meta.period, "Session": meta.session_id}
    for label, value in about.items():
        if value:
            cells.line([f"{label}: {value}"])
    cells.line([f"Made on {meta.generated_at:%Y-%m-%d %H:%M %Z}".rstrip()])


def _add_chart(cells: _Cells, outcome: Outcome, chart_row: int) -> None:
    """Table and bar chart of the largest groups, the chart beside the key figures."""
    from openpyxl.chart import BarChart, Reference
    from openpyxl.chart.shapes import GraphicalProperties
    from openpyxl.drawing.line import LineProperties

    table = chart_table(outcome)
    if table.is_empty():
        return
    is_all = table.height == len(outcome.groups)
    title = "Cost by group" if is_all else f"Cost of the {table.height} largest groups"
    cells.heading(title)
    first = cells.row
    cells.line(["Group", "Baseline", "Optimised"], is_bold=True)
    for row in table.iter_rows():
        cells.line(row, _MONEY)
    chart = BarChart()
    chart.title = title
    chart.height, chart.width = 9.5, 20
    last = cells.row - 1
    values = Reference(cells.sheet, min_col=2, max_col=3, min_row=first, max_row=last)
    chart.add_data(values, titles_from_data=True)
    names = Reference(cells.sheet, min_col=1, min_row=first + 1, max_row=last)
    chart.set_categories(names)
    for series, color in zip(chart.series, _SERIES_COLORS, strict=True):
        series.graphicalProperties.solidFill = color
    chart.y_axis.numFmt = _COUNT
    chart.y_axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="D9D9D9"))
    chart.y_axis.delete = False
    chart.x_axis.delete = False
    chart.gapWidth = 60
    chart.legend.position = "b"
    cells.sheet.add_chart(chart, f"E{chart_row}")


def _add_reasons(cells: _Cells, outcome: Outcome, rejects: pl.DataFrame, meta: ReportMeta) -> None:
    """Count SIMs, rejected rows and listed SIMs by reason."""
    counts = {"SIMs by reason": outcome.assignments, "Rejected rows by reason": rejects}
    if meta.listed is not None:
        counts["SIMs listed, not optimised, by reason"] = meta.listed
    for title, frame in counts.items():
        if frame.is_empty():
            continue
        cells.heading(title)
        for reason, count in count_by_reason(frame).items():
            cells.line([reason, count, meaning_of(reason)], _COUNT)
