"""What the carrier sent, checked: good rows go on, the others are kept with a reason (C4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from core.carriers.base import DevicePage, UsagePage
from core.carriers.iccid import iccid_problems
from core.domain import MAX_COUNT, MAX_USAGE_BYTES
from core.sync.store import REJECT_SCHEMA

MISSING_VALUE = "missing_value"
"""Reason: null, empty or blank."""

NOT_A_NUMBER = "not_a_number"
"""Reason: usage that cannot be read as a whole number."""

NOT_TOLD = "not_told"
"""Reason: a row without any usage of a SIM of which no other row tells some; it says nothing (U1)."""

OUT_OF_RANGE = "out_of_range"
"""Reason: usage below 0 or beyond what one SIM can use in a cycle."""

USAGE_FELL = "usage_fell"
"""Flag: less usage than was known of the same cycle, which stays: counters only grow within a cycle."""

USAGE_UNREADABLE = "usage_unreadable"
"""Flag: a part of a SIM's usage could not be read, so that what was known of it stays."""

USAGE_SPIKE = "usage_spike"
"""Flag: far more usage than in the cycle before."""

NO_DETAILS = "no_details"
"""Reason: the activation date could not be read; the SIM counts as active for the whole cycle."""

_DEVICE_COLUMNS = ("iccid", "status", "rate_plan", "communication_plan")
_USAGE_LIMITS = {
    "usage_bytes": MAX_USAGE_BYTES,
    "sms_count": MAX_COUNT,
    "voice_seconds": MAX_COUNT,
}
_PLACE = ("page", "row")
_FLAGS = {"unreadable": USAGE_UNREADABLE, "fell": USAGE_FELL, "spike": USAGE_SPIKE}
"""Flags by the problem of a SIM's staged usage."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Good rows with the columns of their pages, and ``REJECT_SCHEMA`` for the others.

    Good rows also have ``page_index``: which of the given pages they stood on, from 0.
    """

    good: pl.DataFrame
    rejects: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedUsage(Checked):
    """Checked usage; ``spoilt`` has ``iccid`` and ``zone`` of rows with usage that cannot be read.

    Rows that tell nothing are none of them: they take nothing away from what other rows tell.
    """

    spoilt: pl.DataFrame


def check_devices(pages: Sequence[DevicePage]) -> Checked:
    """Check device rows of one or more pages, vectorised; each row has at most one reason.

    Blanks around values are removed. ICCID, status, rate plan and communication plan must be
    there; an ICCID has 19 or 20 digits, with 20 the last is a right check digit. Duplicates are
    good: the newest wins at publishing.
    """
    rows = _placed(pages).with_columns(
        pl.col(name).str.strip_chars().replace("", None) for name in _DEVICE_COLUMNS
    )
    is_missing = [(pl.col(name).is_null(), name, MISSING_VALUE) for name in _DEVICE_COLUMNS[1:]]
    rows = rows.with_columns(iccid_problems(rows["iccid"]).alias("iccid_problem"))
    rows = _with_first_problem(
        rows,
        [
            (pl.col("iccid").is_null(), "iccid", MISSING_VALUE),
            (pl.col("iccid_problem").is_not_null(), "iccid", pl.col("iccid_problem")),
            *is_missing,
        ],
    )
    return _split(rows, pages, "devices", _DEVICE_COLUMNS)


def check_usage(pages: Sequence[UsagePage]) -> CheckedUsage:
    """Check usage rows of one or more pages, vectorised; each row has at most one reason.

    A row that tells nothing is passed over beside one of the same SIM that tells some usage.
    """
    rows = _placed(pages).with_columns(pl.col("iccid").str.strip_chars().replace("", None))
    is_told, has_sim = pl.col("is_told"), pl.col("iccid").is_not_null()
    rows = rows.filter(is_told | ~(has_sim & is_told.any().over("iccid")))
    problems: list[tuple[pl.Expr, str, str | pl.Expr]] = [
        (~has_sim, "iccid", MISSING_VALUE),
        (~is_told, "usage_bytes", NOT_TOLD),
    ]
    for name, largest in _USAGE_LIMITS.items():
        problems.append((pl.col(name).is_null(), name, NOT_A_NUMBER))
        problems.append((~pl.col(name).is_between(0, largest), name, OUT_OF_RANGE))
    rows = _with_first_problem(rows, problems)
    checked = _split(rows, pages, "usage", ("iccid", "zone", *_USAGE_LIMITS))
    is_spoilt = pl.col("reason").is_not_null() & is_told & has_sim
    return CheckedUsage(
        good=checked.good,
        rejects=checked.rejects,
        spoilt=rows.filter(is_spoilt).select("iccid", "zone"),
    )


