"""Taxes from files: what is used, what is rejected and why, and what is said of the SIMs (B6)."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from openpyxl import Workbook

from core.domain import TaxBase, TaxRate
from core.errors import InputError
from core.files.inputs import read_inputs
from core.files.taxes import jurisdiction_warnings, read_taxes

HEADER = "jurisdiction,name,percent,base"
GOOD = "NY,Sales,8.25,total"


@pytest.fixture
def taxes(tmp_path: Path):
    """Read taxes from lines of CSV."""

    def read(*lines: str):
        path = tmp_path / "taxes.csv"
        path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
        return read_taxes(path)

    return read


def tax(jurisdiction: str, name: str, millionths: int, base: TaxBase) -> TaxRate:
    return TaxRate(
        jurisdiction=jurisdiction, name=name, percent_millionths=millionths, base=base
    )  # fmt: skip


def test_taxes_are_sorted_by_jurisdiction_and_name(taxes):
    found = taxes("TX,Fee,100,rate", GOOD, "NY,Excise,0.000001,Overage", "Zürich,Sales,0,TOTAL")
    assert found.taxes == (
        tax("NY", "Excise", 1, TaxBase.OVERAGE),
        tax("NY", "Sales", 8_250_000, TaxBase.TOTAL),
        tax("TX", "Fee", 100_000_000, TaxBase.RATE),
        tax("Zürich", "Sales", 0, TaxBase.TOTAL),
    )
    assert found.rejects.is_empty()
    assert found.warnings.count == 0


@pytest.mark.parametrize(
    ("row", "column", "value", "reason"),
    [
        (",Sales,1,total", "jurisdiction", None, "missing_value"),
        ("NY,,1,total", "name", None, "missing_value"),
        ("NY,Other,,total", "percent", None, "missing_value"),
        ("NY,Other,1,", "base", None, "missing_value"),
        ("NY,Other,8%,total", "percent", "8%", "not_a_number"),
        ("NY,Other,nan,total", "percent", "nan", "not_a_number"),
        ("NY,Other,-0.1,total", "percent", "-0.1", "negative"),
        ("NY,Other,100.000001,total", "percent", "100.000001", "out_of_range"),
        ("NY,Other,1e99999999,total", "percent", "1e99999999", "out_of_range"),
        ("NY,Other,0.0000001,total", "percent", "0.0000001", "too_many_decimals"),
        ("NY,Other,8.2500001,total", "percent", "8.2500001", "too_many_decimals"),
        ("NY,Other,1e-99999999,total", "percent", "1e-99999999", "too_many_decimals"),
        ("NY,Other,1,fees", "base", "fees", "unknown_tax_base"),
        ("NY,Sales,1,rate", "name", "Sales", "duplicate_tax"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_cell(taxes, row, column, value, reason):
    found = taxes(GOOD, row)
    assert found.rejects.select("row", "column", "value", "reason").rows() == [
        (3, column, value, reason)
    ]
    assert found.taxes == (tax("NY", "Sales", 8_250_000, TaxBase.TOTAL),)


@pytest.mark.parametrize(
    ("text", "millionths"),
    [("8.25000000", 8_250_000), ("1e1", 10_000_000), ("0e9", 0), (" 99.999999 ", 99_999_999)],
)
def test_a_percentage_is_the_decimal_that_it_shows(taxes, text, millionths):
    assert taxes(f"NY,Sales,{text},total").taxes[0].percent_millionths == millionths


def test_a_jurisdiction_of_which_a_tax_is_missing_is_a_warning(taxes):
    found = taxes(GOOD, "NY,Excise,x,rate", "TX,Fee,x,rate", "TX,Fee,9,rate", "NY,Sales,1,rate")
    assert found.warnings.listed == (
        "taxes.csv: a row of jurisdiction 'NY' is rejected: its SIMs are taxed without it",
    )


def test_percentages_that_look_like_fractions_are_a_warning(taxes):
    assert "write 8.25 for 8.25 %" in taxes("NY,Sales,0.0825,total").warnings.listed[0]
    assert taxes("NY,Sales,0.0825,total", "TX,Sales,1,total").warnings.count == 0
    assert taxes("NY,Sales,0,total").warnings.count == 0


def test_a_file_without_a_usable_row_is_refused(taxes):
    with pytest.raises(InputError, match=r"nothing usable: there are no rows below the header"):
        taxes()
    with pytest.raises(InputError, match=r"all 1 rows are rejected \(negative 1\).*row 2"):
        taxes("NY,Sales,-1,total")


def test_every_format_reads_the_same(taxes, tmp_path):
    expected = taxes(GOOD, "12,Fee,0.1,rate").taxes
    book = Workbook()
    for row in (HEADER.split(","), ["NY", "Sales", 8.25, "total"], [12, "Fee", 0.1, "rate"]):
        book.active.append(row)
    book.save(tmp_path / "taxes.xlsx")
    pl.read_csv(tmp_path / "taxes.csv").write_parquet(tmp_path / "taxes.parquet")
    assert read_taxes(tmp_path / "taxes.xlsx").taxes == expected
    assert read_taxes(tmp_path / "taxes.parquet").taxes == expected


def test_sims_that_bear_no_tax_are_counted():
    column = pl.Series(["NY", None, "XX", "XX", None, "AA"], dtype=pl.String)
    found = jurisdiction_warnings("d.csv", column, [tax("NY", "Sales", 1, TaxBase.RATE)])
    assert found.listed == (
        "d.csv: SIMs without a jurisdiction: 2. They bear no tax",
        "d.csv: jurisdiction 'AA' is not in the taxes: its SIMs (1) bear no tax",
        "d.csv: jurisdiction 'XX' is not in the taxes: its SIMs (2) bear no tax",
    )


def test_without_a_taxes_file_a_filled_jurisdiction_is_a_note(taxes, tmp_path):
    taxes(GOOD, "NY,Excise,x,rate")
    (tmp_path / "p.csv").write_text(
        "code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled\nP1,1,1,1,1,no\n"
    )
    header = "iccid,communication_plan,rate_plan,usage_mb,jurisdiction"
    paths = tmp_path / "d.csv", tmp_path / "p.csv"
    paths[0].write_text(f"{header}\nb,A,P1,1,\na,A,P1,1, NY \n")
    without = read_inputs(*paths, cycle=None, mb_bytes=1 << 20)
    assert without.fleet["jurisdiction"].to_list() == ["NY", None]
    assert without.taxes is None
    assert without.notes == (
        "d.csv: jurisdiction is not used for billing: name a file of taxes with --taxes",
    )
    taxed = read_inputs(*paths, taxes=tmp_path / "taxes.csv", cycle=None, mb_bytes=1 << 20)
    assert taxed.taxes == (tax("NY", "Sales", 8_250_000, TaxBase.TOTAL),)
    assert taxed.notes == ()
    assert taxed.rejects.select("file", "row", "reason").rows() == [
        ("taxes.csv", 3, "not_a_number")
    ]
    assert any("SIMs without a jurisdiction: 1" in text for text in taxed.warnings.listed)
    paths[0].write_text(f"{header}\nb,A,P1,1,\n")
    assert read_inputs(*paths, cycle=None, mb_bytes=1 << 20).notes == ()
