"""The workbook, read back: what its cells hold, not how it looks."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from core.assembly import with_taxes
from core.domain import SolveStatus, Strategy, TaxBase, TaxRate
from core.files.rejects import Reject, RejectReason, no_rejects, rejects_frame
from core.outcome import ASSIGNMENT_SCHEMA, Cost, GroupOutcome, Outcome, UnitOutcome
from core.reports import workbook as workbook_module
from core.reports.cell_text import MAX_CELL_CHARACTERS, cell_text, cell_texts
from core.reports.device_sheets import DeviceSheets
from core.reports.meta import ReportMeta
from core.reports.tables import MAX_CHART_GROUPS, MAX_NAMES, chart_table, groups_table
from core.reports.workbook import heading, write_workbook

META = ReportMeta(generated_at=datetime(2026, 1, 31, tzinfo=UTC), elapsed_seconds=1.0)

Sim = tuple[str, str, int, int, int, int]
"""ICCID, group, and rate and overage in micro-units, before and after."""

SIMS: list[Sim] = [
    ("08901", "G0001", 5_000_001, 2_500_000, 1_000_000, 0),
    ("08902", "G0001", 1_000_000, 0, 1_000_000, 7),
    ("08903", "G0002", 1_234_567, 0, 1_234_567, 0),
]


def outcome_of(sims: Sequence[Sim], *, plan: str = "P1", unpriced: int = 0) -> Outcome:
    """An outcome of one unit with the given SIMs; groups and totals are their sums."""
    names = ["iccid", "group_id", "r0", "o0", "r1", "o1"]
    frame = pl.DataFrame(sims, schema=names, orient="row").with_columns(
        current_cost_micros=pl.col("r0") + pl.col("o0"),
        recommended_cost_micros=pl.col("r1") + pl.col("o1"),
    )
    assignments = frame.select(
        "iccid", "group_id", "current_cost_micros", "recommended_cost_micros",
        pl.lit("CP").alias("communication_plan"), pl.lit("U0001").alias("unit_id"),
        pl.lit(plan).alias("current_rate_plan"), pl.lit("P2").alias("recommended_rate_plan"),
        pl.lit(1536 * 1024).alias("usage_bytes"), pl.lit("changed").alias("reason"),
        (pl.col("current_cost_micros") - pl.col("recommended_cost_micros")).alias("savings_micros"),
        pl.col("r0").alias("current_rate_micros"), pl.col("o0").alias("current_overage_micros"),
        pl.col("r1").alias("recommended_rate_micros"),
        pl.col("o1").alias("recommended_overage_micros"), pl.lit(0).alias("sms_count"),
        pl.lit(0).alias("voice_seconds"), pl.lit(None).alias("activated_date"),
        pl.lit(None).alias("active_days"), pl.lit(value=True).alias("is_usage_reported"),
        pl.lit(None).alias("jurisdiction"), pl.lit(None).alias("current_tax_micros"),
        pl.lit(None).alias("recommended_tax_micros"),
        pl.lit(value=False).alias("locked"),
        pl.when(group_id="G0001").then(pl.lit("P3")).alias("next_best_rate_plan"),
        pl.when(group_id="G0001").then(-250_001).alias("next_best_reduced_cost_micros"),
    ).select(pl.col(name).cast(dtype) for name, dtype in ASSIGNMENT_SCHEMA.items())  # fmt: skip

    def cost(rows: pl.DataFrame, rate: str, overage: str) -> Cost:
        rates, overages = rows[rate].sum(), rows[overage].sum()
        return Cost(objective_micros=rates + overages, rate_micros=rates, overage_micros=overages)

    groups = tuple(
        GroupOutcome(
            group_id=group, unit_id="U0001", communication_plans=("CP",), rate_plans=("P1", "P2"),
            devices=rows.height, status="optimised", strategy=Strategy.CHEAPEST_PLAN_PER_SIM,
            baseline=cost(rows, "r0", "o0"), optimized=cost(rows, "r1", "o1"),
            plan_changes=rows.height,
        )
        for (group,), rows in frame.partition_by("group_id", as_dict=True).items()
    )  # fmt: skip
    baseline, optimized = cost(frame, "r0", "o0"), cost(frame, "r1", "o1")
    unit = UnitOutcome(
        unit_id="U0001", group_ids=tuple(group.group_id for group in groups), devices=len(sims),
        status=SolveStatus.FEASIBLE, strategy=Strategy.CHEAPEST_PLAN_PER_SIM, baseline=baseline,
        optimized=optimized, lower_bound_micros=None, legacy_best_cost_micros=None,
    )  # fmt: skip
    return Outcome(
        assignments=assignments, groups=groups, units=(unit,), devices=len(sims) + unpriced,
        unpriced=unpriced, baseline=baseline, optimized=optimized, lower_bound_micros=None,
        legacy_best_cost_micros=None, plan_changes=len(sims),
    )  # fmt: skip


@pytest.fixture
def written(tmp_path: Path):
    """Write a workbook and read it back."""

    def write(outcome=None, rejects=None, meta=META, **options):
        path = tmp_path / "report.xlsx"
        outcome = outcome or outcome_of(SIMS)
        write_workbook(path, outcome, no_rejects() if rejects is None else rejects, meta, **options)
        assert [file.name for file in tmp_path.iterdir()] == ["report.xlsx"]
        return load_workbook(path)

    return write


def rows_of(sheet) -> list[tuple]:
    return list(sheet.iter_rows(values_only=True))


def by_heading(sheet) -> list[dict[str, object]]:
    headings, *rows = rows_of(sheet)
    return [dict(zip(headings, row, strict=True)) for row in rows]


def test_the_sheets(written):
    assert written().sheetnames == ["Summary", "Groups", "Assignments", "Rejects"]


def test_assignments_hold_texts_as_texts_and_money_to_the_micro_unit(written):
    sheet = written()["Assignments"]
    first = by_heading(sheet)[0]
    assert first["ICCID"] == "08901"
    assert first["Current rate cost"] == 5.000001
    assert first["Current cost"] == 7.500001
    assert first["Recommended cost"] == 1.0
    assert first["Savings"] == 6.500001
    assert (first["Next best rate plan"], first["Next best costs more by"]) == ("P3", -0.250001)
    last = by_heading(sheet)[2]
    assert (last["Next best rate plan"], last["Next best costs more by"]) == (None, None)
    assert first["Usage (MB)"] == 1.5
    cells = {cell.value: sheet.cell(2, cell.column) for cell in sheet[1]}
    assert (cells["ICCID"].data_type, cells["ICCID"].number_format) == ("s", "@")
    assert (cells["Savings"].data_type, cells["Savings"].number_format) == ("n", "#,##0.00")


def test_long_sheets_have_a_filter_and_a_header_that_stays(written):
    book = written()
    for name, last in {"Assignments": "Q4", "Groups": "Q3", "Rejects": "H1"}.items():
        assert book[name].auto_filter.ref == f"A1:{last}"
        assert book[name].freeze_panes == "B2"
    assert book["Assignments"].dimensions == "A1:Q4"


def test_groups_add_up_to_the_totals(written):
    outcome = outcome_of(SIMS, unpriced=2)
    *groups, unpriced, total = by_heading(written(outcome)["Groups"])
    assert [group["Group"] for group in groups] == ["G0001", "G0002"]
    assert (unpriced["Group"], unpriced["SIMs"], unpriced["Baseline cost"]) == (
        "Unpriced", 2, None,
    )  # fmt: skip
    assert total["Group"] == "Total"
    assert total["SIMs"] == outcome.devices == 5
    assert total["Baseline cost"] == outcome.baseline.objective_micros / 1e6
    assert total["Savings"] == outcome.savings_micros / 1e6
    for name in ("SIMs", "Plan changes"):
        assert total[name] == sum(row[name] or 0 for row in (*groups, unpriced))
    for name in ("Baseline cost", "Optimised cost", "Savings", "Baseline overage cost"):
        assert total[name] == pytest.approx(sum(row[name] for row in groups), abs=1e-9)


def test_taxes_have_a_sheet_with_totals_and_columns_of_the_sims(written):
    ny = TaxRate(jurisdiction="NY", name="Sales", percent_millionths=8_250_000, base=TaxBase.TOTAL)
    tx = TaxRate(jurisdiction="TX", name="=Fee", percent_millionths=123_456, base=TaxBase.RATE)
    outcome = outcome_of(SIMS)
    rows = outcome.assignments.with_columns(jurisdiction=pl.Series(["NY", "TX", None]))
    taxed = with_taxes(replace(outcome, assignments=rows), [tx, ny])
    book = written(taxed)
    assert book.sheetnames == ["Summary", "Groups", "Taxes", "Assignments", "Rejects"]
    first, second, total = by_heading(book["Taxes"])
    assert first == {
        "Jurisdiction": "NY", "Tax": "Sales", "Base": "total", "Percent": 8.25, "SIMs": 1,
        "Baseline tax": 0.61875, "Optimised tax": 0.0825, "Savings": 0.53625,
    }  # fmt: skip
    assert (second["Tax"], second["Percent"], second["Baseline tax"]) == (
        "=Fee",
        0.123456,
        0.001235,
    )
    assert (total["Jurisdiction"], total["Tax"], total["SIMs"]) == ("Total", None, None)
    assert (total["Baseline tax"], total["Savings"]) == (0.619985, 0.53625)
    assert book["Taxes"]["D2"].number_format == '0.00####"%"'
    assert book["Taxes"].auto_filter.ref == "A1:H3"
    sims = by_heading(book["Assignments"])
    assert [sim["Jurisdiction"] for sim in sims] == ["NY", "TX", None]
    assert [sim["Current tax"] for sim in sims] == [0.61875, 0.001235, 0]
    figures = {row[0]: row[1] for row in rows_of(book["Summary"])}
    assert figures["Baseline cost"] == 9.734568
    assert figures["Baseline taxes"] == 0.619985
    assert figures["Baseline fees, overage and taxes"] == 10.354553
    assert figures["Savings with taxes"] == 7.036244


def test_a_skipped_group_shows_no_strategy_and_long_lists_are_cut():
    outcome = outcome_of(SIMS)
    plans = tuple(f"CP{k}" for k in range(MAX_NAMES + 3))
    group = replace(outcome.groups[0], status="skipped", communication_plans=plans)
    row = groups_table(replace(outcome, groups=(group,))).row(0, named=True)
    assert row["strategy"] is None
    assert row["communication_plans"].endswith("CP19 and 3 more")


def test_the_chart_shows_the_largest_groups():
    sims = [(f"{k:05d}", f"G{k:04d}", k, 0, 0, 0) for k in range(30)]
    table = chart_table(outcome_of(sims))
    assert table.height == MAX_CHART_GROUPS
    assert table["group_id"][0] == "G0029"
    assert table["baseline_cost"].is_sorted(descending=True)


def test_the_summary_shows_the_totals_a_chart_and_the_remarks(written):
    meta = replace(
        META, is_dry_run=True, provider="Acme", period="January", session_id="7", currency="USD",
        listed=pl.DataFrame({"iccid": ["1"], "reason": ["not_billable"]}),
    )  # fmt: skip
    sheet = written(meta=meta)["Summary"]
    column = {row[0]: row[1] for row in rows_of(sheet)}
    assert {"DRY RUN", "Provider: Acme", "Period: January", "Session: 7"} <= set(column)
    assert column["SIMs"] == 3
    assert column["Baseline cost"] == 9.734568
    assert column["Savings"] == 6.499994
    assert column["Lower bound of the cost"] == "not known"
    assert (column["Solve units"], column["  of which optimal"]) == (1, 0)
    assert column["changed"] == 3
    assert column["not_billable"] == 1
    assert any("actual usage so far" in str(label) for label in column)
    assert len(sheet._charts) == 1


def test_rejects_come_with_their_meaning_and_listed_sims_follow(written):
    rejects = rejects_frame(
        [
            Reject(
                file="d.csv", row=2, column="usage_mb", value="x",
                reason=RejectReason.NOT_A_NUMBER, raw='{"iccid":"1"}',
            )
        ]
    )  # fmt: skip
    meta = replace(META, listed=pl.DataFrame({"iccid": ["089"], "reason": ["not_billable"]}))
    reject, listed = by_heading(written(rejects=rejects, meta=meta)["Rejects"])
    assert (reject["File"], reject["Row"], reject["Column"]) == ("d.csv", 2, "usage_mb")
    assert str(reject["Meaning"]).startswith("The cell is not a number")
    assert (listed["Kind"], listed["Value"]) == ("SIM not optimised", "089")
    assert listed["Meaning"] == "The carrier does not bill SIMs in this state."


def test_no_text_of_a_user_becomes_a_formula_or_breaks_the_file(written):
    nasty = '=1+1&<b>"\x07'
    sims = [(nasty, nasty, 1, 1, 1, 1)]
    rejects = rejects_frame(
        [
            Reject(
                file=nasty, row=2, column=nasty, value=nasty,
                reason=RejectReason.RAGGED_ROW, raw=nasty,
            )
        ]
    )  # fmt: skip
    meta = replace(META, provider=nasty, notes=(nasty,), title=nasty)
    book = written(outcome_of(sims, plan=nasty), rejects, meta)
    clean = '=1+1&<b>"\ufffd'
    for sheet in book:
        found = [cell for row in sheet.iter_rows() for cell in row if cell.value == clean]
        assert found, sheet.title
        assert all(cell.data_type == "s" for row in sheet.iter_rows() for cell in row
                   if isinstance(cell.value, str))  # fmt: skip


def test_a_cell_holds_at_most_what_excel_allows(written):
    rejects = rejects_frame(
        [
            Reject(
                file="d", row=2, column=None, value=None, reason=RejectReason.RAGGED_ROW,
                raw="x" * 40_000,
            )
        ]
    )  # fmt: skip
    (row,) = by_heading(written(rejects=rejects)["Rejects"])
    assert len(str(row["Raw"])) == 32_767


def test_too_many_sims_are_pointed_to_unless_all_are_asked_for(written):
    outcome = replace(outcome_of(SIMS), devices=100_001)
    book = written(outcome)
    assert "100,001 SIMs" in book["Assignments"]["A1"].value
    assert "assignments.parquet" in book["Assignments"]["A2"].value
    meta = replace(META, device_sheets=DeviceSheets.ALL)
    assert len(rows_of(written(outcome, meta=meta)["Assignments"])) == 4
    meta = replace(META, device_sheets=DeviceSheets.NONE)
    assert written(meta=meta).sheetnames == ["Summary", "Groups", "Rejects"]
    exactly = replace(outcome, devices=100_000)
    assert len(rows_of(written(exactly)["Assignments"])) == 4


def test_assignments_are_split_where_a_sheet_is_full(written):
    book = written(max_sheet_rows=3)
    assert book.sheetnames == ["Summary", "Groups", "Assignments", "Assignments 2", "Rejects"]
    first, second = rows_of(book["Assignments"]), rows_of(book["Assignments 2"])
    assert first[0] == second[0]
    assert [row[0] for row in (*first[1:], *second[1:])] == ["08901", "08902", "08903"]


def test_inputs_that_some_sim_has_are_shown_and_dates_are_dates(written):
    outcome = outcome_of(SIMS)
    assignments = outcome.assignments.with_columns(
        pl.lit(3, dtype=pl.Int64).alias("sms_count"),
        pl.lit(date(2026, 1, 5)).alias("activated_date"),
    )
    row = by_heading(written(replace(outcome, assignments=assignments))["Assignments"])[0]
    assert row["SMS count"] == 3
    assert row["Activated date"] == datetime(2026, 1, 5)  # noqa: DTZ001 - as openpyxl reads dates
    assert "Voice seconds" not in row


def test_an_outcome_without_sims_makes_a_workbook_too(written):
    book = written(outcome_of([("1", "G0001", 0, 0, 0, 0)]))
    assert by_heading(book["Groups"])[-1]["Savings (%)"] == 0
    nothing = replace(
        outcome_of(SIMS), groups=(), units=(), assignments=pl.DataFrame(schema=ASSIGNMENT_SCHEMA)
    )
    assert len(rows_of(written(nothing)["Assignments"])) == 1


def test_money_is_the_nearest_number_to_the_micro_units(written):
    sims = [(f"{k:05d}", "G0001", 7_500_001 * k + 1, 0, 0, 0) for k in range(200)]
    rows = by_heading(written(outcome_of(sims))["Assignments"])
    assert [row["Current cost"] for row in rows] == [sim[2] / 1_000_000 for sim in sims]


def test_headings():
    assert heading("optimized_rate_cost") == "Optimised rate cost"
    assert heading("group_id") == "Group"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.integers(0, 8 * 10**15), st.integers(0, 10**9)),
        max_size=5,
    )
)
def test_rows_are_read_back_as_they_were(tmp_path_factory, rows):
    sims = [
        (f"{k:02d}{text}", "G0001", micros, 0, 0, 0) for k, (text, micros, _) in enumerate(rows)
    ]
    outcome = outcome_of(sims or SIMS)
    assignments = outcome.assignments.head(len(rows)).with_columns(
        pl.Series("sms_count", [count for _, _, count in rows], dtype=pl.Int64)
    )
    path = tmp_path_factory.mktemp("workbook") / "report.xlsx"
    write_workbook(path, replace(outcome, assignments=assignments), no_rejects(), META)
    sheet = load_workbook(path)["Assignments"]
    found = {cell.value: [row[cell.column - 1] for row in rows_of(sheet)[1:]] for cell in sheet[1]}
    assert found["ICCID"] == [cell_text(iccid) for iccid, *_ in sims]
    assert found["Current cost"] == [micros / 1_000_000 for _, micros, _ in rows]
    if "SMS count" in found:
        assert found["SMS count"] == [count for _, _, count in rows]


@given(st.text())
def test_columns_are_cleaned_like_single_texts(text):
    assert pl.select(cell_texts(pl.lit(text))).item() == cell_text(text)


def test_characters_that_xml_does_not_know_are_replaced_and_the_rest_stays():
    assert cell_text("a\x00b\x1fc\rd\ufffee\tf\ng \u00e9\U0001f600") == (
        "a\ufffdb\ufffdc\ufffdd\ufffde\tf\ng \u00e9\U0001f600"
    )
    assert cell_text("x" * 40_000) == "x" * MAX_CELL_CHARACTERS


@pytest.mark.parametrize("text", ["=1+1", "#N/A", "#REF!", "@A1", "+1", "1e5", " x ", "0012"])
def test_texts_that_look_like_something_else_stay_texts(written, text):
    cell = written(outcome_of([(text, "G0001", 1, 0, 0, 0)]))["Assignments"]["A2"]
    assert (cell.value, cell.data_type, cell.number_format) == (text, "s", "@")


def test_readers_that_stream_see_every_row(tmp_path):
    path = tmp_path / "report.xlsx"
    write_workbook(path, outcome_of(SIMS), no_rejects(), META)
    book = load_workbook(path, read_only=True)
    assert [len(rows_of(book[name])) for name in ("Groups", "Assignments", "Rejects")] == [4, 4, 1]
    book.close()


def test_sheets_are_printed_on_wide_pages_with_their_header(written):
    book = written()
    for sheet in book:
        assert sheet.page_setup.orientation == "landscape"
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert sheet.page_setup.fitToHeight == 0
    for sheet in book.worksheets[1:]:
        assert sheet.print_title_rows == "$1:$1"
        assert sheet.row_dimensions[1].height == 32
        assert sheet["A1"].font.bold
    assert (
        book["Assignments"].column_dimensions["A"].width
        < book["Rejects"].column_dimensions["G"].width
    )
    assert not book["Summary"].sheet_view.showGridLines


def test_the_totals_stand_out(written):
    *_, group, total = written()["Groups"].iter_rows()
    assert [cell.font.bold for cell in group] == [False] * len(group)
    assert [cell.font.bold for cell in total] == [True] * len(total)
    assert {cell.fill.fgColor.rgb for cell in total} == {"00D9E2F3"}
    assert [cell.number_format for cell in total] == [cell.number_format for cell in group]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_no_complaint_of_half_written_sheets(
    tmp_path, monkeypatch, fault
):
    def fail(*args, **options):
        raise fault

    monkeypatch.setattr(workbook_module, "assignments_table", fail)
    with pytest.raises(type(fault)):
        write_workbook(tmp_path / "report.xlsx", outcome_of(SIMS), no_rejects(), META)
    fault.__traceback__ = None
    gc.collect()  # a complaint of the collector is a warning, and so an error here


def test_an_interrupt_that_openpyxl_swallows_is_an_interrupt_again(tmp_path, monkeypatch):
    def swallow(*args, **options):
        error = TypeError("expected <class 'int'>")
        error.__context__ = KeyboardInterrupt()  # what a bare except leaves behind
        raise error

    monkeypatch.setattr(workbook_module, "add_summary_sheet", swallow)
    with pytest.raises(KeyboardInterrupt):
        write_workbook(tmp_path / "report.xlsx", outcome_of(SIMS), no_rejects(), META)
