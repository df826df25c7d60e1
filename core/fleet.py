"""The fleet: one row per SIM, in columns.

This module owns the shape of per-SIM data between the readers (files, carrier sync) and the
optimiser. A fleet frame is sorted by ICCID, has each ICCID once, and never holds NaN.
"""

from __future__ import annotations

import polars as pl

FLEET_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),  # unique, not empty
    "communication_plan": pl.String(),
    "rate_plan": pl.String(),  # today's plan; may be missing from the catalogue (B9)
    "usage_bytes": pl.Int64(),  # this cycle's data, 0 .. MAX_USAGE_BYTES
    "is_usage_reported": pl.Boolean(),  # False: nothing was reported and usage_bytes is 0 (U1)
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "activated_date": pl.Date(),  # null: active for the whole cycle
    "jurisdiction": pl.String(),  # whose taxes the SIM's charges bear; null: of none (B6)
    "is_locked": pl.Boolean(),  # True: the SIM keeps its plan (O8)
}
"""Columns of a fleet frame; only those of ``NULLABLE`` may be null."""

NULLABLE = ("activated_date", "jurisdiction")
"""Columns in which null has a meaning."""


def normalise_fleet(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring a frame with at least the first four columns into the shape of ``FLEET_SCHEMA``.

    Missing optional columns get their neutral value (reported usage, no SMS, no voice, active for
    the whole cycle, no jurisdiction, not locked); rows are sorted by ICCID.

    Raises
    ------
    ValueError
        If an ICCID stands there twice or a required value is missing.
    """
    neutral = {
        "is_usage_reported": pl.lit(value=True),
        "sms_count": pl.lit(0),
        "voice_seconds": pl.lit(0),
        "activated_date": pl.lit(None),
        "jurisdiction": pl.lit(None),
        "is_locked": pl.lit(value=False),
    }
    frame = frame.with_columns(
        [expr.alias(name) for name, expr in neutral.items() if name not in frame.columns]
    )
    frame = frame.select(
        pl.col(name).cast(dtype, strict=True) for name, dtype in FLEET_SCHEMA.items()
    ).sort("iccid")
    if frame["iccid"].n_unique() != frame.height:
        msg = "a fleet holds each ICCID once"
        raise ValueError(msg)
    required = [name for name in FLEET_SCHEMA if name not in NULLABLE]
    missing = [name for name in required if frame[name].null_count()]
    if missing:
        msg = f"a fleet has a value in every row of {', '.join(missing)}"
        raise ValueError(msg)
    return frame
