"""Usage of the cycle for the SIMs that are staged and those that are known (C7)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

import polars as pl

from core.carriers.base import CarrierClient, UsageAccess, UsagePage
from core.carriers.iccid import match_keys
from core.errors import CarrierProtocolError, RejectedByCarrierError, RetryableCarrierError
from core.sync.progress import UsagePlace
from core.sync.store import (
    UNREADABLE,
    USAGE_STAGE_SCHEMA,
    DeviceStore,
    Period,
    SyncRun,
)
from core.sync.validation import CheckedUsage, check_usage

WHOLE_CYCLE = ""
"""Instead of a rate plan: all that a SIM used in the cycle, whatever its plan."""

SIM_BATCH = 50
"""SIMs read one by one that are staged at once: as many calls are repeated after a crash."""


@dataclass(slots=True, kw_only=True)
class UsageReader:
    """Reads usage for one run.

    Attributes
    ----------
    max_pages
        Pages per rate plan after which the carrier is taken to never end (C2).
    on_page
        Called after every page.
    is_cycle_open
        Whether the billing period still runs: one SIM's counters are of the cycle that runs now.
    """

    client: CarrierClient
    store: DeviceStore
    max_pages: int
    on_page: Callable[[], None]
    is_cycle_open: Callable[[], bool]
    warnings: list[str] = field(default_factory=list)

    def stage_usage(
        self, run: SyncRun, period: Period, plans: Collection[str], *, is_current: bool
    ) -> SyncRun:
        """Stage a cycle's usage: per rate plan where the account may, else SIM by SIM.

        ``plans`` are those of the catalogue beside those in use: what a SIM used on a plan counts
        also when the last SIM has left that plan.

        A rate plan whose usage the carrier refuses to tell is read SIM by SIM, in the current cycle;
        a past cycle is told per rate plan only. A SIM that nothing is told about has no usage row:
        that is not the same as 0 bytes (U1).

        Raises
        ------
        CarrierError
            If the current cycle's usage cannot be read completely.
        """
        by_plan = self.client.capabilities.usage_access is UsageAccess.BY_RATE_PLAN
        if not (by_plan or is_current):
            return run
        used = set(self.store.used_rate_plans(run))
        for rate_plan in sorted(plans if by_plan else used):
            if (period.id, rate_plan) in run.progress.usage_done:
                continue
            try:
                if by_plan:
                    run = self._stage_plan(run, period, rate_plan)
                else:
                    self._stage_sim_by_sim(run, period, rate_plan)
            except RejectedByCarrierError as error:
                if not is_current:
                    run = replace(run, progress=run.progress.without_period(period.id))
                    self.store.drop_period(run, period.id, run.progress)
                    self.warnings.append(
                        f"usage of the cycle from {period.start} was left as it is: the carrier "
                        f"refuses a part of it: {error}"
                    )
                    return run
                if rate_plan not in used:
                    continue
                self.warnings.append(
                    f"usage of rate plan {rate_plan!r} was read SIM by SIM, because the carrier "
                    f"refuses it as a list: {error}"
                )
                self._stage_sim_by_sim(run, period, rate_plan)
            run = replace(run, progress=run.progress.with_usage_done(period.id, rate_plan))
            self.store.save_progress(run, run.progress)
        return run

    def _stage_plan(self, run: SyncRun, period: Period, rate_plan: str) -> SyncRun:
        """Stage one plan's usage page by page; a row that comes again counts once."""
        pages = self._pages(period, rate_plan, run.progress.usage)
        for page in pages:
            checked = check_usage([page])
            place = UsagePlace(
                period_id=period.id, rate_plan=rate_plan, page=page.number, digest=_digest(page)
            )
            run = replace(run, progress=replace(run.progress, usage=place))
            rows = _staged(checked, rate_plan)
            self.store.stage_usage(run, rows, checked.rejects, run.progress, period_id=period.id)
            self.on_page()
        return run

    def _pages(
        self, period: Period, rate_plan: str, place: UsagePlace | None
    ) -> Iterator[UsagePage]:
        """Read a plan's pages from the one that was staged last, if it is the same still, or all."""

        def read(first_page: int) -> Iterator[UsagePage]:
            return self.client.usage_pages(
                rate_plan, period.start, max_pages=self.max_pages, first_page=first_page
            )

        if place is None or (place.period_id, place.rate_plan) != (period.id, rate_plan):
            return read(1)
        rest = read(place.page)
        boundary = next(rest, None)
        if boundary is None or _digest(boundary) != place.digest:
            return read(1)
        return chain([boundary], rest)

    def _stage_sim_by_sim(self, run: SyncRun, period: Period, rate_plan: str) -> None:
        n_unread = 0
        self._require_open_cycle(period)
        for iccids in self.store.iccids_without_usage(run, rate_plan, period_id=period.id):
            for start in range(0, len(iccids), SIM_BATCH):
                n_unread += self._stage_sims(run, period, iccids[start : start + SIM_BATCH])
        if n_unread:
            self.warnings.append(
                f"usage of {n_unread:,} SIMs on rate plan {rate_plan!r} could not be read: "
                "they have no usage in this cycle's data"
            )

    def _stage_sims(self, run: SyncRun, period: Period, iccids: list[str]) -> int:
        """Stage the whole usage of some SIMs; the number of those that could not be read."""
        pages: list[UsagePage] = []
        for iccid in iccids:
            try:
                pages.append(self.client.sim_usage(iccid, cycle_start=period.start))
            except (RejectedByCarrierError, RetryableCarrierError):
                continue
        self._require_open_cycle(period)  # else they may be counters of the next one
        if pages:
            checked = check_usage(pages)
            rows = _staged(checked, WHOLE_CYCLE)
            self.store.stage_usage(run, rows, checked.rejects, run.progress, period_id=period.id)
            self.on_page()
        return len(iccids) - len(pages)

    def _require_open_cycle(self, period: Period) -> None:
        if not self.is_cycle_open():
            msg = (
                "usage can be read SIM by SIM in the billing cycle that runs now only, and the one from "
                f"{period.start} does not: choose the current billing period"
            )
            raise CarrierProtocolError(msg)


def _digest(page: UsagePage) -> str:
    """Name the SIMs and zones of a page, whatever they used: usage grows while it is read."""
    keys = page.rows.select("iccid", "zone").rows()
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


def _staged(checked: CheckedUsage, rate_plan: str) -> pl.DataFrame:
    """Rows to stage, each SIM and zone once: what comes later is newer (C4)."""
    unread = pl.lit(UNREADABLE, dtype=pl.Int64)
    spoilt = checked.spoilt.with_columns(unread.alias("usage_bytes"), sms_count=0, voice_seconds=0)
    rows = pl.concat([checked.good.drop("page_index"), spoilt], how="vertical_relaxed")
    zone = pl.lit("") if rate_plan == WHOLE_CYCLE else pl.col("zone")
    return (
        rows.with_columns(match_keys(rows["iccid"]).alias("match_key"), zone=zone)
        .with_columns(rate_plan=pl.lit(rate_plan))
        .unique(("match_key", "zone"), keep="last", maintain_order=True)
        .select(USAGE_STAGE_SCHEMA.keys())
    )


def past_periods(store: DeviceStore, provider_id: int, period_id: int) -> Iterator[Period]:
    """Billing periods whose usage is unknown and which the carrier still tells: two cycles back."""
    yield from store.unsynced_periods(provider_id, period_id)[:2]
