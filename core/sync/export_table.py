"""The table that devices with usage are exported as: the columns of a devices file, and two more (C7).

``carrier-opt optimize --devices`` reads it as it stands; it ignores ``status`` and ``usage_bytes``
with a note. Where the carrier reported no usage, the cell is empty and not 0 (U1).
"""

from __future__ import annotations

import polars as pl

from core.units import volume_texts

EXPORT_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "status": pl.String(),
    "rate_plan": pl.String(),
    "communication_plan": pl.String(),
    "usage_bytes": pl.Int64(),  # null, as the three below, where no usage was reported
    "usage_mb": pl.String(),  # the same as a decimal in the provider's MB, exactly
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "activated_date": pl.Date(),
}
"""Columns of an export, in order."""

_FORMULA_START = r"^[=+\-@\t\r]"
_TEXTS = ("iccid", "status", "rate_plan", "communication_plan")


def export_table(devices: pl.DataFrame, mb_bytes: int) -> pl.DataFrame:
    """Make the table of a provider's devices, in their order.

    Parameters
    ----------
    devices
        Columns of ``EXPORT_SCHEMA`` but ``usage_mb``; further ones are left out.
    mb_bytes
        Bytes of the provider's MB.
    """
    usage_mb = volume_texts(devices["usage_bytes"], mb_bytes).alias("usage_mb")
    return devices.with_columns(usage_mb).select(list(EXPORT_SCHEMA))


def guarded(table: pl.DataFrame) -> pl.DataFrame:
    """Put an apostrophe before texts that a spreadsheet would run as a formula.

    Those begin with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return. Numbers and dates are
    none of them. For CSV only, which cannot tell text from formula.
    """
    return table.with_columns(
        pl.when(_is_formula(name))
        .then(pl.concat_str(pl.lit("'"), pl.col(name)))
        .otherwise(name)
        .alias(name)
        for name in _TEXTS
    )


def count_guarded(table: pl.DataFrame) -> int:
    """Count the texts that :func:`guarded` changes."""
    return sum(int(n) for n in table.select(_is_formula(name).sum() for name in _TEXTS).row(0))


def _is_formula(name: str) -> pl.Expr:
    return pl.col(name).str.contains(_FORMULA_START).fill_null(value=False)
