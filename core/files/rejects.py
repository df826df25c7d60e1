"""Rows that cannot be used: why, where they stand, and what they held.

This module owns the shape of every list of rejects, those of files and those of carrier syncs, and
the one place where each reason is put into words: :data:`REASON_SENTENCES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

REJECT_SCHEMA: dict[str, pl.DataType] = {
    "file": pl.String(),  # name of the file, or of another source
    "row": pl.Int64(),  # line as the user sees it: the header is row 1
    "column": pl.String(),  # null where the whole row is broken
    "value": pl.String(),  # the cell as read; null where it is empty
    "reason": pl.String(),  # a RejectReason
    "raw": pl.String(),  # the whole row as JSON
}
"""Columns of ``rejects.csv``."""


class RejectReason(StrEnum):
    """Why a row is left out; :data:`REASON_SENTENCES` says it in words.

    ``NO_DETAILS`` alone leaves no row out, but a part of it. A row is rejected once: for the first of its problems in the order of the file's documented
    columns, and for being a duplicate only where nothing else is wrong with it. So rejected and
    used rows add up to the rows of the file.
    """

    RAGGED_ROW = "ragged_row"
    MISSING_VALUE = "missing_value"
    NUMERIC_ICCID = "numeric_iccid"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_WHOLE_NUMBER = "not_a_whole_number"
    NEGATIVE = "negative"
    OUT_OF_RANGE = "out_of_range"
    TOO_MANY_DECIMALS = "too_many_decimals"
    NOT_A_BOOLEAN = "not_a_boolean"
    INVALID_DATE = "invalid_date"
    ACTIVATED_AFTER_CYCLE_END = "activated_after_cycle_end"
    UNKNOWN_COMMUNICATION_PLAN = "unknown_communication_plan"
    NO_RATE_PLAN_LIST = "no_rate_plan_list"
    INVALID_RATE_PLAN = "invalid_rate_plan"
    BAD_ICCID = "bad_iccid"
    BAD_CHECK_DIGIT = "bad_check_digit"
    NO_DETAILS = "no_details"
    DUPLICATE_ICCID = "duplicate_iccid"
    DUPLICATE_RATE_PLAN = "duplicate_rate_plan"
    DUPLICATE_COMMUNICATION_PLAN = "duplicate_communication_plan"
    UNKNOWN_TAX_BASE = "unknown_tax_base"
    DUPLICATE_TAX = "duplicate_tax"


REASON_SENTENCES: dict[RejectReason, str] = {
    RejectReason.RAGGED_ROW: (
        "The row has more or fewer fields than the header; put fields that hold a comma in quotes."
    ),
    RejectReason.MISSING_VALUE: ("A required value is missing."),
    RejectReason.NUMERIC_ICCID: (
        "The ICCID cell holds a number, so digits may be lost: format the column as text."
    ),
    RejectReason.NOT_A_NUMBER: (
        "The cell is not a number; write numbers as 1234.5, without unit or thousands separator."
    ),
    RejectReason.NOT_A_WHOLE_NUMBER: (
        "The cell counts something (SMS, seconds, minutes, SIMs) and is not a whole number."
    ),
    RejectReason.NEGATIVE: ("The number is below zero."),
    RejectReason.OUT_OF_RANGE: (
        "The number is larger than any real one, or a carrier's is below zero; check its unit. A "
        "percentage is 0 to 100."
    ),
    RejectReason.TOO_MANY_DECIMALS: ("A percentage has at most six decimals."),
    RejectReason.NOT_A_BOOLEAN: ("The cell is none of true, false, yes, no, 1 and 0."),
    RejectReason.INVALID_DATE: ("The cell is not a date; write dates as 2026-01-31."),
    RejectReason.ACTIVATED_AFTER_CYCLE_END: (
        "The SIM was activated after the last day of the billing cycle."
    ),
    RejectReason.UNKNOWN_COMMUNICATION_PLAN: (
        "The SIM's communication plan is missing from the communication plans file."
    ),
    RejectReason.NO_RATE_PLAN_LIST: (
        "The SIM's communication plan lists no usable rate plan of the rate plans file."
    ),
    RejectReason.INVALID_RATE_PLAN: (
        "The rate plan's overage rate or block is not above 0, its overage tiers are not ascending "
        "volumes with rates above 0, as 0=0.10;500=0.05, its min_devices is above its max_devices, or "
        "the SIM is on a rate plan whose row is rejected, for whatever reason."
    ),
    RejectReason.BAD_ICCID: ("The ICCID that the carrier sent has not 19 or 20 digits."),
    RejectReason.BAD_CHECK_DIGIT: (
        "The 20th digit of the ICCID that the carrier sent is not the check digit of the others."
    ),
    RejectReason.NO_DETAILS: (
        "The carrier did not tell when the SIM was activated; it counts as active for the whole cycle."
    ),
    RejectReason.DUPLICATE_ICCID: (
        "An earlier row that can be used has the same ICCID; that row counts."
    ),
    RejectReason.DUPLICATE_RATE_PLAN: (
        "An earlier row that can be used has the same rate plan code; that row counts."
    ),
    RejectReason.DUPLICATE_COMMUNICATION_PLAN: (
        "An earlier row has the same name; that row counts. List all codes in one row, as A;B;C."
    ),
    RejectReason.UNKNOWN_TAX_BASE: ("The base of the tax is none of rate, overage and total."),
    RejectReason.DUPLICATE_TAX: (
        "An earlier row that can be used has the same jurisdiction and name; that row counts."
    ),
}
"""Every reason and what it means, for reports and documentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One rejected row; the fields are those of ``REJECT_SCHEMA``."""

    file: str
    row: int
    column: str | None
    value: str | None
    reason: RejectReason
    raw: str


def no_rejects() -> pl.DataFrame:
    """Return a rejects frame without rows."""
    return pl.DataFrame(schema=REJECT_SCHEMA)


def rejects_frame(rejects: Iterable[Reject]) -> pl.DataFrame:
    """Turn single rejects into a frame with the columns of ``REJECT_SCHEMA``."""
    rows = [(r.file, r.row, r.column, r.value, r.reason.value, r.raw) for r in rejects]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")


def combine_rejects(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put rejects of several files together: files in the order given, rows ascending in each."""
    return pl.concat([no_rejects(), *(frame.sort("row", maintain_order=True) for frame in frames)])


