"""The list of rejected rows: its shape, its order and its words."""

from __future__ import annotations

from core.carriers.iccid import BAD_CHECK_DIGIT, BAD_ICCID
from core.files.rejects import (
    REASON_SENTENCES,
    REJECT_SCHEMA,
    Reject,
    RejectReason,
    combine_rejects,
    count_by_reason,
    no_rejects,
    reject_lines,
    rejects_frame,
    why_nothing_usable,
)
from core.reports.remarks import meaning_of
from core.sync.validation import MISSING_VALUE, NO_DETAILS, NOT_A_NUMBER, OUT_OF_RANGE


def reject(row: int, reason: RejectReason, file: str = "d.csv") -> Reject:
    return Reject(file=file, row=row, column="usage_mb", value="x", reason=reason, raw="{}")


def test_every_reason_has_a_sentence_of_its_own():
    assert set(REASON_SENTENCES) == set(RejectReason)
    assert len(set(REASON_SENTENCES.values())) == len(RejectReason)
    assert all(sentence.endswith(".") for sentence in REASON_SENTENCES.values())


def test_reasons_of_carrier_syncs_have_a_sentence_too():
    reasons = (BAD_ICCID, BAD_CHECK_DIGIT, MISSING_VALUE, NOT_A_NUMBER, OUT_OF_RANGE, NO_DETAILS)
    assert [reason for reason in reasons if not meaning_of(reason)] == []


def test_the_first_rejects_are_told_with_their_place_and_the_others_counted():
    rejects = rejects_frame(reject(row, RejectReason.NEGATIVE) for row in (2, 3, 4))
    assert reject_lines(rejects, 1) == [
        "  d.csv, row 2, column usage_mb: negative: 'x'",
        "  and 2 more",
    ]
    assert len(reject_lines(rejects, 3)) == 3


def test_the_reasons_that_users_rely_on_keep_their_names():
    assert {
        "missing_value", "not_a_number", "negative", "duplicate_iccid",
        "unknown_communication_plan", "invalid_rate_plan",
    } <= {reason.value for reason in RejectReason}  # fmt: skip


def test_no_rejects_have_the_columns_too():
    assert dict(no_rejects().schema) == REJECT_SCHEMA
    assert combine_rejects([]).is_empty()
    assert count_by_reason(no_rejects()) == {}


def test_files_keep_their_order_and_rows_ascend_within_each():
    devices = rejects_frame([reject(5, RejectReason.NEGATIVE), reject(2, RejectReason.NEGATIVE)])
    plans = rejects_frame([reject(3, RejectReason.MISSING_VALUE, file="a.csv")])
    combined = combine_rejects([devices, plans])
    assert combined.select("file", "row").rows() == [("d.csv", 2), ("d.csv", 5), ("a.csv", 3)]
    assert count_by_reason(combined) == {"missing_value": 1, "negative": 2}


def test_a_file_without_a_usable_row_says_why_with_an_example():
    rejects = rejects_frame(
        [reject(3, RejectReason.NEGATIVE), reject(2, RejectReason.NOT_A_NUMBER)]
    )
    text = why_nothing_usable(rejects)
    assert "all 2 rows are rejected (negative 1, not_a_number 1)" in text
    assert "row 2, column usage_mb: 'x'. The cell is not a number" in text
    assert why_nothing_usable(no_rejects()) == "there are no rows below the header"
