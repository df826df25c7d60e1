"""One synchronisation of one carrier account, from the first page to published tables (C2 - C7).

List the SIMs and stage them; read the cycle's usage rate plan by rate plan; read activation dates
where a prorated plan needs them; publish everything in one transaction. Until then nobody sees
anything, and a run that fails leaves the device tables as they were. A run whose process died goes on
where it was (C5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.carriers.base import MIN_PAGE_LIMIT, CarrierClient, ListScan
from core.domain import BillingCycle
from core.errors import CarrierError, CarrierProtocolError
from core.interrupts import release_frames
from core.sync.activations import stage_activations
from core.sync.cycle_check import PeriodClock, cycle_problem
from core.sync.devices import ProratedPlans, stage_devices
from core.sync.moved import stage_moved
from core.sync.remarks import after_publish, before_usage
from core.sync.store import (
    DeviceStore,
    OnProgress,
    Period,
    PublishCounts,
    RunCounts,
    RunRequest,
    SyncRun,
)
from core.sync.sums import check_sums
from core.sync.unlisted import stage_unlisted
from core.sync.usage import UsageReader, past_periods
from core.sync.validation import USAGE_FELL

logger = logging.getLogger(__name__)

_ZONE_MARGIN = timedelta(days=1)
"""No place on earth begins its day more than a day before UTC does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """What to synchronise.

    Attributes
    ----------
    period_id
        Billing period that the usage is stored under; its dates are ``cycle``.
    account
        Names the account at the carrier, so that a run of another one is not continued.
    time_zone
        The account's zone, an IANA name: cycles and activation dates are days there.
    since
        None: a full run, the whole account; else only SIMs modified since then (C6).
    reads_usage
        Whether usage is read, of all SIMs also in an incremental run.
    accepts_lower_usage
        Whether usage below what was known of the same period is taken over, as a correction.
    reads_history
        Whether usage of up to two earlier billing periods is read that nothing is known of.
    known_rate_plans
        Codes of the catalogue; SIMs on other plans are warned about and stay unpriced (B9).
    prorated_rate_plans, prorated_communication_plans
        Prorated plans, and communication plans whose list has one: their SIMs' activation dates
        are read if they were modified in this cycle.
    max_pages
        Pages per list of devices or usage after which the carrier is taken to never end (C2).
    """

    service_provider_id: int
    period_id: int
    cycle: BillingCycle
    account: str = ""
    session_id: int | None = None
    time_zone: str = "UTC"
    since: datetime | None = None
    reads_usage: bool = True
    accepts_lower_usage: bool = False
    reads_history: bool = False
    known_rate_plans: Collection[str] = frozenset()
    prorated_rate_plans: Collection[str] = frozenset()
    prorated_communication_plans: Collection[str] = frozenset()
    max_pages: int = MIN_PAGE_LIMIT

    @property
    def is_prorated(self) -> bool:
        """Whether a prorated plan may concern a SIM."""
        return bool(self.prorated_rate_plans or self.prorated_communication_plans)

    @property
    def cycle_start(self) -> datetime:
        """Time that is in no zone later than the cycle's beginning."""
        return datetime.combine(self.cycle.start_date, time(), tzinfo=UTC) - _ZONE_MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """What a synchronisation did.

    Attributes
    ----------
    attempt
        Above 1 where it went on with what another process had begun.
    devices, usage_rows, duplicates, removed
        As published, see :class:`core.sync.store.PublishCounts`.
    activations
        SIMs whose activation date was asked for by this process.
    rejects, flags
        Rejected rows, and unusual ones that were kept, by reason.
    pages, calls
        Pages of devices and usage that are staged, and calls to the carrier by this process, tries
        included.
    """

    run_id: int
    attempt: int
    kind: str
    devices: int
    usage_rows: int
    duplicates: int
    removed: int
    activations: int
    pages: int
    calls: int
    started_at: datetime
    finished_at: datetime
    rejects: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """Say in a line what AMOP and the operators should know."""
        parts = [f"{self.devices:,} SIMs synchronised ({self.kind})"]
        for name, counts in (("rejected", self.rejects), ("flagged", self.flags)):
            if counts:
                listed = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
                parts.append(f"{sum(counts.values()):,} rows {name} ({listed})")
        return "; ".join([*parts, *self.warnings])


