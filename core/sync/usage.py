"""Usage of the cycle for the SIMs that are staged and those that are known (C7)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain

import polars as pl

from core.carriers.base import CarrierClient, UsageAccess, UsagePage
from core.carriers.iccid import match_keys
from core.errors import (
    CarrierProtocolError,
    RejectedByCarrierError,
    RetryableCarrierError,
    UnknownCycleError,
)
from core.sync.cycle_check import PeriodClock
from core.sync.progress import UsagePlace
from core.sync.store import (
    UNREADABLE,
    USAGE_STAGE_SCHEMA,
    DeviceStore,
    OnProgress,
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
    on_progress
        Told the rows of usage that were read so far, after every page.
    present
        Where in the billing period we are: one SIM's counters are of the cycle that runs now.
    cycle_problem
        How the carrier's cycle differs from the billing period; None: not, as far as is known.
    """

    client: CarrierClient
    store: DeviceStore
    max_pages: int
    on_progress: OnProgress
    present: PeriodClock
    cycle_problem: str | None = None
    warnings: list[str] = field(default_factory=list)
    n_rows: int = 0
    refusals: dict[str, str] = field(default_factory=dict)

    def stage_usage(
        self, run: SyncRun, period: Period, plans: Collection[str], *, is_current: bool
    ) -> SyncRun:
        """Stage a cycle's usage: per rate plan where the account may, else SIM by SIM.

        ``plans`` are those of the catalogue and those read before beside those in use: what a SIM
        used on a plan counts also when the last SIM has left that plan.

        A rate plan whose usage the carrier refuses to tell is read SIM by SIM, in the current cycle;
        a past cycle is told per rate plan only. A SIM that nothing is told about has no usage row:
        that is not the same as 0 bytes (U1).

        Raises
        ------
        UnknownCycleError
            If the carrier has no such cycle as the current one.
        CarrierError
            If the current cycle's usage cannot be read completely.
        """
        used = set(self.store.used_rate_plans(run))
        if self.client.capabilities.usage_access is UsageAccess.BY_RATE_PLAN:
            return self._stage_lists(run, period, plans, used, is_current=is_current)
        if is_current:
            for rate_plan in sorted(used):
                run = self._stage_sim_by_sim(run, period, rate_plan)
        return run

    def _stage_lists(
        self,
        run: SyncRun,
        period: Period,
        plans: Collection[str],
        used: Collection[str],
        *,
        is_current: bool,
    ) -> SyncRun:
        for rate_plan in sorted(plans):
            if (period.id, rate_plan) in run.progress.usage_done:
                continue
            try:
                run = self._stage_plan(run, period, rate_plan)
            except RejectedByCarrierError as error:
                if not is_current:
                    return self._give_up(run, period, error)
                if isinstance(error, UnknownCycleError):
                    return self._without_cycle(run, period, error)
                refused = run.progress.refused | {rate_plan}
                run = replace(run, progress=replace(run.progress, refused=refused))
                if rate_plan in used:
                    run = self._stage_refused(run, period, rate_plan, error)
                continue
            run = self.done(run, period, rate_plan)
        self._warn_refused()
        return run

    def done(self, run: SyncRun, period: Period, rate_plan: str) -> SyncRun:
        """Note that a rate plan's usage is complete."""
        run = replace(run, progress=run.progress.with_usage_done(period.id, rate_plan))
        self.store.save_progress(run, run.progress)
        return run

    def _give_up(self, run: SyncRun, period: Period, error: RejectedByCarrierError) -> SyncRun:
        run = replace(run, progress=run.progress.without_period(period.id))
        self.store.drop_period(run, period.id, run.progress)
        self.warnings.append(
            f"usage of the cycle from {period.start} was left as it is: the carrier "
            f"refuses a part of it: {error}"
        )
        return run

    def _without_cycle(self, run: SyncRun, period: Period, error: UnknownCycleError) -> SyncRun:
        """Leave the usage on the first day, on which the carrier's cycle may still have to begin."""
        if self.present.has_just_begun():
            self._warn_too_early(period)
            return run
        msg = (
            f"the carrier has no billing cycle that begins on {period.start}, as the billing period "
            f"does: nothing was changed; correct the period's dates with `carrier-opt periods change {period.id}` "
            f"({error})"
        )
        raise UnknownCycleError(msg, code=error.code) from error

    def _stage_refused(
        self, run: SyncRun, period: Period, rate_plan: str, error: RejectedByCarrierError
    ) -> SyncRun:
        if self.is_too_early():
            self._warn_too_early(period)
            return run
        self.refusals[rate_plan] = str(error)
        return self._stage_sim_by_sim(run, period, rate_plan)

    def _warn_refused(self) -> None:
        if not self.refusals:
            return
        plans = [repr(rate_plan) for rate_plan in self.refusals]
        named = ", ".join(plans[:5]) + (f" and {len(plans) - 5} more" if len(plans) > 5 else "")
        self.warnings.append(
            f"usage of rate plan {named} was read SIM by SIM, because the carrier refuses it as a "
            f"list: {next(iter(self.refusals.values()))}"
        )
        self.refusals.clear()

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
            self._count(page.rows.height)
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
        try:
            boundary = next(rest, None)
        except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError):
            boundary = None  # the page may have been one of an older version, whose list is longer
        if boundary is None or _digest(boundary) != place.digest:
            return read(1)
        return chain([boundary], rest)

    def _stage_sim_by_sim(self, run: SyncRun, period: Period, rate_plan: str) -> SyncRun:
        if (period.id, rate_plan) in run.progress.usage_done:
            return run
        if self.is_too_early():
            self._warn_too_early(period)
            return run
        self._require_counters(period)
        n_unread = 0
        for iccids in self.store.iccids_without_usage(run, rate_plan, period_id=period.id):
            for start in range(0, len(iccids), SIM_BATCH):
                n_unread += self.stage_sims(run, period, iccids[start : start + SIM_BATCH])
        if n_unread:
            self.warnings.append(
                f"usage of {n_unread:,} SIMs on rate plan {rate_plan!r} could not be read: "
                "what was known of it stays"
            )
        return self.done(run, period, rate_plan)

    def stage_sims(
        self, run: SyncRun, period: Period, iccids: list[str], *, only_used: bool = False
    ) -> int:
        """Stage the whole usage of some SIMs; the number of those that could not be read.

        With ``only_used`` not that of SIMs that used nothing, whose usage a list tells, or does not.
        """
        pages: list[UsagePage] = []
        for iccid in iccids:
            try:
                pages.append(self.client.sim_usage(iccid, cycle_start=period.start))
            except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError):
                continue
        self._require_counters(period)  # else they may be counters of the next one
        if pages:
            checked = check_usage(pages)
            if only_used:
                has_used = pl.sum_horizontal("usage_bytes", "sms_count", "voice_seconds") > 0
                checked = replace(checked, good=checked.good.filter(has_used))
            rows = _staged(checked, WHOLE_CYCLE)
            self.store.stage_usage(run, rows, checked.rejects, run.progress, period_id=period.id)
        self._count(len(iccids))
        return len(iccids) - len(pages)

    def _count(self, n_rows: int) -> None:
        self.n_rows += n_rows
        self.on_progress("rows of usage read", self.n_rows)

    def is_too_early(self) -> bool:
        """Whether SIMs' counters may still be those of the cycle before."""
        return not self.client.capabilities.sim_usage_tells_cycle and self.present.has_just_begun()

    def counters_problem(self, period: Period) -> str | None:
        """Say why one SIM's usage is not that of the billing period; None where it is."""
        if not self.present.is_open():
            return (
                "usage can be read SIM by SIM in the billing cycle that runs now only, and the one from "
                f"{period.start} does not: choose the current billing period"
            )
        if self.cycle_problem is None or self.client.capabilities.sim_usage_tells_cycle:
            return None
        return f"usage can be read SIM by SIM in the carrier's cycle only, but {self.cycle_problem}"

    def _require_counters(self, period: Period) -> None:
        if problem := self.counters_problem(period):
            raise CarrierProtocolError(problem)

    def _warn_too_early(self, period: Period) -> None:
        warning = (
            f"usage of the cycle from {period.start} that is told without its cycle was left as it is, "
            "since the carrier may still have the cycle before: it is read from "
            f"{period.start + timedelta(days=1)} on"
        )
        if warning not in self.warnings:
            self.warnings.append(warning)


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
