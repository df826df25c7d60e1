"""Checks of what the carrier sent: every reason once, and nothing good is lost (C4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from core.carriers.base import (
    DEVICE_PAGE_SCHEMA,
    USAGE_PAGE_SCHEMA,
    DevicePage,
    ScanBookmark,
    UsagePage,
)
from core.domain import MAX_COUNT, MAX_USAGE_BYTES
from core.sync.store import REJECT_SCHEMA, USAGE_SUM_SCHEMA
from core.sync.validation import (
    check_devices,
    check_usage,
    sum_rejects,
    usage_flags,
)

MARK = ScanBookmark(asked_at=datetime(2026, 10, 1, tzinfo=UTC))
GOOD = ("89014103270100000058", "ACTIVATED", "FLEX-1MB", "Telemetry East")
OTHER = ("8988216716970004975", "INVENTORY", "FLEX-5MB", "Telemetry West")


def device_page(*rows, number=1):
    raw = [dict(zip(DEVICE_PAGE_SCHEMA, row, strict=True)) for row in rows]
    frame = pl.DataFrame(list(rows), schema=DEVICE_PAGE_SCHEMA, orient="row")
    return DevicePage(number=number, rows=frame, raw=raw, modified_since=None, bookmark=MARK)


def usage_page(*rows, number=1):
    told = [(*row, True) if len(row) == 5 else row for row in rows]
    frame = pl.DataFrame(told, schema=USAGE_PAGE_SCHEMA, orient="row")
    return UsagePage(number=number, rows=frame, raw=[list(row) for row in rows])


def test_good_rows_of_several_pages_pass_in_their_order():
    checked = check_devices([device_page(GOOD), device_page(OTHER, number=2)])
    assert checked.good.select(DEVICE_PAGE_SCHEMA.keys()).rows() == [GOOD, OTHER]
    assert checked.good["page_index"].to_list() == [0, 1]
    assert checked.rejects.height == 0
    assert checked.rejects.schema == pl.Schema(REJECT_SCHEMA)


@pytest.mark.parametrize(
    ("place", "value", "column", "reason"),
    [
        (0, None, "iccid", "missing_value"),
        (0, "", "iccid", "missing_value"),
        (0, "  ", "iccid", "missing_value"),
        (0, "89014103270100000057", "iccid", "bad_check_digit"),
        (0, "890141032701000", "iccid", "bad_iccid"),
        (0, "8901410327010000005X", "iccid", "bad_iccid"),
        (1, None, "status", "missing_value"),
        (2, "", "rate_plan", "missing_value"),
        (3, None, "communication_plan", "missing_value"),
    ],
)
def test_each_broken_value_is_rejected_with_place_reason_and_raw_row(place, value, column, reason):
    broken = (*GOOD[:place], value, *GOOD[place + 1 :])
    checked = check_devices([device_page(GOOD), device_page(OTHER, broken, number=7)])
    assert checked.good["iccid"].to_list() == [GOOD[0], OTHER[0]]
    (reject,) = checked.rejects.to_dicts()
    raw = json.loads(reject.pop("raw"))
    assert reject.pop("iccid") == (None if column == "iccid" else GOOD[0])
    assert raw[column] == value
    assert reject == {
        "source": "devices",
        "page": 7,
        "row": 2,
        "column": column,
        "value": (value or "").strip(),
        "reason": reason,
    }


def test_a_row_with_several_faults_is_rejected_once():
    checked = check_devices([device_page(("x", None, None, None))])
    assert checked.rejects["reason"].to_list() == ["bad_iccid"]


def test_blanks_around_values_are_no_fault():
    checked = check_devices([device_page(tuple(f" {value}\t" for value in GOOD))])
    assert checked.good.select(DEVICE_PAGE_SCHEMA.keys()).rows() == [GOOD]


def test_the_same_sim_twice_passes_twice_because_the_newest_wins_later():
    assert check_devices([device_page(GOOD, GOOD)]).good.height == 2


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ((None, "home", 1, 0, 0), "iccid", "missing_value"),
        ((GOOD[0], "home", None, 0, 0), "usage_bytes", "not_a_number"),
        ((GOOD[0], "home", -1, 0, 0), "usage_bytes", "out_of_range"),
        ((GOOD[0], "home", MAX_USAGE_BYTES + 1, 0, 0), "usage_bytes", "out_of_range"),
        ((GOOD[0], "home", 1, -5, 0), "sms_count", "out_of_range"),
        ((GOOD[0], "home", 1, None, 0), "sms_count", "not_a_number"),
        ((GOOD[0], "home", 1, 0, MAX_COUNT + 1), "voice_seconds", "out_of_range"),
    ],
)
def test_impossible_usage_is_rejected(row, column, reason):
    good = (OTHER[0], "home", MAX_USAGE_BYTES, MAX_COUNT, 0)
    checked = check_usage([usage_page(good, row, number=3)])
    assert checked.good["iccid"].to_list() == [OTHER[0]]
    assert checked.spoilt.rows() == ([] if row[0] is None else [(row[0], "home")])
    (reject,) = checked.rejects.to_dicts()
    assert (reject["source"], reject["page"], reject["row"]) == ("usage", 3, 2)
    assert (reject["column"], reject["reason"]) == (column, reason)


NOTHING = (None, 0, 0, False)


def test_a_row_that_tells_nothing_spoils_nothing_and_is_on_record_where_it_stands_alone():
    told, alone = (OTHER[0], "home", 5, 0, 0), (GOOD[0], "home", *NOTHING)
    untold = (OTHER[0], "abroad", *NOTHING)
    nameless = (None, "home", *NOTHING)
    checked = check_usage([usage_page(untold, told, alone), usage_page(nameless, number=2)])
    assert checked.good["zone"].to_list() == ["home"]
    assert checked.spoilt.is_empty()
    assert checked.rejects.select("page", "row", "reason").rows() == [
        (1, 3, "not_told"),
        (2, 1, "missing_value"),
    ]


def test_impossible_sums_are_rejects_and_unusual_ones_are_flagged():
    sums = pl.DataFrame(
        [
            (1, GOOD[0][:19], GOOD[0], 2 * MAX_USAGE_BYTES, 0, 0, None, None, "impossible"),
            (1, OTHER[0], OTHER[0], 5, MAX_COUNT + 1, 0, None, None, "impossible"),
            (1, "fell", "fell", 5, 0, 0, 6, 6, "fell"),
            (1, "spike", "spike", 1 << 40, 0, 0, None, 6, "spike"),
            (1, "unread", "unread", 4, 0, 0, None, None, "unreadable"),
        ],
        schema=USAGE_SUM_SCHEMA,
        orient="row",
    )
    impossible = sums.head(2)
    rejects, flags = sum_rejects(impossible), usage_flags(sums.tail(3))
    assert rejects.select("source", "reason").rows() == [("usage", "out_of_range")] * 2
    assert flags.select("source", "reason").rows() == [
        ("flag", "usage_fell"),
        ("flag", "usage_spike"),
        ("flag", "usage_unreadable"),
    ]
    assert '"iccid": "fell"' in flags["raw"][0]
    assert flags["value"].to_list() == ["5", str(1 << 40), ""]
    for frame in (rejects, flags):
        assert frame.schema == pl.Schema(REJECT_SCHEMA)
