"""Staged SIMs, written by the two functions for many rows (D3)."""

from __future__ import annotations

import polars as pl
import sqlalchemy as sa

from core.storage.bulk import Merge, insert_frame, merge_frame
from core.storage.engine import writing
from core.storage.schema import device_sync_run, jasper_device_staging
from tests.faults.small_account import NOW


def staged(first, n_rows, *, run, shift):
    """Rows of a run for so many SIMs from a number on; every other one has a date."""
    day = pl.date(2026, 10, 1)
    return pl.DataFrame({"n": range(first, first + n_rows)}).select(
        DeviceSyncRunId=run,
        MatchKey=pl.format("{}", pl.col("n") + 10**17),
        ICCID=pl.format("{}", pl.col("n") + 10**18),
        Position=pl.col("n") + shift,
        Status=pl.lit("ACTIVATED"),
        RatePlan=pl.format("PLAN-{}", pl.col("n") % 7 + shift),
        CommunicationPlan=pl.lit("C"),
        ActivatedDate=pl.when(pl.col("n") % 2 == shift % 2).then(day),
        AsksActivation=False,
    )


def stage_before(engine, *, n_rows):
    """What is there before: run 1 with so many SIMs, and run 2."""
    with writing(engine) as connection:
        run = {"ServiceProviderId": 1, "Kind": "full", "Status": "failed", "StartedAt": NOW}
        connection.execute(sa.insert(device_sync_run), [run, run])
        insert_frame(connection, jasper_device_staging, staged(0, n_rows, run=1, shift=0))


def insert(engine, *, n_rows):
    """Add the SIMs of run 2."""
    with writing(engine) as connection:
        insert_frame(connection, jasper_device_staging, staged(0, n_rows, run=2, shift=7))


REPLACED = ("ICCID", "Position", "Status", "RatePlan", "CommunicationPlan", "AsksActivation")
RULES = dict.fromkeys(REPLACED, Merge.REPLACE) | {"ActivatedDate": Merge.REPLACE_UNLESS_NULL}


def merge(engine, *, n_rows):
    """Merge SIMs of run 1; half of them are there already."""
    with writing(engine) as connection:
        merge_frame(
            connection,
            jasper_device_staging,
            staged(n_rows // 2, n_rows, run=1, shift=7),
            keys=("DeviceSyncRunId", "MatchKey"),
            rules=RULES,
            newest_by="Position",
        )