def count_by_reason(rejects: pl.DataFrame) -> dict[str, int]:
    """Count rejected rows by reason, reasons in alphabetical order."""
    counted = rejects.group_by("reason").len().sort("reason")
    return dict(counted.iter_rows())


def reject_lines(rejects: pl.DataFrame, n_lines: int) -> list[str]:
    """Tell the first rejects: one line each with file, row, column, reason and value."""
    lines = []
    for file, row, column, value, reason, _ in rejects.head(n_lines).iter_rows():
        where = f"{file}, row {row}" + (f", column {column}" if column else "")
        held = "empty" if value is None else repr(value)
        lines.append(f"  {where}: {reason}: {held}")
    if rejects.height > n_lines:
        lines.append(f"  and {rejects.height - n_lines:,} more")
    return lines


def why_nothing_usable(rejects: pl.DataFrame) -> str:
    """Say in one line why a file has no usable row: reasons with counts, and the first example."""
    if rejects.is_empty():
        return "there are no rows below the header"
    counts = ", ".join(f"{reason} {count}" for reason, count in count_by_reason(rejects).items())
    row, column, value, reason = (
        rejects.sort("row").select("row", "column", "value", "reason").row(0)
    )
    where = f"row {row}" if column is None else f"row {row}, column {column}"
    held = "an empty cell" if value is None else repr(value)
    return (
        f"all {rejects.height} rows are rejected ({counts}). The first is {where}: {held}. "
        f"{REASON_SENTENCES[RejectReason(reason)]}"
    )
