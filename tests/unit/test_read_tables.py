"""Opening CSV, Parquet and xlsx as the same text cells, with the row numbers that people see."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from core.errors import InputError
from core.files import csv_text
from core.files.tables import read_table

REQUIRED = ("name", "amount")


@pytest.fixture
def write(tmp_path: Path):
    """Write bytes or text into a file of this test and return its path."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def read(path: Path, required=REQUIRED, optional=("note",)):
    return read_table(path, required=required, optional=optional)


def rows_of(path: Path) -> list[tuple]:
    table = read(path)
    columns = [table.text(name) for name in table.cells.columns]
    return list(pl.DataFrame([table.rows, *columns]).iter_rows())


def workbook(path: Path, rows: list[list[object]], extra_sheet: str | None = None) -> Path:
    book = Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    if extra_sheet:
        book.create_sheet(extra_sheet)
    book.save(path)
    return path


class TestCsv:
    def test_cells_are_trimmed_text_and_the_first_row_below_the_header_is_row_2(self, write):
        path = write("a.csv", "name,amount\n x ,1.50\ny,\n")
        assert rows_of(path) == [(2, "x", "1.50"), (3, "y", None)]

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbfname,amount\nx,1\ny,2\n",
            b"name,amount\r\nx,1\r\ny,2\r\n",
            b"name,amount\rx,1\ry,2",
            b"name,amount\nx,1\ny,2",
            b'"name","amount"\n"x","1"\n"y","2"\n',
            b" Name , AMOUNT\nx,1\ny,2\n\n\n",
            b"name,amount,\nx,1,\ny,2,\n",
            b"name,amount\nx,1,,\ny,2\n",
        ],
        ids=[
            "byte order mark", "windows", "old mac", "no last line end", "quoted", "header in capitals",
            "trailing comma", "trailing commas in one row",
        ],
    )  # fmt: skip
    def test_the_same_table_however_it_is_written(self, write, content):
        table = read(write("a.csv", content))
        assert table.text("name").to_list() == ["x", "y"]
        assert table.text("amount").to_list() == ["1", "2"]
        assert table.rows.to_list() == [2, 3]
        assert table.rejects.is_empty()

    def test_row_numbers_count_empty_lines_and_lines_inside_quotes(self, write):
        path = write("a.csv", 'name,amount\n\n"two\nlines",1\n,\ny,2\n')
        assert rows_of(path) == [(3, "two\nlines", "1"), (6, "y", "2")]

    def test_quotes_hold_commas_and_doubled_quotes(self, write):
        path = write("a.csv", 'name,amount\n"a, ""b""",1\n')
        assert rows_of(path) == [(2, 'a, "b"', "1")]

    def test_a_row_with_other_fields_than_the_header_is_rejected_alone(self, write):
        table = read(write("a.csv", "name,amount\nx,1\ny\nz,1,2\nw,4\n"))
        assert table.text("name").to_list() == ["x", "w"]
        assert table.rejects["row"].to_list() == [3, 4]
        assert table.rejects["reason"].to_list() == ["ragged_row", "ragged_row"]
        assert table.rejects["value"].to_list() == [
            "1 fields instead of 2",
            "3 fields instead of 2",
        ]
        raws = [json.loads(raw) for raw in table.rejects["raw"]]
        assert raws == [{"name": "y"}, {"name": "z", "amount": "1", "(further fields)": ["2"]}]

    def test_columns_come_in_any_order_and_others_are_noted(self, write):
        table = read(write("a.csv", "colour,amount,note,name\nred,1,n,x\n"))
        assert (table.text("name")[0], table.text("amount")[0], table.text("note")[0]) == (
            "x", "1", "n",
        )  # fmt: skip
        assert table.notes == ("a.csv: ignored columns: colour",)

    def test_a_column_that_is_not_there_reads_as_empty(self, write):
        assert read(write("a.csv", "name,amount\nx,1\n")).text("note").to_list() == [None]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", ["is empty"]),
            (b"\n\n", ["is empty"]),
            (b",,\nx,1,2\n", ["row 1 is empty"]),
            (b"name\nx\n", ["missing columns: amount", "Found: name"]),
            (b"name;amount\nx;1\n", ["separated by semicolons", "save the file with commas"]),
            (b"name\tamount\nx\t1\n", ["separated by tabs"]),
            (b"name|amount\nx|1\n", ["separated by vertical bars"]),
            (b"name,amount,Name\nx,1,y\n", ["more than once: name"]),
            (b"name,amount\nx,1\n\xe9,2\n", ["line 3", "0xe9", "UTF-8"]),
            ("name,amount\nx,1\n".encode("utf-16"), ["UTF-16"]),
            (b"name,amount\nx,1\n\0,2\n", ["line 3", "not text"]),
            (b'name,amount\nx,1\n"y,2\nz,3\n', ["line 3", "quotes"]),
            (b'name,amount\nx,1\n"y"z,2\n', ["line 3", "quotes"]),
        ],
    )
    def test_an_unreadable_file_is_refused_with_the_place_and_the_remedy(
        self, write, content, words
    ):
        with pytest.raises(InputError) as caught:
            read(write("a.csv", content))
        assert all(word in str(caught.value) for word in ("a.csv", *words))

    def test_a_field_may_be_as_long_as_it_likes_with_and_without_quotes(self, write):
        long = "x" * 200_000
        limit = csv.field_size_limit()
        assert rows_of(write("plain.csv", f"name,amount\n{long},1\n")) == [(2, long, "1")]
        assert rows_of(write("quoted.csv", f'name,amount\n"{long}",1\n')) == [(2, long, "1")]
        assert csv.field_size_limit() == limit

    def test_a_column_without_a_name_is_noted_where_it_is_filled(self, write):
        table = read(write("a.csv", "name,,amount,,\nx, ,1,red,\n"))
        assert table.notes == ("a.csv: ignored columns: column 4 (no name)",)

    @given(
        st.lists(
            st.lists(
                st.text(st.characters(codec="utf-8", exclude_characters='\0\r\n,"'), max_size=4),
                min_size=2,
                max_size=2,
            ),
            max_size=8,
        )
    )
    def test_both_parsers_agree_on_what_both_can_read(self, rows):
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([["name", "amount"], *rows])
        text = buffer.getvalue().rstrip("\n")
        if not csv_text._is_regular(text.encode()):
            return
        fast = csv_text._read_regular(text.encode())
        slow = csv_text._read_any(Path("a.csv"), text)
        assert fast.header == slow.header
        assert [[cell or "" for cell in column] for column in fast.columns] == [
            column.to_list() for column in slow.columns
        ]
        assert fast.rows.to_list() == slow.rows.to_list()


