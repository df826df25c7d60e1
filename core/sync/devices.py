"""The account's SIMs: listed, checked, staged page by page (C2, C4, C5)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from core.carriers.base import DevicePage
from core.sync.store import DEVICE_STAGE_SCHEMA, DeviceStore, OnProgress, SyncRun
from core.sync.validation import check_devices

_SWEEP, _PAGE = 10**12, 10**4
"""Steps of positions: pages have at most 10,000 rows, lists far fewer than 100 million pages."""

_REPEATS, _ATTEMPT = 10_000, 100
"""Sweeps of what was modified meanwhile come after all others, those of a later process after those of
an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProratedPlans:
    """Which SIMs need their activation date: those that a prorated plan concerns (B2).

    Attributes
    ----------
    rate_plans
        Codes of prorated plans: SIMs that are on one need the date.
    communication_plans
        Names of communication plans whose list offers a prorated plan.
    modified_since
        A SIM activated in this cycle was modified in it, so only SIMs modified since then are
        asked about; the others count as active for the whole cycle.
    """

    rate_plans: Collection[str] = frozenset()
    communication_plans: Collection[str] = frozenset()
    modified_since: datetime


def stage_devices(
    pages: Iterable[DevicePage],
    store: DeviceStore,
    run: SyncRun,
    *,
    prorated: ProratedPlans,
    on_progress: OnProgress,
) -> SyncRun:
    """Stage a listing page by page, each with its bookmark in one transaction.

    A page is all that is lost when the process dies, and all that is in memory.

    Parameters
    ----------
    on_progress
        Told the number of good rows so far after each page.

    Returns
    -------
    SyncRun
        With the progress that was made.
    """
    for page in pages:
        run = replace(run, progress=replace(run.progress, scan=page.bookmark))
        if page.rows.is_empty():
            store.save_progress(run, run.progress)
            continue
        checked = check_devices([page])
        rows = _staged(checked.good, page, _first_position(page, run.attempt), prorated)
        store.stage_devices(run, rows, checked.rejects, run.progress)
        run = replace(run, staged_rows=run.staged_rows + rows.height)
        on_progress("SIMs listed", run.staged_rows)
    run = replace(run, progress=replace(run.progress, is_listed=True))
    store.save_progress(run, run.progress)
    return run


def _first_position(page: DevicePage, attempt: int) -> int:
    """Position of a page's first row: the newer of two rows of one SIM has the larger one (C4)."""
    sweep = _REPEATS + attempt * _ATTEMPT + page.sweep if page.is_repeat else page.sweep
    return sweep * _SWEEP + page.number * _PAGE


def _staged(
    good: pl.DataFrame, page: DevicePage, first_position: int, prorated: ProratedPlans
) -> pl.DataFrame:
    is_recent = page.modified_since is None or page.modified_since >= prorated.modified_since
    is_prorated = pl.col("rate_plan").is_in(sorted(prorated.rate_plans)) | pl.col(
        "communication_plan"
    ).is_in(sorted(prorated.communication_plans))
    return good.with_columns(
        activated_date=pl.lit(None, dtype=pl.Date),
        asks_activation=is_prorated & pl.lit(is_recent),
        position=pl.int_range(first_position, first_position + good.height, dtype=pl.Int64),
    ).select(DEVICE_STAGE_SCHEMA.keys())