def sum_rejects(sums: pl.DataFrame) -> pl.DataFrame:
    """Return the ``REJECT_SCHEMA`` rows of impossible sums."""
    return _about_sums(sums, "usage", pl.lit(OUT_OF_RANGE))


def usage_flags(sums: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``REJECT_SCHEMA`` for usage that is unusual, or of which a part is missing (C4)."""
    readable = pl.when(pl.col("problem") != "unreadable").then("usage_bytes")
    reason = pl.col("problem").replace_strict(_FLAGS, return_dtype=pl.String)
    return _about_sums(sums.with_columns(usage_bytes=readable), "flag", reason)


def _about_sums(sums: pl.DataFrame, source: str, reason: pl.Expr) -> pl.DataFrame:
    raw = [json.dumps(row) for row in sums.drop("match_key", "problem").iter_rows(named=True)]
    return sums.select(
        pl.lit(source).alias("source"),
        pl.lit(0, dtype=pl.Int64).alias("page"),
        pl.lit(0, dtype=pl.Int64).alias("row"),
        pl.lit("usage_bytes").alias("column"),
        pl.col("usage_bytes").cast(pl.String).fill_null("").alias("value"),
        reason.alias("reason"),
        pl.Series("raw", raw, dtype=pl.String),
        pl.col("iccid"),
    )


def missing_details(iccid: str, why: str) -> pl.DataFrame:
    """Return the ``REJECT_SCHEMA`` row of a SIM whose details could not be read."""
    row = ("devices", 0, 0, "activated_date", iccid, NO_DETAILS, why[:500], iccid)
    return pl.DataFrame([row], schema=REJECT_SCHEMA, orient="row")


def _placed(pages: Sequence[DevicePage | UsagePage]) -> pl.DataFrame:
    """All rows with the page and row where they stood; ``page_index`` counts the given pages."""
    frames = [
        page.rows.with_columns(
            page=pl.lit(page.number, dtype=pl.Int64),
            row=pl.int_range(1, page.rows.height + 1, dtype=pl.Int64),
            page_index=pl.lit(index, dtype=pl.Int64),
        )
        for index, page in enumerate(pages)
    ]
    return pl.concat(frames)


def _with_first_problem(
    rows: pl.DataFrame, problems: Sequence[tuple[pl.Expr, str, str | pl.Expr]]
) -> pl.DataFrame:
    """Add ``column``, ``value`` and ``reason`` of each row's first problem, null where it has none."""

    def first(outcomes: Sequence[pl.Expr]) -> pl.Expr:
        return pl.coalesce(
            pl.when(is_wrong).then(outcome)
            for (is_wrong, _, _), outcome in zip(problems, outcomes, strict=True)
        )

    reasons = [r if isinstance(r, pl.Expr) else pl.lit(r) for _, _, r in problems]
    return rows.with_columns(
        column=first([pl.lit(name) for _, name, _ in problems]),
        value=first([pl.col(name).cast(pl.String) for _, name, _ in problems]),
        reason=first(reasons),
    )


def _split(
    rows: pl.DataFrame,
    pages: Sequence[DevicePage | UsagePage],
    source: str,
    columns: Sequence[str],
) -> Checked:
    bad = rows.filter(pl.col("reason").is_not_null())
    good = rows.filter(pl.col("reason").is_null()).select(*columns, "page_index")
    raw = [
        json.dumps(pages[index].raw[row - 1])
        for index, row in bad.select("page_index", "row").iter_rows()
    ]
    rejects = bad.select(
        pl.lit(source).alias("source"),
        *(pl.col(name).cast(pl.Int64) for name in _PLACE),
        "column",
        pl.col("value").fill_null(""),
        "reason",
        iccid=pl.when(iccid_problems(bad["iccid"]).is_null()).then("iccid"),
    ).with_columns(pl.Series("raw", raw, dtype=pl.String))
    rejects = rejects.select(REJECT_SCHEMA.keys())
    return Checked(good=good, rejects=rejects)