def sync_devices(
    client: CarrierClient,
    store: DeviceStore,
    request: SyncRequest,
    *,
    clock: Callable[[], datetime],
    on_progress: OnProgress | None = None,
) -> SyncResult:
    """Synchronise an account; a run of the same request that broke off is continued.

    Parameters
    ----------
    clock
        Tells the time, aware and in UTC.
    on_progress
        Told what is being read and how much of it so far, after each page.

    Raises
    ------
    CarrierError
        If the carrier's data cannot be had completely; the run is then failed, its staging
        cleared, and no device table changed. Any other exception leaves the same state.
    SyncBusyError
        If another process synchronises the provider.
    """
    started_at = clock()
    first_call = client.calls
    run = store.open_run(
        RunRequest(
            service_provider_id=request.service_provider_id,
            period_id=request.period_id,
            since=request.since,
            page_size=client.capabilities.page_size,
            account=request.account,
            session_id=request.session_id,
        ),
        now=started_at,
    )
    try:
        request = replace(request, since=run.since)
        if run.attempt > 1:
            logger.warning(
                "synchronisation run %d goes on where another process left it, with %d rows staged",
                run.id,
                run.staged_rows,
            )
        run, usage, n_asked = _stage_all(
            client, store, run, request, clock=clock, on_progress=on_progress or _silent
        )
        store.close_staging(run)
        counted = store.counts(run)
        now = clock()
        today = now.astimezone(ZoneInfo(request.time_zone)).date()
        counts = store.publish(run, today=today, now=now)
    except BaseException as error:  # a cancelled run leaves no trace either
        _fail(store, run, error, now=clock())
        raise
    usage.warnings += after_publish(
        counted, counts, accepts_lower_usage=request.accepts_lower_usage
    )
    for warning in usage.warnings:
        logger.warning(warning)
    return _result(
        run, request, counted, counts, warnings=usage.warnings, activations=n_asked,
        calls=client.calls - first_call, started_at=started_at, finished_at=clock(),
    )  # fmt: skip


def _fail(store: DeviceStore, run: SyncRun, cause: BaseException, *, now: datetime) -> None:
    """Close a run as failed; where that fails too, the cause is still what the caller is told."""
    release_frames(cause)
    try:
        store.fail(run, error=f"{type(cause).__name__}: {cause}", now=now)
    except Exception as error:  # whatever it is, it is not why the run failed
        logger.error(  # noqa: TRY400 - the cause is on its way, and tracebacks may show secrets
            "synchronisation run %d could not be marked as failed (%s: %s): it counts as one whose "
            "process died",
            run.id,
            type(error).__name__,
            error,
        )


def _stage_all(
    client: CarrierClient,
    store: DeviceStore,
    run: SyncRun,
    request: SyncRequest,
    *,
    clock: Callable[[], datetime],
    on_progress: OnProgress,
) -> tuple[SyncRun, UsageReader, int]:
    """Stage everything; the run, how its usage was read, and the activation dates asked for."""
    if run.attempt > 1 and (not request.reads_usage or _has_left_out_lower(store, run, request)):
        run = _without_usage(store, run, request)
    run = _list_devices(client, store, run, request, on_progress=on_progress)
    usage = UsageReader(
        client=client,
        store=store,
        max_pages=request.max_pages,
        on_progress=on_progress,
        present=PeriodClock(cycle=request.cycle, time_zone=request.time_zone, clock=clock),
    )
    usage.warnings += before_usage(store, run, request.known_rate_plans)
    if request.reads_usage:
        run = _stage_usage(usage, run, request)
        check_sums(store, run, accepts_lower=request.accepts_lower_usage)
    if request.is_prorated and (request.since or run.progress.unlisted_before):
        store.stage_unanswered(run)
    zone = ZoneInfo(request.time_zone)
    n_asked = stage_activations(client, store, run, time_zone=zone, on_progress=on_progress)
    usage.warnings += client.notes
    return run, usage, n_asked


def _has_left_out_lower(store: DeviceStore, run: SyncRun, request: SyncRequest) -> bool:
    """Whether the process that died took back lower usage that is to be taken over now."""
    return request.accepts_lower_usage and USAGE_FELL in store.counts(run).flags


