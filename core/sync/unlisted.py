"""SIMs that a carrier does not list, found by their usage (C2).

Some accounts refuse lists that begin long ago, so that a SIM that nobody has touched for a year is on
none. Usage by rate plan tells of it still, and one call each reads the rest. What has no usage there
was never active, and costs nothing.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from core.carriers.base import DEVICE_PAGE_SCHEMA, CarrierClient, DevicePage, ScanBookmark
from core.errors import (
    CarrierAuthError,
    CarrierProtocolError,
    RejectedByCarrierError,
    RetryableCarrierError,
)
from core.sync.store import DEVICE_STAGE_SCHEMA, Period, SyncRun
from core.sync.usage import SIM_BATCH, UsageReader
from core.sync.validation import check_devices


def stage_unlisted(usage: UsageReader, run: SyncRun, period: Period) -> SyncRun:
    """Where the carrier refused a part of the list, stage the SIMs of it that have usage.

    Usage is read of all rate plans that the carrier offers, then the SIMs one by one, then the usage on
    their rate plans, which may tell of more.

    Raises
    ------
    CarrierError
        If credentials are refused or the breaker is open.
    """
    scan = run.progress.scan
    if scan is None or scan.unlisted_before is None:
        return run
    run = usage.stage_usage(run, period, _offered_plans(usage))
    asked: set[str] = set()
    unread: dict[str, str] = {}
    while n_staged := _stage_sims(usage, run, period, scan, asked, unread):
        run = replace(run, staged_rows=run.staged_rows + n_staged)
        run = usage.stage_usage(run, period, usage.store.used_rate_plans(run))
    if unread:
        usage.warnings.append(
            f"{len(unread):,} SIMs that are not listed have usage and could not be read; they are "
            f"missing until a later synchronisation: {next(iter(unread.values()))}"
        )
    return run


def _offered_plans(usage: UsageReader) -> list[str]:
    """Codes of the rate plans that the carrier offers; none, with a warning, where it does not tell."""
    try:
        return usage.client.rate_plans()["code"].drop_nulls().to_list()
    except (
        RejectedByCarrierError,
        CarrierAuthError,
        RetryableCarrierError,
        CarrierProtocolError,
    ) as error:
        usage.warnings.append(
            f"the carrier's rate plans could not be listed, so that SIMs on plans that are not known here "
            f"may be missing: {error}"
        )
        return []


def _stage_sims(
    usage: UsageReader,
    run: SyncRun,
    period: Period,
    scan: ScanBookmark,
    asked: set[str],
    unread: dict[str, str],
) -> int:
    """Read and stage the SIMs that nobody was asked about; the number of good ones."""
    n_staged = 0
    for found in usage.store.iccids_unlisted(run, period_id=period.id):
        iccids = [iccid for iccid in found if iccid not in asked]
        asked.update(iccids)
        for start in range(0, len(iccids), SIM_BATCH):
            page = _page_of(usage.client, iccids[start : start + SIM_BATCH], scan, unread)
            checked = check_devices([page])
            good = checked.good.with_columns(
                activated_date=pl.lit(None, dtype=pl.Date),
                asks_activation=pl.lit(value=False),  # it was active before this cycle
                position=pl.lit(0, dtype=pl.Int64),
            ).select(DEVICE_STAGE_SCHEMA.keys())
            usage.store.stage_devices(run, good, checked.rejects, run.progress)
            n_staged += good.height
            usage.on_progress("SIMs found by their usage", len(asked))
    return n_staged


def _page_of(
    client: CarrierClient, iccids: list[str], scan: ScanBookmark, unread: dict[str, str]
) -> DevicePage:
    rows: list[dict[str, str | None]] = []
    for iccid in iccids:
        try:
            details = client.device_details(iccid)
        except RejectedByCarrierError:
            continue  # usage of a SIM that is gone
        except (RetryableCarrierError, CarrierProtocolError) as error:
            unread[iccid] = str(error)
            continue
        rows.append({name: getattr(details, name) for name in DEVICE_PAGE_SCHEMA})
    return DevicePage(
        number=0,
        rows=pl.DataFrame(rows, schema=DEVICE_PAGE_SCHEMA),
        raw=rows,
        modified_since=None,
        bookmark=scan,
    )
