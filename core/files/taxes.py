"""Reads the taxes file: one row per tax of a jurisdiction, each a :class:`~core.domain.TaxRate` (B6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context
from pathlib import Path

import polars as pl

from core.domain import MAX_TAX_PERCENT_MILLIONTHS, TaxBase, TaxRate
from core.errors import InputError
from core.files.rejects import RejectReason, why_nothing_usable
from core.files.tables import read_table
from core.files.warnings import Warnings, combine_warnings, warn_each
from core.units import parse_decimal

REQUIRED = ("jurisdiction", "name", "percent", "base")
"""Columns that a taxes file must have."""

PERCENT_MILLIONTHS = 1_000_000
"""Millionths of a percent in one percent."""

_DECIMALS = 6

_Problem = tuple[str, RejectReason]
"""Column at fault, and why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaxFile:
    """What a taxes file holds.

    Attributes
    ----------
    taxes
        Sorted by jurisdiction and name, at least one.
    rejects
        Columns of ``REJECT_SCHEMA``.
    warnings
        Jurisdictions of which a tax is rejected, and percentages that look like fractions.
    """

    taxes: tuple[TaxRate, ...]
    rejects: pl.DataFrame
    warnings: Warnings
    notes: tuple[str, ...]


def read_taxes(path: Path) -> TaxFile:
    """Read a taxes file.

    The first valid row of a jurisdiction and name counts; further ones are rejected. ``percent`` is
    a decimal of 0 to 100 with at most six decimals, ``base`` one of ``TaxBase`` in any case.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds no usable row.
    """
    table = read_table(path, required=REQUIRED, optional=())
    columns = [table.text(name).to_list() for name in REQUIRED]
    taxes: dict[tuple[str, str], TaxRate] = {}
    problems: list[_Problem | None] = []
    refused = set()
    for jurisdiction, name, percent, base in zip(*columns, strict=True):
        read = _tax(jurisdiction, name, percent, base)
        if not isinstance(read, TaxRate):
            problems.append(read)
            refused.add((jurisdiction, name))
        elif (read.jurisdiction, read.name) in taxes:
            problems.append(("name", RejectReason.DUPLICATE_TAX))
        else:
            problems.append(None)
            taxes[read.jurisdiction, read.name] = read
    reasons = pl.Series([problem and problem[1].value for problem in problems], dtype=pl.String)
    at_fault = pl.Series([problem and problem[0] for problem in problems], dtype=pl.String)
    rejects = pl.concat([table.rejects, table.rejected(reasons, at_fault)])
    if not taxes:
        raise InputError(f"{path}: nothing usable: {why_nothing_usable(rejects)}")
    ordered = tuple(taxes[key] for key in sorted(taxes))
    partly = warn_each(
        f"{path.name}: a row of jurisdiction {name!r} is rejected: its SIMs are taxed without it"
        for name in sorted({key[0] for key in refused - taxes.keys() if key[0] is not None})
    )
    return TaxFile(
        taxes=ordered,
        rejects=rejects,
        warnings=combine_warnings([partly, _fraction_warning(path.name, ordered)]),
        notes=table.notes,
    )


def jurisdiction_warnings(
    file: str, jurisdictions: pl.Series, taxes: Sequence[TaxRate] | None
) -> Warnings:
    """Count the SIMs that bear no tax since their jurisdiction is missing, or in no row of the taxes.

    Parameters
    ----------
    file
        Name of the devices file.
    jurisdictions
        String, one per SIM of the fleet.
    taxes
        None, without a taxes file, gives no warning.
    """
    if taxes is None:
        return Warnings()
    texts = []
    absent = jurisdictions.null_count()
    if absent:
        texts.append(f"{file}: SIMs without a jurisdiction: {absent:,}. They bear no tax")
    known = pl.Series(sorted({tax.jurisdiction for tax in taxes}), dtype=pl.String)
    named = jurisdictions.drop_nulls()
    unknown = named.filter(~named.is_in(known.implode())).alias("jurisdiction")
    counted = unknown.to_frame().group_by("jurisdiction").len().sort("jurisdiction")
    texts += [
        f"{file}: jurisdiction {name!r} is not in the taxes: its SIMs ({count}) bear no tax"
        for name, count in counted.iter_rows()
    ]
    return warn_each(texts)


def unused_jurisdiction_note(
    file: str, jurisdictions: pl.Series, taxes: Sequence[TaxRate] | None
) -> tuple[str, ...]:
    """Say that a filled column is not used, where no taxes are given."""
    if taxes is not None or jurisdictions.is_null().all():
        return ()
    return (f"{file}: jurisdiction is not used for billing: name a file of taxes with --taxes",)


def _tax(
    jurisdiction: str | None, name: str | None, percent: str | None, base: str | None
) -> TaxRate | _Problem:
    """Return the tax of a row, or its first problem."""
    if jurisdiction is None:
        return "jurisdiction", RejectReason.MISSING_VALUE
    if name is None:
        return "name", RejectReason.MISSING_VALUE
    millionths = _percent_millionths(percent)
    if isinstance(millionths, RejectReason):
        return "percent", millionths
    if base is None:
        return "base", RejectReason.MISSING_VALUE
    if base.lower() not in list(TaxBase):
        return "base", RejectReason.UNKNOWN_TAX_BASE
    return TaxRate(
        jurisdiction=jurisdiction,
        name=name,
        percent_millionths=millionths,
        base=TaxBase(base.lower()),
    )


def _percent_millionths(text: str | None) -> int | RejectReason:
    if text is None:
        return RejectReason.MISSING_VALUE
    try:
        percent = parse_decimal(text)
    except ValueError:
        return RejectReason.NOT_A_NUMBER
    if percent < 0:
        return RejectReason.NEGATIVE
    if percent > MAX_TAX_PERCENT_MILLIONTHS // PERCENT_MILLIONTHS:
        return RejectReason.OUT_OF_RANGE
    if not percent:
        return 0
    if percent.adjusted() < -_DECIMALS:
        return RejectReason.TOO_MANY_DECIMALS
    millionths = percent.scaleb(_DECIMALS, Context(prec=len(percent.as_tuple().digits)))
    is_whole = millionths == int(millionths)
    return int(millionths) if is_whole else RejectReason.TOO_MANY_DECIMALS


def _fraction_warning(file: str, taxes: Sequence[TaxRate]) -> Warnings:
    """Warn where every percentage is below 1: spreadsheets keep 8.25 % as 0.0825."""
    percents = [tax.percent_millionths for tax in taxes if tax.percent_millionths]
    if not percents or max(percents) >= PERCENT_MILLIONTHS:
        return Warnings()
    text = (
        f"{file}: every percent is below 1; write 8.25 for 8.25 %, which a cell that is formatted "
        "as a percentage holds as 0.0825"
    )
    return warn_each([text])
