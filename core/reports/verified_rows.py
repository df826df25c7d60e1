"""Reads ``assignments.parquet`` to be verified, and checks what concerns no solve unit (O3)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from core.errors import CheckFailedError, InputError
from core.outcome import ASSIGNMENT_SCHEMA, REASON_UNPRICED
from core.reports.certificate_file import fleet_hash
from core.reports.certificate_reader import CertificateFile
from core.reports.comparison import same


def read_rows(path: Path) -> pl.DataFrame:
    """Read the file.

    Raises
    ------
    InputError
        If it cannot be read, or has other columns than ``ASSIGNMENT_SCHEMA``.
    """
    try:
        rows = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if dict(rows.schema) != ASSIGNMENT_SCHEMA:
        wrong = sorted(
            name
            for name in {*rows.columns, *ASSIGNMENT_SCHEMA}
            if rows.schema.get(name) != ASSIGNMENT_SCHEMA.get(name)
        )
        raise InputError(f"{path} has other columns than this version writes: {', '.join(wrong)}")
    return rows


def check_rows(claimed: CertificateFile, rows: pl.DataFrame) -> None:
    """Compare the rows as a whole with what ``certificate.json`` says about its input.

    Raises
    ------
    CheckFailedError
        Naming what differs, and the SIM where one is at fault.
    """
    same("the number of SIMs in assignments.parquet", rows.height, claimed.devices)
    if not rows["iccid"].is_sorted() or rows["iccid"].n_unique() != rows.height:
        raise CheckFailedError("assignments.parquet is not sorted by ICCID, or has one twice")
    same("the hash of the input in assignments.parquet", fleet_hash(rows), claimed.input_hash)
    unpriced = rows.filter(pl.col("unit_id").is_null())
    same("the number of unpriced SIMs", unpriced.height, claimed.unpriced)
    costs = [name for name in ASSIGNMENT_SCHEMA if name.endswith("_micros")]
    is_wrong = {
        "recommended_rate_plan": pl.col("recommended_rate_plan").ne_missing(
            pl.col("current_rate_plan")
        ),
        "reason": pl.col("reason").ne_missing(REASON_UNPRICED),
        **{
            name: pl.col(name).is_not_null() for name in ("group_id", "next_best_rate_plan", *costs)
        },
    }
    for name, test in is_wrong.items():
        wrong = unpriced.filter(test)
        if wrong.height:
            raise CheckFailedError(
                f"{name} of the unpriced SIM {wrong['iccid'][0]} is {wrong[name][0]}: it keeps its "
                f"plan, is in no group and no cost, and its reason is {REASON_UNPRICED}"
            )
    codes = [plan.code for plan in claimed.rate_plans]
    known = unpriced.filter(pl.col("current_rate_plan").is_in(codes))
    if known.height:
        raise CheckFailedError(
            f"SIM {known['iccid'][0]} counts as unpriced, and its rate plan "
            f"{known['current_rate_plan'][0]!r} is in the catalogue"
        )
