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
    CarrierError,
    CarrierProtocolError,
    RejectedByCarrierError,
    RetryableCarrierError,
    UnknownCycleError,
)
from core.sync.cycle_check import PeriodClock
from core.sync.progress import UsagePlace
from core.sync.store import (
    REJECT_SCHEMA,
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

FEW_SIMS = 10
"""Up to so many SIMs whose usage cannot be read may be single ones; more at once are a fault."""


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
    _left: dict[str, CarrierError] = field(default_factory=dict, init=False)
    _warned: set[str] = field(default_factory=set, init=False)
    _failure: CarrierError | None = field(default=None, init=False)
    _n_told: int = field(default=0, init=False)

    def stage_usage(self, run: SyncRun, period: Period, plans: Collection[str]) -> SyncRun:
        """Stage the current cycle's usage: per rate plan where the account may, else SIM by SIM.

        ``plans`` are those of the catalogue and those read before beside those in use: what a SIM
        used on a plan counts also when the last SIM has left that plan.

        A rate plan whose usage the carrier refuses to tell is read SIM by SIM. A SIM that nothing is
        told about has no usage row: that is not the same as 0 bytes (U1).

        Raises
        ------
        UnknownCycleError
            If the carrier has no such cycle.
        CarrierError
            If the usage cannot be read completely.
        """
        used = set(self.store.used_rate_plans(run))
        is_new = all(period_id != period.id for period_id, _ in run.progress.usage_done)
        if self.client.capabilities.usage_access is UsageAccess.BY_RATE_PLAN:
            return self._stage_lists(run, period, plans, used, is_new=is_new)
        for rate_plan in sorted(used):
            run = self._stage_sim_by_sim(run, period, rate_plan)
        self._require_some(is_new=is_new)
        return run

    def stage_past(
        self, run: SyncRun, period: Period, plans: Collection[str], essential: Collection[str]
    ) -> SyncRun:
        """Stage a past cycle's usage, which is told per rate plan only.

        It is left as it was where the carrier refuses an ``essential`` plan, without which a SIM's
        usage may be a part. Another one that is refused concerns no SIM, as far as is known.
        """
        if self.client.capabilities.usage_access is not UsageAccess.BY_RATE_PLAN:
            return run
        for rate_plan in sorted(plans):
            if (period.id, rate_plan) in run.progress.usage_done:
                continue
            n_before, place = self.n_rows, run.progress.usage
            try:
                run = self._stage_plan(run, period, rate_plan)
            except RejectedByCarrierError as error:
                is_begun = self.n_rows > n_before or (place and place.rate_plan == rate_plan)
                if rate_plan in essential or is_begun or isinstance(error, UnknownCycleError):
                    return self._give_up(run, period, error)
                continue
            run = self.done(run, period, rate_plan)
        return run

    def _stage_lists(
        self,
        run: SyncRun,
        period: Period,
        plans: Collection[str],
        used: Collection[str],
        *,
        is_new: bool,
    ) -> SyncRun:
        for rate_plan in sorted(plans):
            if (period.id, rate_plan) in run.progress.usage_done:
                if rate_plan in run.progress.refused.intersection(used):
                    self.refusals.setdefault(rate_plan, "")  # read by a process that died
                continue
            try:
                run = self._stage_plan(run, period, rate_plan)
            except UnknownCycleError as error:
                return self._without_cycle(run, period, error)
            except RejectedByCarrierError as error:
                refused = run.progress.refused | {rate_plan}
                run = replace(run, progress=replace(run.progress, refused=refused))
                if rate_plan in used:
                    run = self._stage_refused(run, period, rate_plan, error)
                continue
            run = self.done(run, period, rate_plan)
        told = {plan for period_id, plan in run.progress.usage_done if period_id == period.id}
        if told <= run.progress.refused:  # no usage is told as a list
            for problem in self._left.values():
                raise problem
            self._require_some(is_new=is_new)
        for rate_plan in sorted(run.progress.refused.intersection(used)):
            self._drop_parts(run, period, rate_plan)
        self._warn_refused()
        self._warn_left()
        return run

    def _require_some(self, *, is_new: bool) -> None:
        """Refuse to publish without usage where no SIM's could be read, in this process or before."""
        if self._failure is not None and is_new and not self._n_told:
            raise self._failure

    def _drop_parts(self, run: SyncRun, period: Period, rate_plan: str) -> None:
        """Take back what lists tell of SIMs whose whole usage could not be read: it is a part."""
        for iccids in self.store.iccids_without_usage(run, rate_plan, period_id=period.id):
            keys = match_keys(pl.Series(iccids, dtype=pl.String)).alias("match_key")
            sums = pl.DataFrame([keys]).with_columns(period_id=pl.lit(period.id, dtype=pl.Int64))
            self.store.drop_usage(run, sums, pl.DataFrame(schema=REJECT_SCHEMA))

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
        try:
            run = self._stage_sim_by_sim(run, period, rate_plan)
        except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError) as problem:
            self._left[rate_plan] = problem
            return run
        self.refusals[rate_plan] = str(error)
        return run

    def _warn_refused(self) -> None:
        plans = [rate_plan for rate_plan in self.refusals if rate_plan not in self._warned]
        if not plans:
            return
        self._warned.update(plans)
        reason = next((f": {why}" for why in map(self.refusals.get, plans) if why), "")
        self.warnings.append(
            f"usage of rate plan {_named(plans)} was read SIM by SIM, because the carrier refuses it as "
            f"a list{reason}"
        )

    def _warn_left(self) -> None:
        plans = [rate_plan for rate_plan in self._left if rate_plan not in self._warned]
        if not plans:
            return
        self._warned.update(plans)
        self.warnings.append(
            f"usage of the SIMs on rate plan {_named(plans)}, which the carrier refuses as a list, was "
            f"left as it was: {self._left[plans[0]]}"
        )

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
                batch = iccids[start : start + SIM_BATCH]
                n_failed = self.stage_sims(run, period, batch)
                if self._failure is not None and n_failed == len(batch) > FEW_SIMS:
                    raise self._failure
                n_unread += n_failed
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

        Raises
        ------
        CarrierProtocolError
            If the counters are not of the billing period.
        """
        pages: list[UsagePage] = []
        for iccid in iccids:
            try:
                pages.append(self.client.sim_usage(iccid, cycle_start=period.start))
            except (
                RejectedByCarrierError,
                RetryableCarrierError,
                CarrierProtocolError,
            ) as error:
                self._failure = error
        self._n_told += len(pages)
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


def _named(plans: list[str]) -> str:
    named = ", ".join(map(repr, plans[:5]))
    return f"{named} and {len(plans) - 5} more" if len(plans) > 5 else named


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
