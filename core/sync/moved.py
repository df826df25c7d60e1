"""SIMs that changed their rate plan in a cycle of which a plan's usage is not told (C7).

A list of usage tells what was used on a plan. Where the carrier refuses that of one plan, the SIMs that
are on it are read one by one; those that have left it in this cycle are among the SIMs modified in it,
and their usage on their new plan alone would be a part.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from core.carriers.base import ListScan
from core.errors import CarrierProtocolError
from core.sync.store import Period, SyncRun
from core.sync.usage import SIM_BATCH, UsageReader
from core.sync.validation import check_devices


def stage_moved(
    usage: UsageReader,
    run: SyncRun,
    period: Period,
    plans: Collection[str],
    *,
    modified_since: datetime,
) -> SyncRun:
    """Where a plan's usage is refused, stage the whole usage of the SIMs modified in the cycle.

    ``plans`` are those in use and those read before in the cycle: another one, as a catalogue may have
    it, concerns no SIM that is known.

    Raises
    ------
    CarrierError
        If the SIMs cannot be listed.
    """
    refused = run.progress.refused.intersection(plans)
    if not refused:
        return run
    for rate_plan in sorted(refused.difference(usage.store.used_rate_plans(run))):
        run = usage.done(run, period, rate_plan)  # so that the next run asks for it, too
    if usage.is_too_early():
        return run
    problem = usage.counters_problem(period)
    if problem is None and not usage.client.capabilities.lists_modified_since:
        problem = "the carrier does not list which SIMs these are"
    n_unread = 0
    if problem is None:
        n_unread = _stage_modified(usage, run, period, modified_since)
        problem = usage.counters_problem(period)  # the cycle may have ended while they were read
    if problem is not None:
        usage.warnings.append(
            "SIMs that have left a rate plan whose usage the carrier refuses as a list may have less "
            f"usage here than they have at the carrier: {problem}"
        )
    if n_unread:
        usage.warnings.append(
            f"usage of {n_unread:,} SIMs modified in this cycle could not be read one by one: what "
            "they used on a rate plan whose usage the carrier refuses as a list is missing"
        )
    return run


def _stage_modified(usage: UsageReader, run: SyncRun, period: Period, since: datetime) -> int:
    n_unread = 0
    for page in usage.client.device_pages(ListScan(since=since, max_pages=usage.max_pages)):
        good = check_devices([page]).good
        others = good.filter(~pl.col("rate_plan").is_in(sorted(run.progress.refused)))
        listed = others["iccid"].unique(maintain_order=True).to_list()
        for start in range(0, len(listed), SIM_BATCH):
            iccids = usage.store.without_whole_usage(
                run, listed[start : start + SIM_BATCH], period_id=period.id
            )
            try:
                n_unread += usage.stage_sims(run, period, iccids, only_used=True)
            except CarrierProtocolError:  # the counters are of the next cycle
                return n_unread
    return n_unread