class TestOtherFormats:
    def test_numbers_and_dates_read_the_same_from_every_format(self, tmp_path, write):
        cells = [["a", 0.1], ["b", 1e-7], ["c", 5.0], ["d", 12]]
        texts = ["0.1", "1e-07", "5", "12"]
        from_xlsx = workbook(tmp_path / "a.xlsx", [["name", "amount"], *cells])
        assert read(from_xlsx).text("amount").to_list() == texts
        parquet = tmp_path / "a.parquet"
        frame = pl.DataFrame(cells, schema={"name": pl.String, "amount": pl.Float64}, orient="row")
        frame.write_parquet(parquet)
        from_parquet = read(parquet).text("amount")
        assert from_parquet.cast(pl.Float64).to_list() == [0.1, 1e-7, 5.0, 12.0]
        assert from_parquet.to_list()[2:] == ["5", "12"]

    @pytest.mark.parametrize(
        ("values", "texts"),
        [
            (pl.Series([1, None], dtype=pl.Int8), ["1", None]),
            (pl.Series([0.1, None], dtype=pl.Float32), ["0.1", None]),
            (pl.Series([Decimal("1.50"), None]), ["1.50", None]),
            (pl.Series([True, None]), ["true", None]),
            (pl.Series([date(2026, 1, 5), None]), ["2026-01-05", None]),
            (pl.Series([datetime(2026, 1, 5, tzinfo=UTC), None]), ["2026-01-05", None]),
            (
                pl.Series([datetime(2026, 1, 5, 7, 30, tzinfo=UTC), None]),
                ["2026-01-05T07:30:00", None],
            ),
            (pl.Series([" x ", ""]), ["x", None]),
            (pl.Series(["x", None], dtype=pl.Categorical), ["x", None]),
        ],
    )
    def test_parquet_columns_of_every_scalar_type_become_text(self, tmp_path, values, texts):
        path = tmp_path / "a.parquet"
        pl.DataFrame({"name": ["a", "b"], "amount": values}).write_parquet(path)
        assert read(path).text("amount").to_list() == texts

    def test_a_nested_column_is_refused_where_it_is_needed_and_dropped_elsewhere(self, tmp_path):
        path = tmp_path / "a.parquet"
        extra = {"tags": [["x"]], "at": [time(7, 30)], "blob": [b"x"]}
        pl.DataFrame({"name": ["a"], "amount": ["1"], **extra}).write_parquet(path)
        assert read(path).cells.columns == ["name", "amount"]
        assert read(path).notes == ("a.parquet: ignored columns: tags, at, blob",)
        pl.DataFrame({"name": ["a"], "amount": [["1"]]}).write_parquet(path)
        with pytest.raises(InputError, match=r"column amount holds List\(String\)"):
            read(path)

    def test_xlsx_cells_that_are_no_text_are_remembered(self, tmp_path):
        rows = [
            ["name", "amount"],
            [8901, 1],
            ["8902", "2"],
            [None, None],
            [date(2026, 1, 5), True],
        ]
        table = read(workbook(tmp_path / "a.xlsx", rows))
        assert table.rows.to_list() == [2, 3, 5]
        assert table.text("name").to_list() == ["8901", "8902", "2026-01-05"]
        assert table.text("amount").to_list() == ["1", "2", "true"]
        assert table.number_cells["name"].to_list() == [True, False, True]

    def test_only_the_first_sheet_counts_and_a_note_says_so(self, tmp_path):
        path = workbook(tmp_path / "a.xlsx", [["name", "amount"], ["x", 1]], extra_sheet="More")
        assert read(path).notes == ("a.xlsx: only the first sheet (Sheet) was read",)

    def test_a_formula_needs_its_stored_value_where_the_column_is_used(self, tmp_path):
        unused = [["name", "amount", "sum"], ["x", 1, "=B2*2"]]
        assert read(workbook(tmp_path / "a.xlsx", unused)).text("amount").to_list() == ["1"]
        used = [["name", "amount"], ["x", "=1+1"]]
        with pytest.raises(InputError, match=r"cell B2: the formula has no stored value"):
            read(workbook(tmp_path / "b.xlsx", used))

    @pytest.mark.parametrize("suffix", ["xlsx", "parquet"])
    def test_a_broken_file_is_refused_by_name(self, write, suffix):
        with pytest.raises(InputError, match=rf"a\.{suffix} is not a readable"):
            read(write(f"a.{suffix}", "nothing of the kind"))

    def test_a_workbook_with_a_password_is_refused_with_the_remedy(self, write):
        with pytest.raises(InputError, match="save it as plain"):
            read(write("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"))

    def test_an_empty_workbook_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="is empty"):
            read(workbook(tmp_path / "a.xlsx", []))


class TestNames:
    def test_a_missing_file_a_folder_and_an_unknown_ending_are_refused(self, write, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            read(tmp_path / "no.csv")
        with pytest.raises(InputError, match="is a folder"):
            read(tmp_path)
        with pytest.raises(InputError, match=r"ending in \.txt cannot be read; allowed are \.csv"):
            read(write("a.txt", "name,amount\n"))

    def test_a_name_that_is_too_long_or_no_text_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read: File name too long"):
            read(tmp_path / ("x" * 300 + ".csv"))
        with pytest.raises(InputError, match=r"caf\\udce9.csv: the name is not UTF-8") as caught:
            read(tmp_path / "caf\udce9.csv")
        str(caught.value).encode()

    def test_a_folder_that_may_not_be_entered_is_refused(self, tmp_path, monkeypatch):
        def refuse(self, **options):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "stat", refuse)
        with pytest.raises(InputError, match=r"a\.csv cannot be read: Permission denied"):
            read(tmp_path / "a.csv")

    def test_the_ending_may_be_in_capitals(self, write):
        assert rows_of(write("A.CSV", "name,amount\nx,1\n")) == [(2, "x", "1")]
