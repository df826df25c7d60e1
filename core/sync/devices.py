"""The account's SIMs: listed, checked, staged in batches (C2, C4, C5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from core.carriers.base import DevicePage
from core.carriers.iccid import match_keys
from core.sync.store import DEVICE_STAGE_SCHEMA, DeviceStore
from core.sync.validation import check_devices


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


@dataclass(slots=True, kw_only=True)
class DeviceTally:
    """What has been listed so far.

    Attributes
    ----------
    ask_activation
        ICCIDs whose activation date is needed: the newest form of each by its match key (C4).
    """

    pages: int = 0
    rows: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    ask_activation: dict[str, str] = field(default_factory=dict)


def stage_devices(
    pages: Iterable[DevicePage],
    store: DeviceStore,
    run_id: int,
    *,
    prorated: ProratedPlans,
    batch_rows: int,
    on_progress: Callable[[int], None],
) -> DeviceTally:
    """Stage a listing as it arrives; a few pages are in memory at a time.

    Parameters
    ----------
    batch_rows
        Rows per staging batch, at least; a batch ends with a page.
    on_progress
        Told the number of good rows so far after each batch.

    Returns
    -------
    DeviceTally
        With the ICCIDs whose activation date is needed.
    """
    tally = DeviceTally()
    for batch in _batches(pages, batch_rows):
        checked = check_devices(batch)
        good = checked.good
        store.stage_devices(run_id, _staged(good, tally.rows))
        if checked.rejects.height:
            store.add_rejects(run_id, checked.rejects)
            tally.rejects.update(checked.rejects["reason"].to_list())
        tally.pages += len(batch)
        tally.rows += good.height
        concerned = _concerned(good, batch, prorated)
        tally.ask_activation.update(zip(match_keys(concerned), concerned, strict=True))
        on_progress(tally.rows)
    return tally


def _batches(pages: Iterable[DevicePage], batch_rows: int) -> Iterator[list[DevicePage]]:
    batch: list[DevicePage] = []
    n_rows = 0
    for page in pages:
        batch.append(page)
        n_rows += page.rows.height
        if n_rows >= batch_rows:
            yield batch
            batch, n_rows = [], 0
    if batch:
        yield batch


def _staged(good: pl.DataFrame, first_position: int) -> pl.DataFrame:
    return good.with_columns(
        activated_date=pl.lit(None, dtype=pl.Date),
        position=pl.int_range(first_position, first_position + good.height, dtype=pl.Int64),
    ).select(DEVICE_STAGE_SCHEMA.keys())


def _concerned(good: pl.DataFrame, batch: list[DevicePage], prorated: ProratedPlans) -> pl.Series:
    """ICCIDs whose activation date is needed."""
    recent = [
        index
        for index, page in enumerate(batch)
        if page.modified_since is None or page.modified_since >= prorated.modified_since
    ]
    concerned = good.filter(
        pl.col("page_index").is_in(recent)
        & (
            pl.col("rate_plan").is_in(sorted(prorated.rate_plans))
            | pl.col("communication_plan").is_in(sorted(prorated.communication_plans))
        )
    )
    return concerned["iccid"]