def _without_usage(store: DeviceStore, run: SyncRun, request: SyncRequest) -> SyncRun:
    """Take back the usage that another process staged, which may be a part and is not checked."""
    progress = replace(run.progress, refused=frozenset())
    periods = {request.period_id, *(period_id for period_id, _ in progress.usage_done)}
    if progress.usage is not None:
        periods.add(progress.usage.period_id)
    for period_id in sorted(periods):
        progress = progress.without_period(period_id)
        store.drop_period(run, period_id, progress)
    return replace(run, progress=progress)


def _stage_usage(usage: UsageReader, run: SyncRun, request: SyncRequest) -> SyncRun:
    store = usage.store
    usage.cycle_problem = _cycle_problem(usage, run, request)
    usage.warnings += [usage.cycle_problem] if usage.cycle_problem else []
    period = Period(id=request.period_id, start=request.cycle.start_date)
    needed = {*store.used_rate_plans(run), *store.plans_read(run, period.id)}
    plans = needed | set(request.known_rate_plans)
    run = usage.stage_usage(run, period, plans)
    run = stage_unlisted(usage, run, period)
    run = stage_moved(usage, run, period, needed, modified_since=request.cycle_start)
    if request.reads_history:
        told = {plan for number, plan in run.progress.usage_done if number == period.id}
        for past in past_periods(store, request.service_provider_id, request.period_id):
            essential = needed | told | store.plans_read(run, past.id)
            run = usage.stage_past(run, past, plans | essential, essential)
    return run


def _list_devices(
    client: CarrierClient,
    store: DeviceStore,
    run: SyncRun,
    request: SyncRequest,
    *,
    on_progress: OnProgress,
) -> SyncRun:
    if run.progress.is_listed:
        return run
    scan = ListScan(
        since=request.since,
        boundaries=(request.cycle_start,),
        max_pages=request.max_pages,
        resume=run.progress.scan,
    )
    run = stage_devices(
        client.device_pages(scan),
        store,
        run,
        prorated=ProratedPlans(
            rate_plans=request.prorated_rate_plans,
            communication_plans=request.prorated_communication_plans,
            modified_since=request.cycle_start,
        ),
        on_progress=on_progress,
    )
    _refuse_an_emptied_account(store, request, run)
    return run


def _refuse_an_emptied_account(store: DeviceStore, request: SyncRequest, run: SyncRun) -> None:
    """Refuse to publish an empty full list: it would mark every SIM as gone."""
    if run.staged_rows or request.since is not None or run.progress.unlisted_before is not None:
        return
    before = store.history(request.service_provider_id).last
    if before is not None and before.device_count:
        msg = (
            f"the carrier lists no usable SIM, but the last synchronisation had "
            f"{before.device_count:,}: nothing was changed; check the account at the carrier"
        )
        raise CarrierProtocolError(msg)


def _cycle_problem(usage: UsageReader, run: SyncRun, request: SyncRequest) -> str | None:
    """Compare the billing period, if it runs now, with the cycle that the carrier tells of one SIM.

    Not on its first day, on which the carrier may still have the cycle before.
    """
    if not usage.present.is_open() or usage.present.has_just_begun():
        return None
    client, store = usage.client, usage.store
    for rate_plan in store.used_rate_plans(run):
        for iccids in store.iccids_without_usage(run, rate_plan, period_id=request.period_id):
            try:
                told = client.billing_cycle(iccids[0])
            except CarrierError as error:
                logger.info("the carrier's billing cycle could not be read: %s", error)
                return None
            return cycle_problem(told, request.cycle, request.time_zone) if told else None
    return None


def _result(
    run: SyncRun,
    request: SyncRequest,
    counted: RunCounts,
    counts: PublishCounts,
    *,
    warnings: Sequence[str],
    activations: int,
    calls: int,
    started_at: datetime,
    finished_at: datetime,
) -> SyncResult:
    return SyncResult(
        run_id=run.id,
        attempt=run.attempt,
        kind="full" if request.since is None else "incremental",
        devices=counts.devices,
        usage_rows=counts.usage_rows,
        duplicates=counts.duplicates,
        removed=counts.removed,
        activations=activations,
        pages=counted.pages,
        calls=calls,
        started_at=started_at,
        finished_at=finished_at,
        rejects=counted.rejects,
        flags=counted.flags,
        warnings=tuple(warnings),
    )


def _silent(_what: str, _n: int) -> None:
    """Report no progress."""
