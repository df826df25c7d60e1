"""Devices from files: every row is used or rejected, once, whatever the format and the order."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from core.domain import BillingCycle, CommunicationPlan
from core.errors import InputError, NotAvailableError
from core.files.devices import Catalogue, read_devices
from core.files.iccid import has_valid_check_digit, iccid_warnings
from core.files.inputs import read_inputs
from core.files.warnings import Warnings, combine_warnings
from core.fleet import FLEET_SCHEMA

HEADER = "iccid,communication_plan,rate_plan,usage_mb"
MB = 1 << 20
JANUARY = BillingCycle(start_date=date(2026, 1, 1), end_date=date(2026, 1, 31))
EVERY_PLAN = Catalogue(
    usable_codes={"P1", "P2"}, refused_codes={"PX"}, communication_plans=None
)  # fmt: skip
WITH_LISTS = Catalogue(
    usable_codes={"P1", "P2"},
    refused_codes={"PX"},
    communication_plans=(
        CommunicationPlan(name="A", rate_plan_codes=("P1", "P2")),
        CommunicationPlan(name="E", rate_plan_codes=()),
        CommunicationPlan(name="F", rate_plan_codes=("PX", "P9")),
    ),
)


@pytest.fixture
def devices(tmp_path: Path):
    """Read devices from lines of CSV."""

    def read(*lines: str, header=HEADER, catalogue=EVERY_PLAN, cycle=None, mb_bytes=MB):
        path = tmp_path / "devices.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return read_devices(path, catalogue=catalogue, cycle=cycle, mb_bytes=mb_bytes)

    return read


def problems(frame: pl.DataFrame) -> list[tuple]:
    return list(frame.select("row", "column", "value", "reason").iter_rows())


def test_a_fleet_is_sorted_by_iccid_and_has_every_column(devices):
    fleet = devices("b,A,P2,0.5", "a,A,P1,0").fleet
    assert dict(fleet.schema) == FLEET_SCHEMA
    assert fleet.rows() == [
        ("a", "A", "P1", 0, True, 0, 0, None, None, False),
        ("b", "A", "P2", MB // 2, True, 0, 0, None, None, False),
    ]


def test_usage_is_exact_and_rounded_half_up_to_bytes(devices):
    fleet = devices("a,A,P1,0.0000015", "b,A,P1,0.1234567", mb_bytes=1_000_000).fleet
    assert fleet["usage_bytes"].to_list() == [2, 123_457]


def test_optional_columns(devices):
    header = HEADER + ",sms_count,voice_seconds,activated_date,locked"
    found = devices(
        "a,A,P1,1,3,60,2026-01-05,no", "b,A,P1,1,4.0,,,", header=header, cycle=JANUARY
    ).fleet
    assert found["sms_count"].to_list() == [3, 4]
    assert found["voice_seconds"].to_list() == [60, 0]
    assert found["activated_date"].to_list() == [date(2026, 1, 5), None]


@pytest.mark.parametrize(
    ("line", "column", "value", "reason"),
    [
        (",A,P1,1,,", "iccid", None, "missing_value"),
        ("x,,P1,1,,", "communication_plan", None, "missing_value"),
        ("x,A,,1,,", "rate_plan", None, "missing_value"),
        ("x,A,P1,,,", "usage_mb", None, "missing_value"),
        ("x,A,P1,12 MB,,", "usage_mb", "12 MB", "not_a_number"),
        ('x,A,P1,"1,5",,', "usage_mb", "1,5", "not_a_number"),
        ("x,A,P1,NaN,,", "usage_mb", "NaN", "not_a_number"),
        ("x,A,P1,inf,,", "usage_mb", "inf", "not_a_number"),
        ("x,A,P1,-0.1,,", "usage_mb", "-0.1", "negative"),
        ("x,A,P1,1073741825,,", "usage_mb", "1073741825", "out_of_range"),
        ("x,A,P1,1,1.5,", "sms_count", "1.5", "not_a_whole_number"),
        ("x,A,P1,1,-2,", "sms_count", "-2", "negative"),
        ("x,A,P1,1,9999999999,", "sms_count", "9999999999", "out_of_range"),
        ("x,A,P1,1,many,", "sms_count", "many", "not_a_number"),
        ("x,A,P1,1,,05.01.2026", "activated_date", "05.01.2026", "invalid_date"),
        ("x,A,P1,1,,2026-02-30", "activated_date", "2026-02-30", "invalid_date"),
        ("x,A,P1,1,,2026-01-05 10:00", "activated_date", "2026-01-05 10:00", "invalid_date"),
        ("x,A,P1,1,,2026-02-01", "activated_date", "2026-02-01", "activated_after_cycle_end"),
        ("x,B,P1,1,,", "communication_plan", "B", "unknown_communication_plan"),
        ("x,E,P1,1,,", "communication_plan", "E", "no_rate_plan_list"),
        ("x,F,P1,1,,", "communication_plan", "F", "no_rate_plan_list"),
        ("x,A,PX,1,,", "rate_plan", "PX", "invalid_rate_plan"),
        ("ok,A,P1,1,,", "iccid", "ok", "duplicate_iccid"),
        # Two things are wrong: the first column counts.
        ("x,B,PX,-1,,", "communication_plan", "B", "unknown_communication_plan"),
        ("ok,A,P1,-1,,", "usage_mb", "-1", "negative"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_cell(devices, line, column, value, reason):
    found = devices(
        "ok,A,P1,1,,",
        line,
        header=HEADER + ",sms_count,activated_date",
        catalogue=WITH_LISTS,
        cycle=JANUARY,
    )
    assert found.fleet["iccid"].to_list() == ["ok"]
    assert problems(found.rejects) == [(3, column, value, reason)]
    raw = json.loads(found.rejects["raw"][0])
    assert raw[column] == value
    assert list(raw) == [*HEADER.split(","), "sms_count", "activated_date"]


def test_limits_are_inside_the_allowed_range(devices):
    header = HEADER + ",sms_count,activated_date"
    found = devices(
        f"x,A,P1,1073741824,{2**31},2026-01-31", header=header, cycle=JANUARY
    )  # 2**50 bytes
    assert found.fleet["usage_bytes"].to_list() == [2**50]
    assert found.fleet["sms_count"].to_list() == [2**31]


def test_the_first_valid_row_of_an_iccid_counts(devices):
    found = devices("a,A,P1,x", "a,A,P1,2", " a ,A,P2,3")
    assert found.fleet["usage_bytes"].to_list() == [2 * MB]
    assert problems(found.rejects) == [
        (2, "usage_mb", "x", "not_a_number"),
        (4, "iccid", "a", "duplicate_iccid"),
    ]


def test_an_unknown_rate_plan_is_no_reject_but_a_warning(devices):
    found = devices("a,A,P9,1", "b,A,P9,1", "c,A,P1,1")
    assert found.fleet.height == 3
    assert found.warnings == Warnings(
        count=1,
        listed=(
            "devices.csv: rate plan 'P9' is not in the rate plans: its SIMs (2) keep it, unpriced",
        ),
    )


def test_without_cycle_dates_activation_dates_are_ignored_with_a_note(devices):
    header = HEADER + ",activated_date"
    found = devices("a,A,P1,1,whenever", header=header)
    assert found.fleet["activated_date"].to_list() == [None]
    assert "activated_date is ignored" in found.notes[0]
    assert devices("a,A,P1,1,", header=header).notes == ()


def test_a_file_without_a_usable_row_is_refused(devices):
    with pytest.raises(InputError, match=r"nothing usable: there are no rows below the header"):
        devices()
    with pytest.raises(InputError, match=r"all 2 rows are rejected \(negative 2\).*row 2"):
        devices("a,A,P1,-1", "b,A,P1,-2")


@pytest.mark.parametrize("column", ["projected_usage_mb", "customer", "optimization_group"])
def test_a_filled_column_of_a_later_version_is_refused(devices, column):
    with pytest.raises(NotAvailableError, match=rf"column {column} \(row 3: 'yes'\)"):
        devices("a,A,P1,1,", "b,A,P1,1,yes", header=f"{HEADER},{column}")


def test_a_sim_may_be_locked_and_anything_but_yes_and_no_is_rejected(devices):
    words = ["Yes", "TRUE", "1", "no", "FALSE", "0", "", "maybe"]
    found = devices(
        *[f"s{k},A,P1,1,{word}" for k, word in enumerate(words)], header=HEADER + ",locked"
    )
    assert found.fleet["is_locked"].to_list() == [True] * 3 + [False] * 4
    assert problems(found.rejects) == [(9, "locked", "maybe", "not_a_boolean")]


def test_numeric_iccids_are_rejected_one_by_one_in_xlsx(tmp_path):
    book = Workbook()
    book.active.append(HEADER.split(","))
    book.active.append([8901234567890123456, "A", "P1", 1])
    book.active.append(["8901234567890123456", "A", "P1", 1])
    path = tmp_path / "devices.xlsx"
    book.save(path)
    found = read_devices(path, catalogue=EVERY_PLAN, cycle=None, mb_bytes=MB)
    assert found.rejects.select("row", "column", "reason").rows() == [(2, "iccid", "numeric_iccid")]
    assert found.fleet.height == 1


def test_a_parquet_file_with_numbers_as_iccids_is_refused(tmp_path):
    path = tmp_path / "devices.parquet"
    pl.DataFrame(
        {"iccid": [8901], "communication_plan": "A", "rate_plan": "P1", "usage_mb": 1.0}
    ).write_parquet(path)
    with pytest.raises(InputError, match="column iccid holds Int64 values"):
        read_devices(path, catalogue=EVERY_PLAN, cycle=None, mb_bytes=MB)


class TestIccids:
    def test_known_check_digits(self):
        # From the right, every second digit doubled, less 9 where above 9:
        # 4+2+5+8+0+4+3+0+0+0+0+4+1+0+1+2+9+9+8 = 60; with a 5 at the end 61.
        good, bad = "8991101200003204514", "8991101200003204515"
        assert has_valid_check_digit([good, bad], 19).to_list() == [True, False]
        assert has_valid_check_digit(["89014103211118510720"], 20).to_list() == [True]

    @given(st.lists(st.text("0123456789", min_size=20, max_size=20), min_size=1))
    def test_the_check_equals_a_plain_reading_of_luhns_formula(self, iccids):
        def is_valid(number: str) -> bool:
            total = 0
            for place, digit in enumerate(reversed(number)):
                value = int(digit) * (2 if place % 2 else 1)
                total += value - 9 if value > 9 else value
            return total % 10 == 0

        assert has_valid_check_digit(iccids, 20).to_list() == [is_valid(n) for n in iccids]

    def test_only_numbers_of_19_or_20_digits_are_checked(self):
        iccids = pl.Series(["89911012000032045110x", "123", "899110120000320451", "SIM-1"])
        assert iccid_warnings("f", iccids) == Warnings()

    def test_all_are_counted_and_the_first_twenty_are_told(self):
        iccids = pl.Series([f"{n:019d}" for n in range(1, 100)])
        valid = sum(has_valid_check_digit(iccids, 19))
        found = iccid_warnings("f", iccids)
        assert found.count == 99 - valid
        assert len(found.listed) == 20
        both = combine_warnings([found, found])
        assert (both.count, len(both.listed)) == (2 * found.count, 20)

    def test_a_number_shortened_by_a_spreadsheet_is_warned_of(self):
        found = iccid_warnings("f", pl.Series(["8.90123E+18"]))
        assert found.listed == (
            "f: ICCID 8.90123E+18 looks like a number that a spreadsheet has shortened",
        )


DEVICE = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.sampled_from(["A", "E", "Z", ""]),
    st.sampled_from(["P1", "P9", "PX", ""]),
    st.sampled_from(["1", "0.25", "-1", "x", ""]),
)


@settings(max_examples=20)
@given(rows=st.lists(DEVICE, min_size=1, max_size=8, unique_by=lambda row: row[0]), data=st.data())
def test_format_row_order_and_column_order_do_not_matter(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("same")
    rows = [("ok", "A", "P1", "1"), *rows]
    names = HEADER.split(",")
    csv_path, xlsx_path = folder / "d.csv", folder / "d.xlsx"
    csv_path.write_text("\n".join(",".join(row) for row in [names, *rows]) + "\n")
    row_order = data.draw(st.permutations(range(len(rows))))
    column_order = data.draw(st.permutations(range(4)))
    book = Workbook()
    book.active.append([names[k] for k in column_order])
    for place in row_order:
        book.active.append([rows[place][k] or None for k in column_order])
    book.save(xlsx_path)
    parquet_path = folder / "d.parquet"
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(parquet_path)
    found = [
        read_devices(path, catalogue=WITH_LISTS, cycle=None, mb_bytes=MB)
        for path in (csv_path, xlsx_path, parquet_path)
    ]
    assert found[0].fleet.equals(found[1].fleet)
    assert found[0].fleet.equals(found[2].fleet)
    assert len({(f.warnings.count, len(f.warnings.listed)) for f in found}) == 1
    reasons = [sorted(f.rejects.select("column", "value", "reason").rows(), key=str) for f in found]
    assert reasons[0] == reasons[1] == reasons[2]
    assert found[0].fleet.height + found[0].rejects.height == len(rows)


def test_inputs_are_read_together_with_rejects_of_all_files(tmp_path):
    (tmp_path / "d.csv").write_text(f"{HEADER}\na,A,P1,1\nb,A,PX,1\nc,B,P1,1\n")
    (tmp_path / "p.csv").write_text(
        "code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled\n"
        "P1,1,1,1,1,no\nPX,1,1,0,1,no\n"
    )
    (tmp_path / "c.csv").write_text("name,rate_plan_codes\nA,P1;PX\n,P1\n")
    inputs = read_inputs(
        tmp_path / "d.csv", tmp_path / "p.csv", tmp_path / "c.csv", cycle=None, mb_bytes=MB
    )
    assert inputs.fleet["iccid"].to_list() == ["a"]
    assert [plan.code for plan in inputs.rate_plans] == ["P1"]
    assert inputs.communication_plans is not None
    assert inputs.rejects.select("file", "row", "reason").rows() == [
        ("d.csv", 3, "invalid_rate_plan"),
        ("d.csv", 4, "unknown_communication_plan"),
        ("p.csv", 3, "invalid_rate_plan"),
        ("c.csv", 3, "missing_value"),
    ]
    assert inputs.warnings.count == 1
    alone = read_inputs(tmp_path / "d.csv", tmp_path / "p.csv", cycle=None, mb_bytes=MB)
    assert alone.communication_plans is None
    assert alone.fleet["iccid"].to_list() == ["a", "c"]
