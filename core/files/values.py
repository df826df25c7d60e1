"""Turns text cells into exact values, and says for each refused cell why (B1).

Each function takes a column of trimmed text, shape ``(n,)``, null where a cell is empty, and
returns a :class:`Converted` of the same shape. Nothing raises: a refused cell is data.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from core.domain import MAX_COUNT
from core.files.rejects import RejectReason
from core.units import bytes_from_text, parse_decimal, refusal_reason

TRUE_TEXTS = ("true", "yes", "1")
"""What counts as true, in any case."""
FALSE_TEXTS = ("false", "no", "0")
"""What counts as false, in any case."""

_PLAIN_COUNT = r"^[0-9]{1,15}$"
_ISO_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Converted:
    """Values of a column and what is wrong with its cells.

    Attributes
    ----------
    values
        Shape ``(n,)``; null where the cell is empty or refused.
    problems
        String, shape ``(n,)``: a :class:`~core.files.rejects.RejectReason`, or null where the cell
        is fine. An empty cell is fine unless the column is required.
    """

    values: pl.Series
    problems: pl.Series


def required_text(text: pl.Series) -> Converted:
    """Text that must be there."""
    return Converted(
        values=text, problems=_reason_where(text.is_null(), RejectReason.MISSING_VALUE)
    )


def optional_text(text: pl.Series) -> Converted:
    """Text that may be missing."""
    none = pl.Series([None], dtype=pl.String).new_from_index(0, len(text))
    return Converted(values=text, problems=none)


def required_volume(text: pl.Series, unit_bytes: int) -> Converted:
    """Volume in units of ``unit_bytes`` as Int64 bytes, ``0 .. MAX_USAGE_BYTES``."""
    values = bytes_from_text(text, unit_bytes)
    return Converted(values=values, problems=_refusals(text, values.is_null()))


def optional_count(text: pl.Series) -> Converted:
    """Whole number as Int64, ``0 .. MAX_COUNT``; ``3.0`` is whole, ``1.5`` is refused."""
    is_plain = text.str.contains(_PLAIN_COUNT)
    values = pl.select(pl.when(is_plain).then(text).cast(pl.Int64)).to_series()
    odd = (~is_plain).fill_null(value=False).arg_true()
    if len(odd):
        whole = [_whole_number(cell) for cell in text.gather(odd).to_list()]
        values = values.scatter(odd, pl.Series(whole, dtype=pl.Int64))
    values = pl.select(pl.when(values.is_between(0, MAX_COUNT)).then(values)).to_series()
    refused = text.is_not_null() & values.is_null()
    problems = _refusals(text, refused)
    is_fraction = (problems == RejectReason.OUT_OF_RANGE.value) & text.str.contains(r"[.eE]")
    fractions = is_fraction.fill_null(value=False).arg_true()
    if len(fractions):
        reasons = [_count_reason(cell) for cell in text.gather(fractions).to_list()]
        problems = problems.scatter(fractions, pl.Series(reasons, dtype=pl.String))
    return Converted(values=values, problems=problems)


def optional_date(text: pl.Series) -> Converted:
    """ISO date such as ``2026-01-31``."""
    is_iso = text.str.contains(_ISO_DATE)
    iso = pl.select(pl.when(is_iso).then(text)).to_series()
    values = iso.str.to_date("%Y-%m-%d", strict=False)
    refused = text.is_not_null() & values.is_null()
    return Converted(values=values, problems=_reason_where(refused, RejectReason.INVALID_DATE))


def optional_boolean(text: pl.Series) -> Converted:
    """Boolean, as :func:`boolean_or_none` reads it."""
    lowered = text.str.strip_chars().str.to_lowercase()
    values = pl.select(
        pl.when(lowered.is_in(TRUE_TEXTS)).then(statement=True)
        .when(lowered.is_in(FALSE_TEXTS)).then(statement=False)
    ).to_series()  # fmt: skip
    refused = text.is_not_null() & values.is_null()
    return Converted(values=values, problems=_reason_where(refused, RejectReason.NOT_A_BOOLEAN))


def boolean_or_none(text: str) -> bool | None:
    """Read true, false, yes, no, 1 or 0 in any case; None for anything else."""
    lowered = text.strip().lower()
    if lowered in TRUE_TEXTS:
        return True
    return False if lowered in FALSE_TEXTS else None


def _reason_where(mask: pl.Series, reason: RejectReason) -> pl.Series:
    return pl.select(pl.when(mask).then(pl.lit(reason.value))).to_series()


def _refusals(text: pl.Series, refused: pl.Series) -> pl.Series:
    """Reasons of the refused cells, one by one: they are few."""
    problems = pl.Series([None], dtype=pl.String).new_from_index(0, len(text))
    rows = refused.arg_true()
    if not len(rows):
        return problems
    reasons = [refusal_reason(cell) for cell in text.gather(rows).to_list()]
    return problems.scatter(rows, pl.Series(reasons, dtype=pl.String))


def _whole_number(text: str) -> int | None:
    try:
        value = parse_decimal(text)
    except ValueError:
        return None
    if not 0 <= value <= MAX_COUNT or value != value.to_integral_value():
        return None
    return int(value)


def _count_reason(text: str) -> str:
    """Why a number that is neither negative nor text is no count."""
    is_in_range = parse_decimal(text) <= MAX_COUNT
    return (RejectReason.NOT_A_WHOLE_NUMBER if is_in_range else RejectReason.OUT_OF_RANGE).value
